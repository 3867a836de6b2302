"""From a reconstruction and the private side to rows of the long table that everything published is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rlleak.configuration import axes
from rlleak.configuration.experiments import TRUST
from rlleak.learners.specification import NetworkSpec
from rlleak.metrics import METRICS
from rlleak.metrics.comparison import compare
from rlleak.metrics.long_table import AXES, COLUMNS, relative_noise
from rlleak.sharing.defences import message_bytes
from rlleak.sharing.privacy import epsilon
from rlleak.simulators.layouts import room_type_of

if TYPE_CHECKING:
    from rlleak.attacks.reconstruction import Reconstruction
    from rlleak.metrics.onlooker import Onlooker
    from rlleak.sharing.private import PrivateSide

_OF_CLAIMS = ("batch_precision", "batch_error")


def score(
    reconstruction: Reconstruction,
    private: PrivateSide,
    place: Mapping[str, str | int],
    architecture: NetworkSpec | None = None,
    onlooker: Onlooker | None = None,
    defence: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One row per victim and metric, columns `COLUMNS`; a component that is absent gives no row, and no value is NaN.

    What the attack says of itself are the metrics `trust_<name>`, where it is finite.

    place: values of `AXES`. architecture: the network, whose convolutions say which pixels it reads; without it the
    `_read` metrics are absent. onlooker: who says which room an image shows; without one those metrics are absent.
    defence: what the victims did to their updates, an entry of config/defences.yaml; without it what that costs and
    guarantees is absent. Raises CorruptArtefactError where both sides do not fit each other.
    """
    batch = int(place["batch"])
    comparison = compare(reconstruction, private, architecture, batch, axes.channels_of(str(place["setting"])))
    if onlooker is not None:
        comparison = replace(comparison, identified=onlooker.identify(comparison, private))
    if defence is not None and architecture is not None:
        costs = {"message_bytes": message_bytes(defence, architecture), "epsilon": epsilon(defence)}
        comparison = replace(comparison, **costs)
    # What is no room has no number: 0, of no type.
    layouts = [0] * (len(private) // batch) if private.layout is None else private.layout[::batch].tolist()
    victims = pd.DataFrame(
        {
            **{axis: place[axis] for axis in AXES},
            "noise": relative_noise(defence),
            "method": reconstruction.metadata.get("attack", place["attack"]),
            "victim": np.asarray(private.victim)[::batch],
            "layout": layouts,
            "room_type": [room_type_of(layout) if layout else "" for layout in layouts],
        }
    )
    measured = {name: METRICS.load(name)(comparison) for name in METRICS}
    measured |= {f"{TRUST}{name}": np.asarray(value, dtype=float) for name, value in reconstruction.trust.items()}
    rows = [victims.assign(metric=name, value=values) for name, values in measured.items() if values is not None]
    table = pd.concat(rows, ignore_index=True)[list(COLUMNS)]
    # No precision without a claim; and an attack may say of itself that it does not know.
    may_lack = table["metric"].str.startswith(TRUST) | table["metric"].isin(_OF_CLAIMS)
    undefined = may_lack & ~np.isfinite(table["value"])
    return table[~undefined].reset_index(drop=True)
