"""What a semi-gradient's y = r + gamma V(s') says of r and of s', which enter through it alone.

Between r, usual as the attacker knows rewards, and s', as f foretells it, y is shared out by what each is unsure of.
f's held-out error is a mean over all it was tried on: where it is large for a few, s' would be given too much of y. So
what share of it to believe is tried on transitions of the attacker's own, whose y is known.
"""

import torch
from torch import Tensor

from rlleak.attacks.layers import like
from rlleak.attacks.targets import dot
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.priors.transition_prior import TransitionPrior

NEWTON_STEPS = 8
"""For V(s') to be what it must; ReLU networks are flat pieces."""

SHARES = (1.0, 0.1, 0.01, 0.0)
"""Of f's held-out variance, tried in this order; at 0 s' is what f says, as long as r is then within its range."""
OWN = 64
"""Transitions of the attacker's own to try them on, at most; fewer than `FEW` decide nothing."""
FEW = 8
RARELY = 1e-3
"""Share of transitions that end an episode, or do else what the attacker has not met, at least: few transitions do not
show all that happens."""


def best_share(victims: TemporalDifference, prior: TransitionPrior) -> float:
    """The share of f's variance by which the attacker's own r and s' come out best: the median over its transitions of
    squared errors in deviations of rewards and, the mean over its numbers, of states. 1 where it has next to none.
    """
    own = {name: value[:OWN].to(prior.state_mean) for name, value in prior.transitions.items()}
    if "reward" in own:
        goes_on = own.get("terminated", torch.zeros_like(own["reward"])) == 0
        own = {name: value[goes_on] for name, value in own.items()}
    if len(own.get("reward", ())) < FEW or not prior.learnt:
        return SHARES[0]
    whole = own["reward"] + victims.gamma * victims.value(own["next_state"])
    foretold = prior.predict(own["state"], own["action"])
    scale, off = prior.state_scale, []
    for share in SHARES:
        reward, following = shared_out(victims, prior, foretold, whole, share)
        by_reward = (reward - own["reward"]).square() / max(prior.reward_deviation, 1e-3) ** 2
        by_state = ((following - own["next_state"]) / scale).square().flatten(1).mean(dim=1)
        off.append(float((by_reward + by_state).median()))
    return SHARES[min(range(len(SHARES)), key=off.__getitem__)]


def shared_out(
    victims: TemporalDifference,
    prior: TransitionPrior,
    following: Tensor,
    whole: Tensor,
    share: float,
    doubt: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """r (M,) and s' (M, *S) of M transitions given y (M,): r ~ N(usual, its deviation), s' ~ N(f(s, a), share of f's
    held-out error). following: f(s, a). doubt: variance of y, by which it is first drawn towards what r and s' make of
    it.

    r to first order in V (a Kalman filter's update), within the prior's range; then s' moves, along what f is unsure
    of, until V(s') is what r leaves.
    """
    spread = unsure(prior, following)
    value, slope, by_state = linear_value(victims, following, spread)
    usual, by_reward = rewards(prior)
    expected, doubt = usual + victims.gamma * value, torch.as_tensor(doubt).to(value)
    own = by_reward + victims.gamma**2 * share * by_state
    whole = expected + (whole - expected) * torch.where(doubt > 0, own / (own + doubt), 1.0)
    gain = by_reward / own.clamp_min(1e-30)
    reward = usual + gain * (whole - victims.gamma * value - usual)
    if prior.reward_range is not None:
        reward = reward.clamp(*prior.reward_range)
    for _ in range(NEWTON_STEPS):
        shift = torch.where(by_state > 0, ((whole - reward) / victims.gamma - value) / by_state.clamp_min(1e-30), 0.0)
        following = following + like(shift, slope) * spread * slope
        value, slope, by_state = linear_value(victims, following, spread)
    return reward, following


def linear_value(victims: TemporalDifference, state: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """V (M,), its slope (M, *S), and the variance that a state's spread gives it, (M,)."""
    with torch.enable_grad():
        leaf = state.detach().requires_grad_()
        value = victims.value(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope, dot(slope.square(), spread)


def unsure(prior: TransitionPrior, following: Tensor) -> Tensor:
    """Variance of s' as f foretells it, of states (M, *S), the same shape."""
    share = min(prior.held_out_error, prior.no_change_error, 1.0)
    return (share * prior.state_scale.to(following).square()).expand_as(following)


def rewards(prior: TransitionPrior) -> tuple[float, float]:
    """The usual reward and its variance, which is 0 where a single reward is possible."""
    usual, spread = usual_reward(prior), prior.reward_deviation
    if prior.reward_range is not None:
        low, high = prior.reward_range
        usual, spread = min(max(usual, low), high), min(spread, (high - low) / 2)
    return usual, spread**2


def usual_reward(prior: TransitionPrior) -> float:
    """The mean of the attacker's own, or the middle of what is possible, or 0."""
    own = prior.transitions.get("reward")
    if own is not None and len(own):
        return float(own.mean())
    return 0.0 if prior.reward_range is None else sum(prior.reward_range) / 2
