"""Boxes, actions, Q-values and rewards: what QGI / RGI (section V) measure beside images."""

from functools import partial

import numpy as np

from rlleak.metrics.comparison import Comparison

_SMALLEST = 1e-12


def box_iou(attempt: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Intersection over union, (N,) in [0, 1], of boxes (N, 4) = (x1, y1, x2, y2).

    A box whose corners are swapped is empty: its overlap with anything is 0. Two equal empty boxes overlap by 1.
    """
    lower = np.maximum(attempt[:, :2], true[:, :2])
    upper = np.minimum(attempt[:, 2:], true[:, 2:])
    overlap = np.clip(upper - lower, 0, None).prod(axis=1)
    areas = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(axis=1) for box in (attempt, true)]
    union = areas[0] + areas[1] - overlap
    equal = (attempt == true).all(axis=1)
    return np.where(union > 0, overlap / np.where(union > 0, union, 1.0), equal.astype(float))


def percentage_error(attempt: np.ndarray, true: np.ndarray) -> np.ndarray:
    """100 |attempt - true| / |true| (QGI's epsilon); a true value of 0 counts as 1e-12."""
    return 100.0 * np.abs(attempt - true) / np.maximum(np.abs(true), _SMALLEST)


def iou(comparison: Comparison) -> np.ndarray | None:
    """Overlap of the reconstructed target box with the true one; None where a vector is no box."""
    pair = comparison.pair("vector") if comparison.boxes else None
    return None if pair is None else box_iou(*pair)


def action_correct(comparison: Comparison) -> np.ndarray | None:
    """1 where the reconstructed action is the one taken, else 0."""
    pair = comparison.pair("action")
    return None if pair is None else (pair[0] == pair[1]).astype(float)


def predicted_q_error(comparison: Comparison) -> np.ndarray | None:
    """Percentage error of the predicted Q-value of the action taken."""
    pair = comparison.pair("predicted_q")
    return None if pair is None else percentage_error(*pair)


def target_q_error(comparison: Comparison) -> np.ndarray | None:
    """Percentage error of the target Q-value."""
    pair = comparison.pair("target_q")
    return None if pair is None else percentage_error(*pair)


def reward_error(comparison: Comparison) -> np.ndarray | None:
    """Absolute error of the reward that multiplies log pi."""
    pair = comparison.pair("reward")
    return None if pair is None else np.abs(pair[0] - pair[1])


def seconds(comparison: Comparison) -> np.ndarray | None:
    """Attack time per victim in seconds, as the attack reported it."""
    return comparison.seconds


def message_bytes(comparison: Comparison) -> np.ndarray | None:
    """How many bytes the victim's update takes on the wire, behind its defence."""
    return _of_the_update(comparison, comparison.message_bytes)


def epsilon(comparison: Comparison) -> np.ndarray | None:
    """What the victim's defence guarantees, at the delta of its entry; absent where it guarantees nothing."""
    return _of_the_update(comparison, comparison.epsilon)


def _of_the_update(comparison: Comparison, value: float | None) -> np.ndarray | None:
    return None if value is None or not np.isfinite(value) else np.full(len(comparison.failed), float(value))


def failed(comparison: Comparison) -> np.ndarray:
    """1 where the attack gave NaN or infinity (scored as a blank guess), else 0."""
    return comparison.failed.astype(float)


def _of_claims(comparison: Comparison, *, name: str) -> np.ndarray | None:
    return None if comparison.claims is None else comparison.claims[name]


# Of updates over several transitions, by `rlleak.metrics.batches.score_claims`. A precision needs a claim to be about:
# it is NaN (and gives no row) where the attack claims nothing.
batch_claimed = partial(_of_claims, name="claimed")
batch_precision = partial(_of_claims, name="precision")
batch_recall = partial(_of_claims, name="recall")
batch_error = partial(_of_claims, name="claim_error")
