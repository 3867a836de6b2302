"""Which of several guesses to take, by what their gradients explain; and what was read beside what was matched."""

from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

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


def along(chosen: Tensor, value: Tensor) -> Tensor:
    """(V, B) in as many dimensions as a value, (V, B, ...)."""
    return chosen.view(*chosen.shape, *[1] * (value.dim() - 2))
