"""Ours: what one gradient says about a transition by algebra, and priors for what it does not.

Over one transition the first dense layer gives s and a (an image is peeled), the head gives Q(s, a) and y. A
semi-gradient says no more: s' = f(s, a) is the transition model's, and r = y - gamma V(s'). A residual gradient is that
of two samples, (s, a) and (s', a'), with errors e and -gamma e: told apart, they give s' and r without any model.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks.layers import like
from rlleak.attacks.targets import dot
from rlleak.attacks.transitions import methods
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read, read
from rlleak.attacks.transitions.running import Task, match
from rlleak.configuration.attacks import TransitionSettings
from rlleak.priors.transition_prior import TransitionPrior

SAME = 0.05
"""Difference, in the prior's deviations, below which a predicted next state is the state itself."""

NEWTON_STEPS = 8
"""For V(s') to be what it must; ReLU networks are flat pieces."""

Guessed = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Guesses (V, 1, B, ...), and trust by name."""


@torch.no_grad()
def transition_closed_form(task: Task, settings: TransitionSettings) -> Guessed:
    """Algebra, and the transition model for s' where the gradient is silent about it.

    Rows that algebra leaves open hold the prior's guess. Trust: `claimed`, the share of transitions that were read;
    `next_state_read`, of those whose s' was read off a residual gradient; `state_seen`, of those whose state was.
    """
    found, prior = _read(task), task.place.priors[settings.prior]
    guess = _completed(task.victims, found, prior)
    return {name: value[:, None] for name, value in guess.items()}, _trust(found)


@torch.no_grad()
def transition_best(task: Task, settings: TransitionSettings) -> Guessed:
    """Algebra first; of what a semi-gradient says of y, r and s' get what the prior's uncertainties say; and RGIA, with
    the settings' weights, for victims of whom algebra does not read every transition.

    Trust as `transition_closed_form`'s, and `matched`: whose guess is RGIA's.
    """
    found, prior = _read(task), task.place.priors[settings.prior]
    guess = _completed(task.victims, found, prior)
    guess |= _shared_out(task.victims, found, guess, prior)
    open_ones = (~(found.claimed & found.seen).all(dim=1)).nonzero()[:, 0]
    matched = torch.zeros(len(found.claimed), device=found.claimed.device)
    if len(open_ones):
        matched[open_ones] = 1
        for name, value in _matched(task, settings, open_ones).items():
            guess[name] = guess[name].index_copy(0, open_ones, value.to(guess[name]))
    return {name: value[:, None] for name, value in guess.items()}, _trust(found) | {"matched": matched}


def _matched(task: Task, settings: TransitionSettings, victims: Tensor) -> dict[str, Tensor]:
    """RGIA's preferred guesses for some victims, (v, B, ...)."""
    some = TemporalDifference(task.update.select(victims))
    # Attacks of this method with other settings are other work.
    label = "best " + " ".join(f"{getattr(settings, name):g}" for name in ("alpha", "beta", "gamma"))
    found, _ = match(Task(some, task.place), {label: settings}, {label: methods.rgia}, f"{label} {settings.prior}")
    best = found[label].loss.nan_to_num(torch.inf).argmin(dim=1)
    rows = torch.arange(len(victims), device=best.device)
    return {key: value[rows, best] for key, value in found[label].guess.items()}


def _read(task: Task) -> Read:
    """Once for all attacks on the same victims."""
    if task.read is None:
        task.read = read(task.victims, task.place.seed, task.place.memory_limit)
    return task.read


def _trust(found: Read) -> dict[str, Tensor]:
    shares = {"claimed": found.claimed, "state_seen": found.seen, "next_state_read": found.following}
    return {name: value.float().mean(dim=1) for name, value in shares.items()}


def _completed(victims: TemporalDifference, found: Read, prior: TransitionPrior) -> dict[str, Tensor]:
    """Whole transitions (V, B, ...)."""
    state = _where(found.seen, found.state, prior.state_mean.to(found.state).expand_as(found.state))
    middle = torch.full_like(found.action, 0.0 if victims.continuous else 1 / victims.actions)
    action = _where(found.claimed, found.action, middle)
    foretold = prior.predict(state, action)
    following = _where(found.following, found.next_state, foretold)
    value = victims.value(following.flatten(0, 1)).view_as(found.error)
    error, ended = found.error, torch.zeros_like(found.claimed)
    if victims.residual:
        # Alone among a residual gradient's samples: s' left no trace because the episode ended, or because it is s.
        alone = found.claimed & ~found.following
        stays = ((foretold - state) / prior.state_scale.to(state)).flatten(2).abs().amax(dim=2) < SAME
        ended = alone & ~stays
        error = torch.where(alone & stays & _best_there(victims, state, action), error / (1 - victims.gamma), error)
    reward = found.chosen - error - victims.gamma * value * ~ended
    reward = torch.where(found.claimed, reward, _usual_reward(prior))
    return {"state": state, "next_state": following, "action": action, "reward": reward}


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
    changes = found.claimed & ~found.following
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
    return torch.where(chosen.view(*chosen.shape, *[1] * (value.dim() - 2)), value, other)
