"""From claims and metrics to verdicts.

REPRODUCED if the whole 95 % interval satisfies the statement, NOT REPRODUCED if none of it does, else INCONCLUSIVE.
NOT COMPARABLE where the claim says nothing about this simulator or scale (smoke: always); the measured value is given
all the same. NOT RUN where the metrics lack something that the claim is about.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rlleak.artefacts import read_table
from rlleak.configuration.experiments import Claim, Experiment, Term
from rlleak.errors import CorruptArtefactError
from rlleak.publishing.statements import PROPORTIONS, number, state, unit_of
from rlleak.publishing.statistics import (
    PairedSample,
    draw_again,
    estimate,
    exact_proportion,
    interval,
    paired_sample,
    rows_of,
)
from rlleak.seeds import derive

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "REPRODUCED", "NOT REPRODUCED", "INCONCLUSIVE"
NOT_COMPARABLE, NOT_RUN = "NOT COMPARABLE", "NOT RUN"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_COMPARABLE, NOT_RUN)
COLUMNS = (
    *("claim", "paper", "where", "statement", "expected", "measured", "low", "high"),
    *("n", "scale", "simulator", "verdict", "reason"),
)


@dataclass(frozen=True)
class Measurement:
    """What was found: the left term, or left - factor * right where both are; the worst room type with `each`."""

    value: float
    low: float
    high: float
    sample: PairedSample
    worst: str | None


def judge(
    metrics: pd.DataFrame, experiment: Experiment, *, scale: str, simulator: str, samples: int, seed: int
) -> pd.DataFrame:
    """One row per claim, columns `COLUMNS`. Raises CorruptArtefactError if a metric is not finite."""
    if not np.isfinite(metrics["value"]).all():
        odd = metrics.loc[~np.isfinite(metrics["value"]), "metric"].iloc[0]
        raise CorruptArtefactError(f"the metrics hold a '{odd}' that is not finite; delete them and score again")
    rows = []
    for claim in experiment.claims:
        found = {"measured": np.nan, "low": np.nan, "high": np.nan, "n": 0}
        missing = _missing(metrics, claim)
        if missing:
            verdict, reason = NOT_RUN, missing
        else:
            measured = measure(claim, metrics, samples, derive(seed, "bootstrap", experiment.id, claim.id))
            found = {"measured": measured.value, "low": measured.low, "high": measured.high, "n": len(measured.sample)}
            verdict, reason = _decide(claim, measured, scale, simulator)
        stated = {
            "claim": claim.id,
            "paper": experiment.paper,
            "where": claim.where,
            "statement": state(claim, experiment),
            "expected": expectation(claim),
        }
        ran_on = {"scale": scale, "simulator": simulator}
        rows.append({**stated, **found, **ran_on, "verdict": verdict, "reason": _with_note(reason, claim)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_verdicts(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The verdicts of all experiments in one table. Raises CorruptArtefactError for a file that is none."""
    tables = []
    for path in paths:
        table = read_table(path)
        if list(table.columns) != list(COLUMNS):
            raise CorruptArtefactError(f"{path} is not a verdict table; delete it and judge again")
        if len(table):
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def expectation(claim: Claim) -> str:
    """What `measured` is held against: '> 21 dB', 'difference > 4 dB', '< 0, of left − 0.4 × right', '22.81 ± 3 dB'."""
    unit = "" if claim.left.statistic.endswith("_above") else unit_of(claim.left.metric)
    against = claim.margin + (0.0 if isinstance(claim.right, Term) else claim.right)
    prefix = "difference " if isinstance(claim.right, Term) and claim.factor == 1 else ""
    # Behind the limit: who draws it reads the first number.
    suffix = "" if claim.factor == 1 else f", of left − {number(claim.factor)} × right"
    if claim.op == "within":
        return f"{prefix}{number(against)} ± {number(claim.tolerance or 0.0)}{unit}{suffix}"
    return f"{prefix}{claim.op} {number(against)}{unit}{suffix}"


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
        worst = int(np.argmax(np.abs(np.array(observed) - _target(claim))))
        low, high = np.min(lows), np.max(highs)
    elif claim.op.startswith(">"):
        worst = int(np.argmin(observed))
        low, high = np.min(lows), np.min([high for _, high in shared])
    else:
        worst = int(np.argmax(observed))
        low, high = np.max([low for low, _ in shared]), np.max(highs)
    return Measurement(observed[worst], float(low), float(high), sample, kinds[worst])


