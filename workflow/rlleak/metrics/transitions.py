"""How close reconstructed transitions (s, a, r, s') are, as RGIA (He, arXiv 2512.00303, section 5) measures them.

Each metric takes a `TransitionComparison` and gives one number per victim, (V,), a mean over its update's B
transitions, of the restart that the attack chose itself; or None where there is nothing to measure. A tilde is a
reconstruction, sigma a deviation among public transitions (`Units`), ||.|| the 2-norm and n how many numbers there are.
The summary of the paper names these metrics and gives no formula: the formulas here are ours.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from rlleak.metrics.images import psnr
from rlleak.metrics.transition_comparison import PARTS, Successor, TransitionComparison
from rlleak.priors.dynamics import unchanged

GREY_LEVEL = 1 / 255
"""Of an image in [0, 1]: s' may be off by it where nothing changes."""
ROUNDING = 1e-3
"""Deviations; of a vector s' may be off by it where nothing changes."""
TE_LIMIT = 100.0
"""Deviations; what no simulator can go on from counts as so far off, and so does whatever is further off."""


def mse_of(comparison: TransitionComparison, *, part: str) -> np.ndarray | None:
    """||x~ - x||^2 / n of a part x; discrete actions as probabilities beside a one-hot vector."""
    pair = comparison.pair(part)
    return None if pair is None else np.square(pair[0] - pair[1]).mean(axis=(1, 2))


mse_state = partial(mse_of, part="state")
mse_action = partial(mse_of, part="action")
mse_reward = partial(mse_of, part="reward")
mse_next_state = partial(mse_of, part="next_state")


def mse(comparison: TransitionComparison) -> np.ndarray | None:
    """MSE = ||x~ - x||^2 / n of the whole transition x = (s, a, r, s'), in the environment's own units."""
    if not set(PARTS) <= set(comparison.attempt):
        return None
    attempt, truth = (np.concatenate([pair[side] for pair in map(comparison.pair, PARTS)], axis=-1) for side in (0, 1))
    return np.square(attempt - truth).mean(axis=(1, 2))


def _off(comparison: TransitionComparison, part: str) -> np.ndarray | None:
    """Root mean square error of each transition's part in deviations, (V, B)."""
    pair = comparison.pair(part)
    if pair is None:
        return None
    attempt, truth = (comparison.units.scaled(part, side) for side in pair)
    return np.sqrt(np.square(attempt - truth).mean(axis=2))


def nrmse_of(comparison: TransitionComparison, *, part: str) -> np.ndarray | None:
    """||(x~ - x) / sigma|| / sqrt(n) of a part x; 1: off by as much as public ones vary. Not of actions."""
    off = _off(comparison, part)
    return None if off is None else off.mean(axis=1)


nrmse_state = partial(nrmse_of, part="state")
nrmse_reward = partial(nrmse_of, part="reward")
nrmse_next_state = partial(nrmse_of, part="next_state")


def _right(comparison: TransitionComparison, part: str) -> np.ndarray | None:
    """Whether each transition's part is within its threshold, (V, B)."""
    pair, limits = comparison.pair(part), comparison.thresholds
    if pair is None:
        return None
    if part == "action" and not comparison.environment.continuous:
        return (pair[0].argmax(axis=2) == pair[1].argmax(axis=2)) & (pair[0].max(axis=2) > 0)
    if part == "reward":
        allowed = max(limits.reward * comparison.units.reward, limits.least_reward)
        return np.abs(pair[0] - pair[1])[..., 0] <= allowed
    if part == "next_state":
        return _off(comparison, part) <= np.minimum(limits.state, _allowed_change(comparison))
    return _off(comparison, part) <= (limits.action if part == "action" else limits.state)


