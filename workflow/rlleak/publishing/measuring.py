"""What a claim is about, measured: its quantity over victims, the interval, and how many victims would settle it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd

from rlleak.configuration.experiments import Claim, Term
from rlleak.publishing.statistics import (
    LEAST_DEGREES,
    PairedSample,
    draw_again,
    estimate,
    exact_proportion,
    interval,
    paired_sample,
)

MOST = 10_000
"""Victims, above which no number is foretold: such a difference is none."""
ROUNDING = 1e-6
"""Relative difference up to which two sides are the same: what is added up in another order differs by as much."""


@dataclass(frozen=True)
class Measurement:
    """What was found: the left term, or left - factor * right where both are; the worst room type with `each`."""

    value: float
    low: float
    high: float
    sample: PairedSample
    worst: str | None

    @property
    def part(self) -> PairedSample:
        """The victims that `value` is of."""
        return self.sample.part(self.worst) if self.worst else self.sample


def measure(claim: Claim, metrics: pd.DataFrame, samples: int, seed: int) -> Measurement:
    """The claim's quantity with its interval; with `each`, the least favourable room type's.

    The least favourable of four replicates is biased: were a claim only just true in every room type, an interval of it
    would call the claim false in 30 to 50 % of studies (seen for 6 to 60 victims per type). So the room types keep
    their own intervals. The end that could refute the claim is the least favourable one, with the four sharing their
    5 %; the end that could support it needs no sharing, because every room type must support the claim.
    """
    sample = paired_sample(metrics, claim.terms)
    generator = np.random.default_rng(seed)
    kinds = sample.room_types if claim.each else [None]
    observed, plain, shared = [], [], []
    for kind in kinds:
        part = sample.part(kind) if kind else sample
        replicates = _quantity(claim, part, draw_again(part.room_type, samples, generator))
        sizes = [int((part.room_type == one).sum()) for one in part.room_types]
        degrees = len(part) - len(sizes)
        observed.append(float(_quantity(claim, part)))
        plain.append(interval(replicates, min(sizes), degrees))
        shared.append(interval(replicates, min(sizes), degrees, shared_by=len(kinds)))
    lows, highs = [low for low, _ in plain], [high for _, high in plain]
    if claim.op == "within":
        worst = int(np.argmax(np.abs(np.array(observed) - target(claim))))
        low, high = np.min(lows), np.max(highs)
    elif claim.op.startswith(">"):
        worst = int(np.argmin(observed))
        low, high = np.min(lows), np.min([high for _, high in shared])
    else:
        worst = int(np.argmax(observed))
        low, high = np.max([low for low, _ in shared]), np.max(highs)
    if _right_or_wrong(sample):
        low, high = np.clip((low, high), 1 - len(claim.terms), 1)
    return Measurement(observed[worst], float(low), float(high), sample, kinds[worst])


def _right_or_wrong(part: PairedSample) -> bool:
    """Whether every victim is either 0 or 1, on each side."""
    return all(np.isin(values, (0.0, 1.0)).all() for values in part.values)


def _quantity(claim: Claim, part: PairedSample, drawn: np.ndarray | None = None) -> np.ndarray:
    if claim.left.statistic == "median" and isinstance(claim.right, Term) and claim.right.statistic == "median":
        # Of differences, victim by victim: a difference of two medians keeps all that makes one victim unlike another.
        return estimate(claim.left, _differences(claim, part), drawn)
    sides = [estimate(term, values, drawn) for term, values in zip(claim.terms, part.values, strict=True)]
    return sides[0] - multiple(claim, sides[1]) if len(sides) == 2 else sides[0]


def multiple(claim: Claim, right: np.ndarray) -> np.ndarray:
    """What left is held against: factor * right, or of a negative right, right + (factor - 1) * |right|."""
    return right + (claim.factor - 1) * np.abs(right)


def _differences(claim: Claim, part: PairedSample) -> np.ndarray:
    """left - factor * right, victim by victim: (V, S), or (V, 1) where the sides ran with unlike many networks."""
    left, right = part.values
    if left.shape != right.shape:
        left, right = left.mean(axis=1, keepdims=True), right.mean(axis=1, keepdims=True)
    return left - multiple(claim, right)


def target(claim: Claim) -> float:
    """The number that the quantity is held against."""
    return claim.margin + (0.0 if isinstance(claim.right, Term) else claim.right)


def satisfied_by(claim: Claim) -> Callable[[np.ndarray | float], np.ndarray | bool]:
    """Whether a value of the quantity satisfies the claim."""
    limit = target(claim)
    return {
        ">": lambda value: value > limit,
        ">=": lambda value: value >= limit,
        "<": lambda value: value < limit,
        "<=": lambda value: value <= limit,
        "within": lambda value: abs(value - limit) <= (claim.tolerance or 0.0),
    }[claim.op]


def satisfying(claim: Claim, part: PairedSample) -> tuple[int, int] | None:
    """In how many of how many comparisons, victim by victim, the claim holds; None of other claims."""
    if not isinstance(claim.right, Term) or {term.statistic for term in claim.terms} - {"mean", "median"}:
        return None
    holds = satisfied_by(claim)(_differences(claim, part))
    return int(np.sum(holds)), int(np.size(holds))


def tied(claim: Claim, part: PairedSample) -> bool:
    """Whether the two sides of a comparison are the same in every victim, to rounding."""
    if len(part.values) < 2 or claim.factor != 1 or claim.margin:
        return False
    left, right = part.values
    return left.shape == right.shape and bool(np.allclose(left, right, rtol=ROUNDING, atol=0))


def sided(claim: Claim, part: PairedSample) -> tuple[int, int, bool] | None:
    """Of what is right or wrong on both sides: (how many that differ are on the claim's, how many differ, whether the
    exact interval of that share, McNemar's, tells it from a coin's); None of everything else.
    """
    if (
        len(part.values) < 2
        or claim.margin
        or claim.factor != 1
        or {term.statistic for term in claim.terms} != {"mean"}
    ):
        return None
    left, right = part.values
    if left.shape != right.shape or not _right_or_wrong(part):
        return None
    differ = int(np.sum(left != right))
    on_its = int(np.sum(left > right if claim.op.startswith(">") else left < right))
    low, high = exact_proportion(on_its, differ)
    return on_its, differ, not low <= 0.5 <= high


def speaks_of_all(claim: Claim, part: PairedSample) -> bool:
    """Whether one victim can refute it: a bound on the worst, or a mean of at least what no victim exceeds."""
    if isinstance(claim.right, Term):
        return False
    worst = {">": "min", ">=": "min", "<": "max", "<=": "max"}.get(claim.op)
    of_a_share = (claim.left.statistic, claim.op) == ("mean", ">=") and target(claim) == 1 >= part.values[0].max()
    return claim.left.statistic == worst or of_a_share


def enough(claim: Claim, measured: Measurement) -> int | None:
    """How many victims would decide an open claim, were the value as measured; None if nobody can say.

    The interval's half towards the limit shrinks with the root of their number; it has to end where the limit is.
    """
    if not np.isfinite([measured.low, measured.high]).all():
        kinds = len(measured.sample.room_types)
        return max(2 * kinds, kinds + LEAST_DEGREES)
    tolerance = claim.tolerance or 0.0
    limits = np.array([target(claim) - tolerance, target(claim) + tolerance])
    limit = float(limits[np.argmin(np.abs(limits - measured.value))])
    reach = measured.value - measured.low if limit < measured.value else measured.high - measured.value
    if measured.value == limit or reach <= 0:
        return None
    met = len(measured.sample)
    victims = max(ceil(met * (reach / (measured.value - limit)) ** 2), met + 1)
    return victims if victims <= MOST else None
