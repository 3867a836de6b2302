"""Ours: what one gradient says about a transition by algebra, and priors for what it does not.

Over one transition the first dense layer gives s and a (an image is peeled), the head gives Q(s, a) and y. A
semi-gradient says no more: s' = f(s, a) is the transition model's, and r = y - gamma V(s'). A residual gradient is that
of two samples, (s, a) and (s', a'), with errors e and -gamma e: told apart, they give s' and r without any model.
"""

import hashlib
from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rlleak.attacks.layers import like
from rlleak.attacks.targets import dot
from rlleak.attacks.transitions import methods
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.running import Task, match
from rlleak.attacks.transitions.searching import gradient_error
from rlleak.configuration.attacks import TransitionSettings
from rlleak.priors.transition_prior import TransitionPrior

SAME = 0.05
"""Difference, in the prior's deviations, below which a predicted next state is the state itself."""

EXPLAINED = 0.5**0.5
"""Relative gradient error below which a guess explains more of the shared gradient's square than it leaves; no guess at
all has 1."""

NEWTON_STEPS = 8
"""For V(s') to be what it must; ReLU networks are flat pieces."""

Guessed = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Guesses (V, 1, B, ...), with `terminated`, and trust by name."""


@torch.no_grad()
def transition_closed_form(task: Task, settings: TransitionSettings) -> Guessed:
    """Algebra, and the transition model for s' where the gradient is silent about it.

    Rows that algebra leaves open hold the prior's guess. Trust: `claimed`, the share of transitions that were read and
    of which no assumption failed (with noise they are least squares, and not claimed); `next_state_read`, of those
    whose s' was read off a residual gradient; `state_seen`, of claimed ones whose state was; `terminated`, of those
    that ended an episode, as far as the error that was read says so.
    """
    found, prior = task.read, task.place.priors[settings.prior]
    guess = _ended(task.victims, found, _completed(task.victims, found, prior))
    return {name: value[:, None] for name, value in guess.items()}, _trust(found, guess)


@torch.no_grad()
def transition_best(task: Task, settings: TransitionSettings) -> Guessed:
    """Algebra first; of what a semi-gradient says of y, r and s' get what the prior's uncertainties say; and RGIA, with
    the settings' weights, for victims of whom algebra does not claim every transition.

    Of these, `preferred` takes algebra's guess, RGIA's, or RGIA's beside the rows that were read. Trust as
    `transition_closed_form`'s, and `matched`: whose guess is RGIA's, wholly or in part.
    """
    found, prior = task.read, task.place.priors[settings.prior]
    guess = _completed(task.victims, found, prior)
    guess |= _shared_out(task.victims, found, guess, prior)
    guess = _ended(task.victims, found, guess)
    open_ones = (~(found.claimed & found.seen).all(dim=1)).nonzero()[:, 0]
    matched = torch.zeros(len(found.claimed), device=found.claimed.device)
    if len(open_ones):
        own = {name: value[open_ones] for name, value in guess.items()}
        other = _matched(task, settings, open_ones)
        beside = beside_read(own, found.given[open_ones], other, prior.state_scale)
        ways = {name: torch.stack([own[name], other[name].to(value), beside[name]], 1) for name, value in own.items()}
        some = TemporalDifference(task.update.select(open_ones))
        errors = gradient_error(some, ways, task.place.memory_limit)
        best = preferred(errors)
        matched[open_ones] = (best > 0).to(matched)
        rows = torch.arange(len(best), device=best.device)
        guess = {name: value.index_copy(0, open_ones, ways[name][rows, best]) for name, value in guess.items()}
    return {name: value[:, None] for name, value in guess.items()}, _trust(found, guess) | {"matched": matched}


def _matched(task: Task, settings: TransitionSettings, victims: Tensor) -> dict[str, Tensor]:
    """RGIA's preferred guesses for some victims, (v, B, ...)."""
    some = TemporalDifference(task.update.select(victims))
    # The same method with any other setting is other work, in the checkpoint too.
    label = f"best {hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]}"
    found, _ = match(Task(some, task.place), {label: settings}, {label: methods.rgia}, label)
    best = found[label].loss.nan_to_num(torch.inf).argmin(dim=1)
    rows = torch.arange(len(victims), device=best.device)
    guess = {key: value[rows, best] for key, value in found[label].guess.items()}
    return guess | {"terminated": torch.zeros_like(guess["reward"])}


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
    joined = {name: torch.where(_along(given, value), value, other[name]) for name, value in own.items()}
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


def _trust(found: Read, guess: Mapping[str, Tensor]) -> dict[str, Tensor]:
    shares = {"claimed": found.claimed, "state_seen": found.claimed & found.seen, "next_state_read": found.following}
    shares["terminated"] = guess["terminated"]
    return {name: value.float().mean(dim=1) for name, value in shares.items()}