def _allowed_change(comparison: TransitionComparison) -> np.ndarray:
    """What s' may be off by for "nothing changes" not to count as right, (V, B) in deviations; see `accuracy_of`."""
    environment, units = comparison.environment, comparison.units
    state, following = comparison.truth["state"], comparison.truth["next_state"]
    shape = environment.image_shape or (environment.vector_size,)
    still = unchanged(torch.from_numpy(state.reshape(-1, *shape)), environment.kind == "atari").numpy()
    changes = units.scaled("next_state", still.reshape(state.shape) - following)
    size = np.sqrt(np.square(changes).mean(axis=2))
    level = units.scaled("next_state", np.full(state.shape[-1], GREY_LEVEL))
    least = ROUNDING if environment.image_shape is None else np.sqrt(np.square(level).mean())
    return np.maximum(comparison.thresholds.change * size, least)


def accuracy_of(comparison: TransitionComparison, *, part: str) -> np.ndarray | None:
    """Share of transitions whose part is right.

    s, s': ||(s~ - s) / sigma|| / sqrt(n) <= `state`. s' besides: <= `change` ||(u - s') / sigma|| / sqrt(n), u being
    "nothing changes" from the true s (of a stack, its newest frame once more), or `GREY_LEVEL` (images) or `ROUNDING`
    (vectors) where that is larger: between frames so little changes that s itself would be right of s'. r: |r~ - r| <=
    max(`reward` sigma_r, `least_reward`). Continuous a: ||a~ - a|| / sqrt(n) <= `action`; discrete: the most probable
    is the one taken. Limits: `TransitionThresholds`.
    """
    right = _right(comparison, part)
    return None if right is None else right.mean(axis=1)


state_accuracy = partial(accuracy_of, part="state")
action_correct = partial(accuracy_of, part="action")
reward_accuracy = partial(accuracy_of, part="reward")
next_state_accuracy = partial(accuracy_of, part="next_state")


def recovery_accuracy(comparison: TransitionComparison) -> np.ndarray | None:
    """RA: share of transitions of which s, a, r and s' are all right; see `accuracy_of`."""
    right = [_right(comparison, part) for part in PARTS]
    return None if any(part is None for part in right) else np.logical_and.reduce(right).mean(axis=1)


def gme(comparison: TransitionComparison) -> np.ndarray | None:
    """GME = ||g~ - g|| / ||g||, of the shared gradient g and the reconstruction's, as the attack computed it.

    1, as of no guess at all, where the attack diverged; absent for attacks that compute no gradient.
    """
    error = comparison.gradient_error
    return np.where(np.isfinite(error), error, 1.0) if np.isfinite(error).any() else None


def _transition_error(comparison: TransitionComparison, state: np.ndarray, action: np.ndarray, following: np.ndarray):
    """(V,), of arrays (V, B, n)."""
    flat = [side.reshape(-1, side.shape[-1]) for side in (state, action)]
    taken = flat[1].astype(np.float32) if comparison.environment.continuous else flat[1].argmax(axis=1)
    reached = comparison.successor(flat[0].astype(np.float32), taken)
    if reached is None:
        return None
    missed = comparison.units.scaled("next_state", following - reached.reshape(following.shape))
    off = np.sqrt(np.square(missed).mean(axis=2))
    return np.minimum(np.where(np.isfinite(off), off, TE_LIMIT), TE_LIMIT).mean(axis=1)


def te(comparison: TransitionComparison) -> np.ndarray | None:
    """TE = ||(s~' - T(s~, a~)) / sigma|| / sqrt(n), T the real simulator put into s~; at most `TE_LIMIT` each.

    0: possible, whether true or not. Absent where no simulator can be put into a state (images).
    """
    given = [comparison.pair(part) for part in ("state", "action", "next_state")]
    if any(pair is None for pair in given):
        return None
    return _transition_error(comparison, *(pair[0] for pair in given))


def te_truth(comparison: TransitionComparison) -> np.ndarray | None:
    """TE of the true transitions: what a state does not hold of the simulator's, and rounding."""
    return _transition_error(comparison, *(comparison.truth[part] for part in ("state", "action", "next_state")))


