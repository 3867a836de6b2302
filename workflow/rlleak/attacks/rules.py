"""Rules that read actions, values and rewards off a gradient without optimisation (QGI's and RGI's eqs. 7-9)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks.targets import dot, reciprocal


def dqn_action(last_bias: Tensor) -> Tensor:
    """Eq. 7: only the chosen action's entry of the last bias's gradient (N, actions) is not zero; (N,) int64.

    The largest magnitude, so that it also stands where a defence added noise; 0 where all are zero.
    """
    return last_bias.abs().argmax(dim=1)


AT_LIMIT = 1e3
"""Roundings below Huber's limit of 1 at which an error counts as standing there."""


def error_slope(loss: Mapping[str, Any]) -> int:
    """What a Q-value's error is in units of Q_hat - Q: 2 of J = (Q_hat - Q)^2, 1 of Huber's inside its limit."""
    return 1 if loss.get("error") == "huber" else 2


def error_unseen(loss: Mapping[str, Any], error: Tensor, dtype: torch.dtype) -> Tensor:
    """Whose error at the output (N, outputs), over one transition, does not say how large it was, (N,) bool.

    All of a gradient that was shortened before it was shared: how long it was the server does not know. And of Huber's
    those at their limit of 1. dtype: what the gradient was shared in.
    """
    largest = error.abs().amax(dim=1)
    if loss.get("shortened", False):
        return torch.ones_like(largest, dtype=torch.bool)
    if loss.get("error") != "huber":
        return torch.zeros_like(largest, dtype=torch.bool)
    return largest >= 1 - AT_LIMIT * torch.finfo(dtype).eps


def target_value(predicted: Tensor, action: Tensor, last_bias: Tensor, norm_ratio: Tensor) -> Tensor:
    """Section IV.C.2: target Q (N,) from the predicted one, the error's sign, and |g| / |g_rec| (N,).

    g_rec is the gradient of a candidate whose error |Q_hat_rec - Q~| is 1; the sign is the last bias's gradient's.
    """
    sign = last_bias.gather(1, action[:, None])[:, 0].sign()
    return predicted - sign * norm_ratio


def entropy_error(probabilities: Tensor, entropy_weight: float) -> Tensor:
    """Gradient of -alpha H(p) by the logits, (N, actions): what the entropy term adds to the last bias's gradient."""
    log = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
    entropy = -(probabilities * log).sum(dim=1, keepdim=True)
    return entropy_weight * probabilities * (log + entropy)


def policy_error(probabilities: Tensor, action: Tensor) -> Tensor:
    """Gradient of -log pi(a) by the logits, (N, actions): the policy gradient's error for a return of 1."""
    return probabilities - torch.nn.functional.one_hot(action, probabilities.shape[1])


def action_unseen(probabilities: Tensor) -> Tensor:
    """Where eq. 8 has two solutions, (N,) bool: for policies (N, 2) of two actions.

    Their errors for a return of 1 are (-p_1, p_1) and (p_0, -p_0), which are opposite: either action may have been
    taken, with a return of one sign or the other.
    """
    return torch.full_like(probabilities[:, 0], probabilities.shape[1] == 2, dtype=torch.bool)


def reinforce_action_and_reward(
    last_bias: Tensor, probabilities: Tensor, entropy_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Eqs. 8 and 9: action (N,), reward (N,), and the share of eq. 8's left side that they do not explain (N,).

    All actions are tried; each is compared by direction only, and up to sign, since a return may be negative. Two
    directions with one negative entry each are never opposite for three or more actions. Of two they always are (see
    `action_unseen`), and what is returned is one of two guesses that explain the same.
    """
    remaining = last_bias - entropy_error(probabilities, entropy_weight)  # eq. 8
    actions = torch.arange(probabilities.shape[1], device=probabilities.device)
    candidates = torch.stack([policy_error(probabilities, action.expand(len(remaining))) for action in actions], dim=1)
    inner = (candidates * remaining[:, None]).sum(dim=2)
    squares = candidates.square().sum(dim=2)
    cosine_square = inner.square() * reciprocal(squares)
    action = cosine_square.argmax(dim=1)
    chosen = action[:, None]
    reward = (inner.gather(1, chosen) * reciprocal(squares.gather(1, chosen)))[:, 0]  # eq. 9
    rest = remaining - reward[:, None] * policy_error(probabilities, action)
    unexplained = (dot(rest, rest) * reciprocal(dot(remaining, remaining))).sqrt()
    return action, reward, unexplained