def _completed(victims: TemporalDifference, found: Read, prior: TransitionPrior) -> dict[str, Tensor]:
    """Whole transitions (V, B, ...)."""
    state = _where(found.seen, found.state, prior.state_mean.to(found.state).expand_as(found.state))
    middle = torch.full_like(found.action, 0.0 if victims.continuous else 1 / victims.actions)
    action = _where(found.given, found.action, middle)
    foretold = prior.predict(state, action)
    following = _where(found.following, found.next_state, foretold)
    value = victims.value(following.flatten(0, 1)).view_as(found.error)
    error, ended = found.error, torch.zeros_like(found.given)
    if victims.residual:
        # Alone among a residual gradient's samples: s' left no trace because the episode ended, or because it is s.
        alone = found.given & ~found.following
        stays = ((foretold - state) / prior.state_scale.to(state)).flatten(2).abs().amax(dim=2) < SAME
        ended = alone & ~stays
        error = torch.where(alone & stays & _best_there(victims, state, action), error / (1 - victims.gamma), error)
    reward = found.chosen - error - victims.gamma * value * ~ended
    reward = torch.where(found.given & found.error.isfinite(), reward, _usual_reward(prior))
    whole = {"state": state, "next_state": following, "action": action, "reward": reward}
    return whole | {"terminated": ended.to(reward)}


def _ended(victims: TemporalDifference, found: Read, guess: dict[str, Tensor]) -> dict[str, Tensor]:
    """Also says which transitions ended an episode: y, which a semi-gradient gives, is nearer to r than to r + gamma V.

    Where a prior keeps r within its range, y is not what it would be if the episode went on.
    """
    if victims.residual:
        return guess
    target = found.chosen - found.error
    value = victims.value(guess["next_state"].flatten(0, 1)).view_as(target)
    missed = (target - guess["reward"]).abs()
    over = found.given & (missed < (target - guess["reward"] - victims.gamma * value).abs())
    return guess | {"terminated": over.to(guess["reward"])}


def _best_there(victims: TemporalDifference, state: Tensor, action: Tensor) -> Tensor:
    """Whether an action is the one whose value stands for the state, (V, B) bool."""
    if victims.continuous:
        return torch.zeros(state.shape[:2], dtype=torch.bool, device=state.device)
    best = victims.network(victims.state_of(state.flatten(0, 1))).argmax(dim=1)
    return best.view(state.shape[:2]) == action.argmax(dim=2)


def _shared_out(
    victims: TemporalDifference, found: Read, guess: Mapping[str, Tensor], prior: TransitionPrior
) -> dict[str, Tensor]:
    """r and s' given y = r + gamma V(s'), r ~ N(usual, its deviation) and s' ~ N(f(s, a), f's held-out error).

    r to first order in V (a Kalman filter's update), within the prior's range; then s' moves, along what f is unsure
    of, until V(s') is what r leaves. Where s' was read, nothing changes.
    """
    following, lead = guess["next_state"].flatten(0, 1), guess["reward"].shape
    whole = guess["reward"].flatten() + victims.gamma * victims.value(following)
    unsure = min(prior.held_out_error, prior.no_change_error, 1.0)
    spread = (unsure * prior.state_scale.to(following).square()).expand_as(following)
    value, slope, by_state = _linear_value(victims, following, spread)
    usual, by_reward = _usual_reward(prior), prior.reward_deviation**2
    gain = by_reward / (by_reward + victims.gamma**2 * by_state).clamp_min(1e-30)
    reward = usual + gain * (whole - victims.gamma * value - usual)
    if prior.reward_range is not None:
        reward = reward.clamp(*prior.reward_range)
    for _ in range(NEWTON_STEPS):
        shift = torch.where(by_state > 0, ((whole - reward) / victims.gamma - value) / by_state.clamp_min(1e-30), 0.0)
        following = following + like(shift, slope) * spread * slope
        value, slope, by_state = _linear_value(victims, following, spread)
    changes = found.given & ~found.following & found.error.isfinite()
    return {
        "reward": torch.where(changes, reward.view(lead), guess["reward"]),
        "next_state": _where(changes, following.view_as(guess["next_state"]), guess["next_state"]),
    }


def _linear_value(victims: TemporalDifference, state: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """V (M,), its slope (M, *S), and the variance that a state's spread gives it, (M,)."""
    with torch.enable_grad():
        leaf = state.detach().requires_grad_()
        value = victims.value(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope, dot(slope.square(), spread)


def _usual_reward(prior: TransitionPrior) -> float:
    """The mean of the attacker's own, or the middle of what is possible, or 0."""
    own = prior.transitions.get("reward")
    if own is not None and len(own):
        return float(own.mean())
    return 0.0 if prior.reward_range is None else sum(prior.reward_range) / 2


def _where(chosen: Tensor, value: Tensor, other: Tensor) -> Tensor:
    return torch.where(_along(chosen, value), value, other)


def _along(chosen: Tensor, value: Tensor) -> Tensor:
    """(V, B) in as many dimensions as a value, (V, B, ...)."""
    return chosen.view(*chosen.shape, *[1] * (value.dim() - 2))
