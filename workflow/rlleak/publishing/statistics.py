"""Statistics over victims with their confidence intervals: a paired bootstrap, stratified by room type.

The unit that is drawn again is the victim, with all its network seeds, and every term of a claim gets the same draws,
so what makes a room hard for both sides of a comparison cancels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special  # not scipy.stats: it takes longer to import than most tables to make

from rlleak.configuration.experiments import Selection, Term

LEVEL = 0.95
LEAST_DEGREES = 4
"""Of freedom, below which no interval is given: no bootstrap reaches beyond its sample, and the range of 2, 3, 4 or 5
values was seen to cover their mean in 49, 74, 87 and 92 of 100 studies."""

# Each takes values (..., n) and a threshold and reduces the last axis. The paper does not say which standard deviation
# it means; the sample's (n - 1) is taken.
STATISTICS: dict[str, Callable[[np.ndarray, float | None], np.ndarray]] = {
    "mean": lambda values, _: values.mean(axis=-1),
    "median": lambda values, _: np.median(values, axis=-1),
    "std": lambda values, _: (
        values.std(axis=-1, ddof=1) if values.shape[-1] > 1 else np.full(values.shape[:-1], np.nan)
    ),
    "max": lambda values, _: values.max(axis=-1),
    "min": lambda values, _: values.min(axis=-1),
    "count_above": lambda values, threshold: (values > threshold).sum(axis=-1).astype(float),
    "share_above": lambda values, threshold: (values > threshold).mean(axis=-1),
}


def rows_of(metrics: pd.DataFrame, where: Selection, metric: str) -> pd.DataFrame:
    """The rows of the long table that a term is computed from."""
    return _rows(metrics, {"metric": metric, **where.model_dump(exclude_none=True)})


def rows_at(metrics: pd.DataFrame, where: Selection) -> pd.DataFrame:
    """The rows of all metrics there."""
    return _rows(metrics, where.model_dump(exclude_none=True))


def _rows(metrics: pd.DataFrame, wanted: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that hold the wanted value in every column; each column is compared in what the others left."""
    left = None
    for column, value in wanted.items():
        values = metrics[column].array
        (equal,) = np.nonzero((values if left is None else values.take(left)) == value)
        left = equal if left is None else left[equal]
    return metrics if left is None else metrics.take(left)


@dataclass(frozen=True)
class PairedSample:
    """The same victims seen by every term: values[t] is (V, S_t) for term t, room_type (V,)."""

    values: tuple[np.ndarray, ...]
    room_type: np.ndarray

    def __len__(self) -> int:
        return len(self.room_type)

    @property
    def room_types(self) -> list[str]:
        return sorted(set(self.room_type))

    def part(self, room_type: str) -> "PairedSample":
        """The victims of one room type."""
        inside = self.room_type == room_type
        return PairedSample(tuple(values[inside] for values in self.values), self.room_type[inside])


def paired_sample(metrics: pd.DataFrame, terms: Sequence[Term]) -> PairedSample:
    """The victims that every term has a value for, in every network seed that the term was run with."""
    tables = []
    for term in terms:
        rows = rows_of(metrics, term.where, term.metric)
        tables.append(rows.pivot(index="victim", columns=["network", "seed"], values="value").dropna())
    victims = tables[0].index
    for table in tables[1:]:
        victims = victims.intersection(table.index)
    rooms = metrics.drop_duplicates("victim").set_index("victim")["room_type"]
    return PairedSample(tuple(table.loc[victims].to_numpy() for table in tables), rooms.loc[victims].to_numpy(str))


def draw_again(room_type: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Victims drawn with replacement within each room type: indices (samples, V)."""
    drawn = np.empty((samples, len(room_type)), dtype=np.int64)
    for kind in sorted(set(room_type)):
        (inside,) = np.nonzero(room_type == kind)
        drawn[:, inside] = inside[generator.integers(len(inside), size=(samples, len(inside)))]
    return drawn


def estimate(term: Term, values: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """The term's statistic over (V, S) values: a number, or (samples,) for drawn victims (samples, V)."""
    chosen = values if drawn is None else values[drawn]
    flat = chosen.reshape(*chosen.shape[:-2], -1)
    return STATISTICS[term.statistic](flat, term.threshold)


def interval(replicates: np.ndarray, smallest: int, degrees: int, shared_by: int = 1) -> tuple[float, float]:
    """The 95 % interval of bootstrap replicates (samples,), as expanded percentiles (Hesterberg 2015, section 4.5).

    A plain percentile interval of n values is too short by sqrt((n - 1) / n) and takes the normal's width for
    Student's; for a mean over 4 room types of 6 victims it was seen to cover 89 %, this one 94 %.
    smallest: the smallest stratum's size. degrees: of freedom. shared_by: how many intervals share the 5 %
    (Bonferroni). Percentiles end where the sample does: of 4 room types of 2 victims they were seen to cover 84 %.
    There the interval is at least Student's, with the replicates' deviation: 95 %.
    NaN, NaN if there are too few victims to say anything.
    """
    if degrees < LEAST_DEGREES or smallest < 2 or not np.isfinite(replicates).all():
        return float("nan"), float("nan")
    students = -special.stdtrit(degrees, (1 - LEVEL) / 2 / shared_by)
    tail = float(special.ndtr(-students * np.sqrt(smallest / (smallest - 1))))
    low, high = np.quantile(replicates, [tail, 1 - tail])
    if smallest == 2:
        reach = students * replicates.std() * np.sqrt(smallest / (smallest - 1))
        low, high = min(low, replicates.mean() - reach), max(high, replicates.mean() + reach)
    return float(low), float(high)


def exact_proportion(successes: int, trials: int) -> tuple[float, float]:
    """The exact (Clopper-Pearson) 95 % interval of a proportion; says something even when all trials agree."""
    failures, tail = trials - successes, (1 - LEVEL) / 2
    low = special.betaincinv(successes, failures + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, failures, 1 - tail) if failures else 1.0
    return float(low), float(high)


def mean_interval(values: np.ndarray, room_type: np.ndarray, samples: int, seed: int) -> tuple[float, float]:
    """The 95 % interval of a mean over victims (V,), stratified by room type."""
    drawn = draw_again(np.asarray(room_type, dtype=str), samples, np.random.default_rng(seed))
    sizes = [int((room_type == kind).sum()) for kind in set(room_type)]
    return interval(values[drawn].mean(axis=1), min(sizes), len(values) - len(sizes))
