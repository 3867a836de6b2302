"""From reconstructed transitions and the private side to rows of the long table; see `rlleak.metrics.scoring`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import TRUST
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.metrics import TRANSITION_METRICS
from rlleak.metrics.scoring import AXES, COLUMNS
from rlleak.metrics.transition_comparison import Successor, Units, compare_transitions

if TYPE_CHECKING:
    from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
    from rlleak.sharing.private import PrivateSide


def score_transitions(
    found: Mapping[str, TransitionReconstruction],
    private: PrivateSide,
    place: Mapping[str, str | int],
    units: Units,
    *,
    thresholds: TransitionThresholds,
    successor: Successor,
    noise: float = 0.0,
) -> pd.DataFrame:
    """One row per attack, victim and metric, columns `rlleak.metrics.scoring.COLUMNS`; no value is NaN.

    found: by attack's name. place: values of `AXES` but `attack`. units: see `Units`. successor: the real simulator,
    for TE. What an attack says of itself are the metrics `trust_<name>`, of the restart that it chose. Raises
    CorruptArtefactError where both sides do not fit each other.
    """
    environment, batch = ENVIRONMENTS[str(place["setting"])], int(place["batch"])
    victims = pd.DataFrame({"noise": noise, "victim": np.asarray(private.victim)[::batch], "layout": 0})
    tables = []
    for attack, reconstruction in found.items():
        comparison = compare_transitions(reconstruction, private, environment, units, thresholds, successor)
        measured = {name: TRANSITION_METRICS.load(name)(comparison) for name in TRANSITION_METRICS}
        measured |= {
            f"{TRUST}{name}": np.asarray(value, dtype=float) for name, value in reconstruction.preferred.trust.items()
        }
        about = {axis: place[axis] for axis in AXES if axis != "attack"} | {"attack": attack, "room_type": ""}
        method = dict(reconstruction.metadata).get("attack", attack)
        tables += [
            victims.assign(**about, method=method, metric=name, value=values)
            for name, values in measured.items()
            if values is not None
        ]
    table = pd.concat(tables, ignore_index=True)[list(COLUMNS)]
    # An attack may say of itself that it does not know.
    undefined = table["metric"].str.startswith(TRUST) & ~np.isfinite(table["value"])
    return table[~undefined].reset_index(drop=True)
