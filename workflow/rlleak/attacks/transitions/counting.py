"""Where states can be counted: every transition that there could be, laid beside a residual gradient.

Algebra tells the two samples of a residual gradient apart by the outputs that they leave through. Where both left
through one, since what was done is what is best at s' too, it cannot; who knows a finite world's places tries them all.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.transitions.exactness import longest
from rlleak.attacks.transitions.objective import Guess, TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.searching import gradient_error, in_double
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.priors.transition_prior import TransitionPrior

MOST = 2**14
"""Candidates, beyond which a world is too large to be counted through."""

SAME_FIT = 1e-4
"""Relative gradient error within which candidates are told apart by rounding alone. The nearest other transition, s and
s' exchanged, is at least about (1 - gamma^2) / 2 off: 1 %."""


@dataclass(frozen=True)
class Counted:
    """The candidate of V victims that fits best: as if `read`, error: its relative gradient error, (V,), and how many
    fit `as_good`, itself among them, (V,). It is claimed where it fits but for rounding, and alone does. ended: (V, B),
    1 or 0 where it is known whether a transition ended an episode, and with it r; else NaN, or None: of none.
    """

    read: Read
    error: Tensor
    as_good: Tensor
    ended: Tensor | None = None


def in_finite_world(victims: TemporalDifference, prior: TransitionPrior) -> bool:
    """Whether states are places that can be counted, and errors what is left once gradients are told apart.

    Rewards are solved for, which Huber's error and shortened gradients do not let.
    """
    update = victims.update
    finite = ENVIRONMENTS[prior.environment].kind == "grid" and update.normalised is None
    return finite and longest(update) is None and not victims.huber


def can_count(victims: TemporalDifference, prior: TransitionPrior) -> bool:
    """Whether these are residual gradients over one transition between so few places that all can be tried.

    A semi-gradient is silent about s'.
    """
    world = ENVIRONMENTS[prior.environment]
    alone = victims.residual and victims.batch_size == 1 and in_finite_world(victims, prior)
    return alone and world.vector_size**2 * world.actions <= MOST


@torch.no_grad()
def counted(victims: TemporalDifference, prior: TransitionPrior, memory_limit: int | None = None) -> Counted:
    """Tries every (s, a, s') and every (s, a) that ends an episode, each with the reward that fits it best.

    Places and actions are the environment's spaces, which are public. What fits as well as the best is a
    pseudo-solution of it: between those f decides, and none is claimed.
    """
    exact, every = in_double(victims), _candidates(victims, prior)
    values = exact.network(exact.state_of(every["state"][:, 0]))
    chosen = (values * every["action"][:, 0]).sum(dim=1, keepdim=True)
    following = exact.value(every["next_state"][:, 0])[:, None]
    level = chosen - victims.gamma * (1 - every["terminated"]) * following
    error = _best_error(exact, every, level, memory_limit)
    misfit = _misfit(exact, every, level - error[..., None], memory_limit).nan_to_num(torch.inf)

    alike = misfit <= misfit.amin(dim=1, keepdim=True) + SAME_FIT
    best = _unlikely(every, prior).masked_fill(~alike, torch.inf).argmin(dim=1)
    rows, as_good = torch.arange(len(best), device=best.device), alike.sum(dim=1)
    fits = misfit[rows, best]
    given = torch.ones_like(fits, dtype=torch.bool)[:, None]
    like = next(iter(victims.network.parameters.values()))
    read = Read(
        state=every["state"][best].to(like),
        action=every["action"][best].to(like),
        chosen=chosen[best].to(like),
        error=error[rows, best][:, None].to(like),
        given=given,
        claimed=given & ((as_good == 1) & (fits <= SAME_FIT))[:, None],
        seen=given,
        next_state=every["next_state"][best].to(like),
        following=every["terminated"][best] == 0,
    )
    return Counted(read, fits.to(like), as_good.to(like))


def _candidates(victims: TemporalDifference, prior: TransitionPrior) -> dict[str, Tensor]:
    """state, next_state (P, 1, S), action (P, 1, A), terminated (P, 1), float64; after an end s' is what f says."""
    like = next(iter(victims.network.parameters.values()))
    places, actions = torch.eye(*victims.state_shape * 2).to(like), torch.eye(victims.actions).to(like)
    indices = [torch.arange(len(side), device=like.device) for side in (places, actions, places)]
    state, action, following = torch.cartesian_prod(*indices).T
    last_state, last_action = torch.cartesian_prod(*indices[:2]).T
    ends = torch.cat([torch.zeros_like(state), torch.ones_like(last_state)])
    state, action = places[torch.cat([state, last_state])], actions[torch.cat([action, last_action])]
    foretold = prior.predict(state, action)
    following = torch.cat([places[following], foretold[len(following) :]])
    parts = {"state": state, "action": action, "next_state": following, "terminated": ends}
    return {name: value[:, None].double() for name, value in parts.items()}


def _unlikely(every: Guess, prior: TransitionPrior) -> Tensor:
    """How far f is from each candidate, (P,), float64; what ends an episode is rarer than what does not."""
    like = prior.state_mean
    foretold = prior.predict(every["state"].to(like), every["action"].to(like))
    apart = (foretold - every["next_state"].to(like)).square().sum(dim=(1, 2))
    return apart.double() + 0.5 * every["terminated"][:, 0]


def _best_error(victims: TemporalDifference, every: Guess, level: Tensor, memory_limit: int | None) -> Tensor:
    """The temporal difference that fits each victim best, (V, P): by it the gradient grows, so least squares.

    Of a gradient h for a difference of 1, |h - g*|^2 and |-h - g*|^2 give <h, g*> and |h|^2, in units of |g*|^2.
    """
    more, less = (_misfit(victims, every, level - sign, memory_limit).square() for sign in (1, -1))
    return (less - more) / 4 / ((less + more) / 2 - 1).clamp_min(1e-30)


def _misfit(victims: TemporalDifference, every: Guess, reward: Tensor, memory_limit: int | None) -> Tensor:
    """Gradient errors (V, P) of candidates with rewards (P, 1), or each victim's own, (V, P, 1)."""
    count = len(victims.update)
    whole = {name: value.expand(count, *value.shape) for name, value in every.items()}
    return gradient_error(victims, whole | {"reward": reward.expand(count, -1, -1)}, memory_limit)