def _quantity(claim: Claim, part: PairedSample, drawn: np.ndarray | None = None) -> np.ndarray:
    sides = [estimate(term, values, drawn) for term, values in zip(claim.terms, part.values, strict=True)]
    return sides[0] - claim.factor * sides[1] if len(sides) == 2 else sides[0]


def _target(claim: Claim) -> float:
    return claim.margin + (0.0 if isinstance(claim.right, Term) else claim.right)


def _decide(claim: Claim, measured: Measurement, scale: str, simulator: str) -> tuple[str, str]:
    details = _details(claim, measured)
    where = claim.comparable_on
    if scale == "smoke":
        return NOT_COMPARABLE, _joined("smoke scale shows that everything runs and judges nothing", *details)
    if simulator not in where.simulators or scale not in where.scales:
        kind = "a value" if claim.kind == "value" else "a relation"
        allowed = f"{' or '.join(where.simulators)} at scale {' or '.join(where.scales)}"
        return NOT_COMPARABLE, _joined(f"{kind} comparable only on {allowed}, not on {simulator} at {scale}", *details)
    if not np.isfinite([measured.low, measured.high]).all():
        return INCONCLUSIVE, _joined(f"{len(measured.sample)} victims are too few for an interval", *details)
    if isinstance(claim.right, Term) and measured.low == measured.high == _target(claim):
        return INCONCLUSIVE, _joined("both sides agree in every victim, too few to order them", *details)
    satisfied = _satisfied_by(claim)
    ends = (satisfied(measured.low), satisfied(measured.high))
    if all(ends):
        return REPRODUCED, _joined("the whole interval satisfies it", *details)
    if scale != "paper" and not isinstance(claim.right, Term) and claim.source != "ours":
        details.append("this scale runs fewer iterations than the paper")
    if any(ends) or (claim.op == "within" and measured.low < _target(claim) < measured.high):
        return INCONCLUSIVE, _joined("part of the interval satisfies it", *details)
    return NOT_REPRODUCED, _joined("nothing of the interval satisfies it", *details)


def _satisfied_by(claim: Claim) -> Callable[[float], bool]:
    target = _target(claim)
    return {
        ">": lambda value: value > target,
        ">=": lambda value: value >= target,
        "<": lambda value: value < target,
        "<=": lambda value: value <= target,
        "within": lambda value: abs(value - target) <= (claim.tolerance or 0.0),
    }[claim.op]


def _details(claim: Claim, measured: Measurement) -> list[str]:
    """What a reader needs to weigh the number: both sides, the worst room, how far a proportion can be trusted."""
    details = []
    part = measured.sample.part(measured.worst) if measured.worst else measured.sample
    sides = [float(estimate(term, values)) for term, values in zip(claim.terms, part.values, strict=True)]
    if len(sides) == 2:
        details.append(f"{number(sides[0])} against {number(sides[1])}")
    if measured.worst:
        details.append(f"least favourable: {measured.worst.replace('_', ' ')}")
    if len(sides) == 1 and _is_proportion(claim.left):
        trials = part.values[0].size
        successes = round(sides[0] * trials) if claim.left.statistic != "count_above" else int(sides[0])
        low, high = exact_proportion(successes, trials)
        details.append(f"{successes} of {trials}, exact (Clopper-Pearson) 95 % interval [{low:.3f}, {high:.3f}]")
    elif measured.low == measured.high:
        details.append("no variation among victims: the interval has no width")
    if claim.left.statistic in ("max", "min"):
        details.append("a bootstrap cannot see beyond the sample's extremes")
    return details


def _is_proportion(term: Term) -> bool:
    return term.statistic.endswith("_above") or (term.metric in PROPORTIONS and term.statistic == "mean")


def _missing(metrics: pd.DataFrame, claim: Claim) -> str:
    """What the claim needs and the metrics lack, or nothing."""
    for term in claim.terms:
        if rows_of(metrics, term.where, term.metric).empty:
            where = term.where
            return f"no {term.metric} of {where.attack} on {where.learner} in {where.setting}"
    if not len(paired_sample(metrics, claim.terms)):
        return "no victim was attacked on both sides of the comparison"
    return ""


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _with_note(reason: str, claim: Claim) -> str:
    origin = "" if claim.source == "paper" else f"claim is {'ours' if claim.source == 'ours' else 'from a summary'}"
    return _joined(reason, origin, claim.note and f"note: {claim.note}")