def possible_moves(successor: Successor, state: np.ndarray, action: np.ndarray, following: np.ndarray):
    """Whether a finite world goes from the most probable s with the most probable a to the most probable s'.

    Arrays (N, n); gives (N,) bool, or None where the simulator cannot be put into a state. What is not finite, or zeros
    only, is no move.
    """
    given = [np.isfinite(part).all(axis=1) & part.any(axis=1) for part in (state, action, following)]
    places, taken, goals = (np.nan_to_num(part).argmax(axis=1) for part in (state, action, following))
    reached = successor(np.eye(state.shape[1], dtype=np.float32)[places], taken)
    if reached is None:
        return None
    return np.logical_and.reduce([*given, np.nan_to_num(reached).argmax(axis=1) == goals])


def _share_possible(comparison: TransitionComparison, parts: Sequence[np.ndarray]) -> np.ndarray | None:
    """(V,), of s, a and s' (V, B, n)."""
    if comparison.environment.kind != "grid":
        return None
    moves = possible_moves(comparison.successor, *(part.reshape(-1, part.shape[-1]) for part in parts))
    return None if moves is None else moves.reshape(parts[0].shape[:2]).mean(axis=1)


def possible(comparison: TransitionComparison) -> np.ndarray | None:
    """Share of transitions that are a move of a finite world (FrozenLake), true or not; see `possible_moves`.

    Unlike TE it does not ask how sharply a guess is one-hot. Absent for other environments.
    """
    given = [comparison.pair(part) for part in ("state", "action", "next_state")]
    return None if any(pair is None for pair in given) else _share_possible(comparison, [pair[0] for pair in given])


def possible_truth(comparison: TransitionComparison) -> np.ndarray | None:
    """The same of the true transitions: 1, unless a victim's are no moves of this world."""
    return _share_possible(comparison, [comparison.truth[part] for part in ("state", "action", "next_state")])


def overlap_error(comparison: TransitionComparison) -> np.ndarray | None:
    """||(s~'[:-1] - s~[1:]) / sigma|| / sqrt(n): what stands for TE where a state is a stack of frames.

    All but the newest frame of the next state are frames of this one; 0 is needed to be possible, and not enough.
    """
    state, following = comparison.pair("state"), comparison.pair("next_state")
    if comparison.environment.kind != "atari" or state is None or following is None:
        return None
    stacks = [side[0].reshape(*side[0].shape[:2], *comparison.environment.image_shape) for side in (state, following)]
    missed = comparison.units.scaled("state", stacks[1][:, :, :-1] - stacks[0][:, :, 1:])
    return np.sqrt(np.square(missed).mean(axis=(2, 3, 4))).mean(axis=1)


def psnr_of(comparison: TransitionComparison, *, part: str) -> np.ndarray | None:
    """PSNR in dB of a state's image, all channels together, clipped to [0, 1]."""
    pair = comparison.pair(part)
    if comparison.environment.image_shape is None or pair is None:
        return None
    attempt, truth = pair[0].clip(0, 1), pair[1]
    both = [zip(*update, strict=True) for update in zip(attempt, truth, strict=True)]
    return np.array([np.mean([psnr(true, guess) for guess, true in update]) for update in both])


psnr_state = partial(psnr_of, part="state")
psnr_next_state = partial(psnr_of, part="next_state")


def seconds(comparison: TransitionComparison) -> np.ndarray | None:
    """Attack time per victim in seconds, as the attack reported it."""
    return comparison.seconds


def failed(comparison: TransitionComparison) -> np.ndarray:
    """1 where the chosen restart holds NaN or infinity (scored as zeros), else 0."""
    return comparison.failed[np.arange(len(comparison.chosen)), comparison.chosen].astype(float)


def in_prior(comparison: TransitionComparison) -> np.ndarray | None:
    """Share of the victim's transitions (s, a, s') that the attacker had played itself, to the last bit.

    0, unless a world has few transitions (FrozenLake) or both sides' seeds are the same.
    """
    return comparison.known
