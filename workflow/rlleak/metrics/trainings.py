"""What a training gave and what its clients paid: one number per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rlleak.errors import CorruptArtefactError
from rlleak.metrics import TRAINING_METRICS
from rlleak.metrics.scoring import COLUMNS

CURVE = ("run", "round", "environment_steps", "return")
"""Columns of a learning curve: a row per run and evaluation, environment_steps of all clients together."""
LAST = 0.8
"""Of the environment steps: from there on evaluations count towards a run's return."""


@dataclass(frozen=True)
class Training:
    """R runs of one federated training. curve: columns `CURVE`. message_bytes: that one client sends in one round.

    epsilon: what its defence guarantees a client over all rounds, None where it guarantees nothing. seconds: of a run.
    """

    curve: pd.DataFrame
    message_bytes: int
    epsilon: float | None
    seconds: float

    @property
    def runs(self) -> np.ndarray:
        return np.sort(self.curve["run"].unique())


def last_return(training: Training) -> np.ndarray:
    """Mean return of the evaluations in the last fifth of a run's environment steps, (R,)."""
    curve = training.curve
    last = curve.groupby("run")["environment_steps"].transform("max")
    return curve[curve["environment_steps"] >= LAST * last].groupby("run")["return"].mean().to_numpy(float)


def best_return(training: Training) -> np.ndarray:
    """The best evaluation of a run, (R,)."""
    return training.curve.groupby("run")["return"].max().to_numpy(float)


def message_bytes(training: Training) -> np.ndarray:
    """Bytes that one client sends in one round, behind its defence, (R,)."""
    return np.full(len(training.runs), float(training.message_bytes))


def epsilon(training: Training) -> np.ndarray | None:
    """What the defence guarantees each client over the whole training, (R,); None where it guarantees nothing."""
    given = training.epsilon
    return None if given is None or not np.isfinite(given) else np.full(len(training.runs), float(given))


def seconds(training: Training) -> np.ndarray:
    """Seconds of a run, (R,)."""
    return np.full(len(training.runs), float(training.seconds))


def score_training(training: Training, place: Mapping[str, str | int]) -> pd.DataFrame:
    """One row per run and metric, columns `rlleak.metrics.scoring.COLUMNS`: a run stands where a victim does.

    place: values of `rlleak.metrics.scoring.AXES`. Raises CorruptArtefactError where a return is not finite.
    """
    if training.curve.empty or not np.isfinite(training.curve["return"]).all():
        raise CorruptArtefactError("a learning curve is empty or holds a return that is not finite; train again")
    measured = {name: TRAINING_METRICS.load(name)(training) for name in TRAINING_METRICS}
    runs = pd.DataFrame({"noise": 0.0, "victim": training.runs, "layout": 0, "room_type": ""})
    about = {**place, "method": place["attack"]}
    tables = [runs.assign(**about, metric=name, value=each) for name, each in measured.items() if each is not None]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]
