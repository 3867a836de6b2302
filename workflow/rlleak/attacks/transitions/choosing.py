"""Which of several guesses to take, by what their gradients explain; and what was read beside what was matched."""

from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rlleak.attacks.transitions.counting import SAME_FIT
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.searching import gradient_error

EXPLAINED = 0.5**0.5
"""Relative gradient error below which a guess explains more of the shared gradient's square than it leaves; no guess at
all has 1."""


def preferred(errors: Tensor) -> Tensor:
    """Which of some guesses to take, (v,), by their gradient errors (v, n): the lowest.

    The first is algebra's and the prior's: it stays where the others explain little of the gradient, as where matching
    found no way down; what a prior says is then nearer than numbers that nothing holds.
    """
    errors = errors.nan_to_num(torch.inf)
    others = errors[:, 1:].masked_fill(errors[:, 1:] >= EXPLAINED, torch.inf)
    return torch.cat([errors[:, :1], others], dim=1).argmin(dim=1)


def beside_read(
    own: Mapping[str, Tensor], given: Tensor, other: Mapping[str, Tensor], scale: Tensor
) -> dict[str, Tensor]:
    """Guesses (v, B, ...): own rows where they are given, (v, B) bool, and other's that are not the same samples.

    Which of other's rows are the given ones' samples: those nearest in state, in units of scale, and action.
    """
    joined = {name: torch.where(along(given, value), value, other[name]) for name, value in own.items()}
    for victim in (given.any(dim=1) & ~given.all(dim=1)).nonzero()[:, 0].tolist():
        read, rest = given[victim].nonzero()[:, 0], (~given[victim]).nonzero()[:, 0]
        apart = (own["state"][victim, read][:, None] - other["state"][victim][None]) / scale.to(own["state"])
        cost = apart.flatten(2).square().mean(dim=2)
        cost += (own["action"][victim, read][:, None] - other["action"][victim][None]).square().mean(dim=2)
        taken = set(linear_sum_assignment(cost.nan_to_num(1e30).cpu().numpy())[1].tolist())
        left = [row for row in range(given.shape[1]) if row not in taken]
        for name, value in joined.items():
            value[victim, rest] = other[name][victim, left].to(value)
    return joined


def ended_or_stayed(
    victims: TemporalDifference, memory_limit: int | None, found: Read, guess: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What f says of a sample alone in a residual gradient, end or stay, turned where the other one fits better.

    Single transitions alone: of a batch's gradient, a sum, one sample explains little.
    """
    if not victims.residual or victims.batch_size > 1:
        return {}
    ended, state = guess["terminated"] > 0, guess["state"]
    error = error_of_stay(victims, found, state, guess["action"])
    stay = found.chosen - error - victims.gamma * victims.value(state.flatten(0, 1)).view_as(found.error)
    other = {
        **guess,
        "next_state": torch.where(along(ended, state), state, guess["next_state"]),
        "reward": torch.where(ended, stay, found.chosen - found.error),
        "terminated": 1 - guess["terminated"],
    }
    both = {name: torch.stack([value, other[name].to(value)], 1) for name, value in guess.items()}
    misfit = gradient_error(victims, both, memory_limit)
    turned = found.given & ~found.following & (misfit[:, 1] < misfit[:, 0] - SAME_FIT)[:, None]
    return {name: torch.where(along(turned, value), other[name].to(value), value) for name, value in guess.items()}


def error_of_stay(victims: TemporalDifference, found: Read, state: Tensor, action: Tensor) -> Tensor:
    """The temporal differences (V, B) of samples whose s' is s. What was read is that and -gamma times it in one where
    both leave through one output, that of the action which is best there."""
    return torch.where(best_there(victims, state, action), found.error / (1 - victims.gamma), found.error)


def best_there(victims: TemporalDifference, state: Tensor, action: Tensor) -> Tensor:
    """Whether an action is the one whose value stands for the state, (V, B) bool."""
    if victims.continuous:
        return torch.zeros(state.shape[:2], dtype=torch.bool, device=state.device)
    best = victims.network(victims.state_of(state.flatten(0, 1))).argmax(dim=1)
    return best.view(state.shape[:2]) == action.argmax(dim=2)


def along(chosen: Tensor, value: Tensor) -> Tensor:
    """(V, B) in as many dimensions as a value, (V, B, ...)."""
    return chosen.view(*chosen.shape, *[1] * (value.dim() - 2))
