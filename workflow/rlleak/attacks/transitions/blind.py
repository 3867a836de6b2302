"""The best guess of transitions without any gradient: what every attack is measured against.

Of one transition it is the mean of all that the attacker met: no search by priors alone comes near it where states are
many. A batch has no order, so a score lays guesses beside the true samples as fits best. Guesses that all stand at the
mean gain nothing by that; guesses that stand apart as transitions do gain much (50 states of CartPole at once: 40 % of
the error), and so does whatever an attack scatters about. Who sees no gradient may do the same. These are the guesses
whose expected error is least: a quantiser as Lloyd's (1982), for batches instead of points.
"""

from collections.abc import Iterable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rlleak.attacks.transitions.matching import COMPONENTS
from rlleak.attacks.transitions.objective import Guess
from rlleak.attacks.transitions.running import Task
from rlleak.configuration.attacks import TransitionSettings
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.seeds import derive

ROUNDS = 12
DRAWN = 128
"""Rounds, and in each so many batches of the attacker's own transitions."""


@torch.no_grad()
def transition_prior_only(task: Task, settings: TransitionSettings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """No gradient at all: the same guess of each update, (V, R, B, ...) by component, and no trust.

    The prior holds as many transitions of the attacker's own as an update: `running` refuses others before it starts.
    """
    victims = task.victims
    guess = spread_guess(task.place.priors[settings.prior], victims.batch_size, derive(task.place.seed, "blind"))
    rows = len(task.update), settings.restarts
    return {name: value.expand(*rows, *value.shape).clone() for name, value in guess.items()}, {}


def spread_guess(prior: TransitionPrior, size: int, seed: int) -> Guess:
    """B transitions, (B, ...) by component, from which batches of the attacker's own, laid as fits best, differ least.

    In the sum over components of mean squared errors, in deviations of states and rewards; discrete actions are shares.
    One is the mean of all, whose states f was learnt from, too. The attacker has at least B transitions of its own.
    """
    if size == 1:
        means = {name: prior.transitions[name].mean(dim=0, keepdim=True) for name in ("action", "reward")}
        return means | dict.fromkeys(("state", "next_state"), prior.state_mean.expand(1, *prior.state_shape))
    points = features(prior)
    generator = torch.Generator().manual_seed(seed)
    places = points[_drawn(len(points), size, generator)]
    for _ in range(ROUNDS):
        batches = [_drawn(len(points), size, generator) for _ in range(DRAWN)]
        laid = beside(places, points, batches)
        places = _middles(points, laid)
    return expected(prior.transitions, laid.to(prior.state_mean.device))


def settled(points: Tensor, batches: Tensor, rounds: int) -> Tensor:
    """Batches (n, B), numbers of points (K, F), in the order in which their samples lie nearest to one another."""
    laid = beside(points[batches[0]], points, batches)
    for _ in range(rounds - 1):
        laid = beside(_middles(points, laid), points, batches)
    return laid


def expected(transitions: Guess, laid: Tensor) -> dict[str, Tensor]:
    """The mean of batches (n, B) that are laid beside each other, (B, ...) by component."""
    return {name: torch.stack([transitions[name][samples].mean(dim=0) for samples in laid.T]) for name in COMPONENTS}


def features(prior: TransitionPrior) -> Tensor:
    """(K, F), whose squared distances are sums over components of mean squared errors."""
    own = prior.transitions
    parts = {
        "state": own["state"] / prior.state_scale,
        "next_state": own["next_state"] / prior.state_scale,
        "action": own["action"],
        "reward": own["reward"][:, None] / max(prior.reward_deviation, 1e-3),
    }
    flat = [part.flatten(1) for part in parts.values()]
    return torch.cat([part / part.shape[1] ** 0.5 for part in flat], dim=1).cpu()


def _drawn(count: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[:size]


def _middles(points: Tensor, laid: Tensor) -> Tensor:
    return torch.stack([points[samples].mean(dim=0) for samples in laid.T])


def beside(places: Tensor, points: Tensor, batches: Iterable[Tensor]) -> Tensor:
    """Batches (n, B), each with the sample first that lies at the first place, and so on."""
    return torch.stack([batch[_assigned(places, points[batch])] for batch in batches])


def _assigned(places: Tensor, batch: Tensor) -> Tensor:
    """Which sample of a batch lies at each place."""
    return torch.from_numpy(linear_sum_assignment(torch.cdist(places, batch).square().numpy())[1])
