"""From a reconstruction and the private side to rows of the long table that everything published is made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlleak.learners.specification import NetworkSpec
from rlleak.metrics import METRICS
from rlleak.metrics.comparison import compare
from rlleak.simulators.layouts import room_type_of

if TYPE_CHECKING:
    from rlleak.attacks.reconstruction import Reconstruction
    from rlleak.sharing.private import PrivateSide

AXES = ("simulator", "scale", "learner", "network", "setting", "seed", "attack")
COLUMNS = (*AXES, "victim", "layout", "room_type", "metric", "value")


def score(
    reconstruction: Reconstruction,
    private: PrivateSide,
    axes: Mapping[str, str | int],
    architecture: NetworkSpec | None = None,
) -> pd.DataFrame:
    """One row per victim and metric, columns `COLUMNS`; a component that is absent gives no row, and no value is NaN.

    axes: values of `AXES`. architecture: the network, whose convolutions say which pixels it reads; without it the
    `_read` metrics are absent. Raises CorruptArtefactError where both sides do not fit each other.
    """
    comparison = compare(reconstruction, private, architecture)
    victims = pd.DataFrame(
        {
            **{axis: axes[axis] for axis in AXES},
            "victim": np.asarray(private.victim),
            "layout": np.asarray(private.layout),
            "room_type": [room_type_of(int(layout)) for layout in private.layout],
        }
    )
    measured = ((name, METRICS.load(name)(comparison)) for name in METRICS)
    rows = [victims.assign(metric=name, value=values) for name, values in measured if values is not None]
    return pd.concat(rows, ignore_index=True)[list(COLUMNS)]
