"""What a federated training gave and what its clients paid: one number per run, (R,)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlleak.errors import CorruptArtefactError
from rlleak.metrics import TRAINING_METRICS
from rlleak.metrics.long_table import COLUMNS

if TYPE_CHECKING:
    from rlleak.federation.training import Trained

LAST = 0.6
"""Of a training's rounds: from there on evaluations count towards a run's return.

In 48 undefended runs of CartPole, 4,000 rounds each, returns no longer rose there, and one evaluation was off its run's
mean by 50 of 250: over two fifths of the evaluations runs differed by 13 % of their mean, over one fifth by 15 %.
"""


def last_return(trained: Trained) -> np.ndarray:
    """Mean return of the evaluations in the last two fifths of a run's rounds.

    Rounds, and not steps of the environment: what clients play to warm up is none of the training.
    """
    curve = trained.curve
    last = curve.groupby("run")["round"].transform("max")
    return curve[curve["round"] >= LAST * last].groupby("run")["return"].mean().to_numpy(float)


def best_return(trained: Trained) -> np.ndarray:
    """The best evaluation of a run."""
    return trained.curve.groupby("run")["return"].max().to_numpy(float)


def message_bytes(trained: Trained) -> np.ndarray:
    """Bytes that one client sends in one round, behind its defence."""
    return np.full(len(_runs(trained)), float(trained.message_bytes))


def epsilon(trained: Trained) -> np.ndarray | None:
    """What the defence guarantees each client over the whole training; None where it guarantees nothing."""
    return None if trained.epsilon is None else np.full(len(_runs(trained)), float(trained.epsilon))


def epsilon_transition(trained: Trained) -> np.ndarray | None:
    """The same for one transition of a client's replay."""
    given = trained.transition_epsilon
    return None if given is None else np.full(len(_runs(trained)), float(given))


def seconds(trained: Trained) -> np.ndarray:
    """Seconds of the CPU that a run took."""
    return np.full(len(_runs(trained)), float(trained.seconds))


def _runs(trained: Trained) -> np.ndarray:
    return np.sort(trained.curve["run"].unique())


def score_training(trained: Trained, place: Mapping[str, str | int]) -> pd.DataFrame:
    """One row per run and metric, columns `rlleak.metrics.scoring.COLUMNS`: a run stands where a victim does.

    place: values of `rlleak.metrics.scoring.AXES`. Raises CorruptArtefactError where a return is not finite.
    """
    if trained.curve.empty or not np.isfinite(trained.curve["return"]).all():
        raise CorruptArtefactError("a learning curve is empty or holds a return that is not finite; train again")
    measured = {name: TRAINING_METRICS.load(name)(trained) for name in TRAINING_METRICS}
    runs = pd.DataFrame({"noise": 0.0, "victim": _runs(trained), "layout": 0, "room_type": ""})
    about = {**place, "method": place["attack"]}
    tables = [runs.assign(**about, metric=name, value=each) for name, each in measured.items() if each is not None]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]
