"""From claims and metrics to verdicts.

REPRODUCED if the whole 95 % interval satisfies the statement, NOT REPRODUCED if none of it does, else INCONCLUSIVE.
A statement on all victims, or on the worst of them, is refuted by one that does not satisfy it. Sides that are the same
in every victim do not differ; of shares, or at a floor or a ceiling, they order nothing: INCONCLUSIVE. What a claim
takes for granted (`given`) must be REPRODUCED, or the claim is INCONCLUSIVE.
NOT COMPARABLE where the claim says nothing about this simulator or scale (smoke: always); the measured value is given
all the same. NOT RUN where the metrics lack something that the claim is about.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rlleak.artefacts import read_table
from rlleak.configuration.experiments import Claim, Experiment, Term
from rlleak.errors import CorruptArtefactError
from rlleak.publishing.measuring import (
    Measurement,
    enough,
    measure,
    multiple,
    satisfied_by,
    satisfying,
    sided,
    speaks_of_all,
    target,
    tied,
)
from rlleak.publishing.statements import PROPORTIONS, number, state, subject, unit_of
from rlleak.publishing.statistics import estimate, exact_proportion, paired_sample, rows_of
from rlleak.seeds import derive

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "REPRODUCED", "NOT REPRODUCED", "INCONCLUSIVE"
NOT_COMPARABLE, NOT_RUN = "NOT COMPARABLE", "NOT RUN"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_COMPARABLE, NOT_RUN)
FORETOLD = r"about ([\d,]+) (?:victims|runs) would decide it"
"""What a reason says of how many would decide an open claim."""
COLUMNS = (
    *("claim", "paper", "where", "statement", "expected", "measured", "low", "high"),
    *("n", "scale", "simulator", "verdict", "reason"),
)


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
        missing = _missing(metrics, claim, experiment, scale)
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
    _unless_given(rows, experiment)
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


def _decide(claim: Claim, measured: Measurement, scale: str, simulator: str) -> tuple[str, str]:
    details = _details(claim, measured)
    if scale == "smoke":
        return NOT_COMPARABLE, _joined("smoke scale shows that everything runs and judges nothing", *details)
    where = claim.comparable_on
    if simulator not in where.simulators or scale not in where.scales:
        return NOT_COMPARABLE, _joined(_comparable_only(claim, simulator, scale), *details)
    satisfied, unit = satisfied_by(claim), _unit(claim)
    if speaks_of_all(claim, measured.part) and not satisfied(measured.value):
        return NOT_REPRODUCED, _joined(f"one of the {unit} is enough to refute it", *details)
    if not np.isfinite([measured.low, measured.high]).all():
        few = f"{len(measured.sample)} {unit} are too few for an interval; {enough(claim, measured)} give one"
        return INCONCLUSIVE, _joined(few, *details)
    if tied(claim, measured.part):
        met = np.unique(measured.part.values[0])
        same = "the same" if len(met) > 1 else number(met[0])
        alike = f"both sides are {same} in each of the {unit}"
        if len(met) > 2:
            says = "satisfies" if satisfied(0.0) else "does not satisfy"
            return REPRODUCED if satisfied(0.0) else NOT_REPRODUCED, _joined(f"{alike}, which {says} it", *details)
        # At a floor or a ceiling, or of what is only right or wrong, others may yet differ.
        return INCONCLUSIVE, _joined(f"{alike}, which orders nothing", *details)
    ends = (satisfied(measured.low), satisfied(measured.high))
    exact = sided(claim, measured.part)
    if exact and not exact[2] and all(ends) == any(ends):
        few = f"too few of the {unit} differ; {exact[0]} of {exact[1]} do on its side, as coins may (exactly, McNemar)"
        return INCONCLUSIVE, _joined(few, *details)
    if all(ends):
        return REPRODUCED, _joined("the whole interval satisfies it", *details)
    if scale != "paper" and not isinstance(claim.right, Term) and claim.source != "ours":
        details.append("this scale runs fewer iterations than the paper")
    if any(ends) or (claim.op == "within" and measured.low < target(claim) < measured.high):
        victims = enough(claim, measured)
        if victims:
            details.insert(0, f"were it as measured, about {victims:,} {unit} would decide it")
        return INCONCLUSIVE, _joined("part of the interval satisfies it", *details)
    return NOT_REPRODUCED, _joined("nothing of the interval satisfies it", *details)


def _unless_given(rows: list[dict], experiment: Experiment) -> None:
    """Opens what was decided of a claim whose premise was not seen to hold: it would be so, or not so, without it."""
    verdicts = {row["claim"]: row for row in rows}
    found = {name: row["verdict"] for name, row in verdicts.items()}
    for claim in experiment.claims:
        row = verdicts[claim.id]
        if claim.given and found[claim.given] != REPRODUCED and row["verdict"] in (REPRODUCED, NOT_REPRODUCED):
            premise = f"that {verdicts[claim.given]['statement']} is {found[claim.given].lower()}"
            row["verdict"] = INCONCLUSIVE
            row["reason"] = _joined("what it takes for granted was not seen to hold", premise, row["reason"])


_PLACES = {"thor": "AI2-THOR in Unity", "rooms": "this project's own rooms"}


def _comparable_only(claim: Claim, simulator: str, scale: str) -> str:
    """Where a claim can be judged, and where this was."""
    where, kind = claim.comparable_on, "a value" if claim.kind == "value" else "a relation"
    places = " or ".join(_PLACES[place] for place in where.simulators)
    on, here = (f" on {places}", f" on {_PLACES[simulator]}") if simulator not in where.simulators else ("", "")
    return f"{kind} comparable only{on} at scale {' or '.join(where.scales)}, not{here} at {scale}"


def _unit(claim: Claim) -> str:
    """What is drawn again."""
    return "runs" if claim.left.where.attack == "training" else "victims"


def _details(claim: Claim, measured: Measurement) -> list[str]:
    """What a reader needs to weigh the number: both sides, the worst room, how far a proportion can be trusted."""
    details = []
    part = measured.part
    sides = [float(estimate(term, values)) for term, values in zip(claim.terms, part.values, strict=True)]
    if len(sides) == 2:
        details.append(f"{number(sides[0])} against {number(sides[1])}")
        if claim.factor != 1 and sides[1] < 0:
            details.append(f"of a negative number {number(claim.factor)} times is {number(multiple(claim, sides[1]))}")
    if counted := satisfying(claim, part):
        details.append(f"holds in {counted[0]} of {counted[1]} {_unit(claim)}")
    if measured.worst:
        details.append(f"least favourable: {measured.worst.replace('_', ' ')}")
    if len(sides) == 1 and _is_proportion(claim.left):
        trials = part.values[0].size
        successes = round(sides[0] * trials) if claim.left.statistic != "count_above" else int(sides[0])
        low, high = exact_proportion(successes, trials)
        details.append(f"{successes} of {trials}, exact (Clopper-Pearson) 95 % interval [{low:.3f}, {high:.3f}]")
    elif measured.low == measured.high:
        details.append(f"no variation among {_unit(claim)}: the interval has no width")
    if claim.left.statistic in ("max", "min"):
        details.append("a bootstrap cannot see beyond the sample's extremes")
    return details


def _is_proportion(term: Term) -> bool:
    return term.statistic.endswith("_above") or (term.metric in PROPORTIONS and term.statistic == "mean")


def _missing(metrics: pd.DataFrame, claim: Claim, experiment: Experiment, scale: str) -> str:
    """What the claim needs and the metrics lack, or nothing."""
    for term in claim.terms:
        if rows_of(metrics, term.where, term.metric).empty:
            parts = [part for part in experiment.grid if any(term.where.holds(cell) for cell in part.cells(1))]
            scales = sorted({at for part in parts for at in part.scales})
            only = "" if scale in scales else f": it runs at scale {' and '.join(scales)} only"
            return f"no {term.metric} of {subject(term.where, experiment)}{only}"
    if not len(paired_sample(metrics, claim.terms)):
        return "no victim was attacked on both sides of the comparison"
    return ""


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _with_note(reason: str, claim: Claim) -> str:
    origin = "" if claim.source == "paper" else f"claim is {'ours' if claim.source == 'ours' else 'from a summary'}"
    return _joined(reason, origin, claim.note and f"note: {claim.note}")
