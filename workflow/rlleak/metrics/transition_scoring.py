"""From reconstructed transitions and the private side to rows of the long table; see `rlleak.metrics.scoring`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import TRUST
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.metrics import TRANSITION_METRICS
from rlleak.metrics.long_table import AXES, COLUMNS, relative_noise
from rlleak.metrics.transition_comparison import Successor, Units, compare_transitions

if TYPE_CHECKING:
    from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
    from rlleak.sharing.private import PrivateSide
    from rlleak.simulators.transitions import Transitions


def score_transitions(
    found: Mapping[str, TransitionReconstruction],
    private: PrivateSide,
    place: Mapping[str, str | int],
    units: Units,
    *,
    thresholds: TransitionThresholds,
    successor: Successor,
    public: Transitions | None = None,
    defence: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One row per attack, victim and metric, columns `rlleak.metrics.scoring.COLUMNS`; no value is NaN.

    found: by attack's name. place: values of `AXES` but `attack`. units: see `Units`. successor: the real simulator,
    for TE. public: what the attacker played itself, for `in_prior`. defence: what the victims did to their updates, an
    entry of config/defences.yaml. What an attack says of itself are the metrics `trust_<name>`, of the restart that it
    chose. Raises CorruptArtefactError where both sides do not fit each other.
    """
    environment, batch = ENVIRONMENTS[str(place["setting"])], int(place["batch"])
    victims = pd.DataFrame(
        {"noise": relative_noise(defence), "victim": np.asarray(private.victim)[::batch], "layout": 0}
    )
    known = None if public is None else known_before(private, public).reshape(-1, batch).mean(axis=1)
    tables = []
    for attack, reconstruction in found.items():
        comparison = compare_transitions(reconstruction, private, environment, units, thresholds, successor)
        comparison = replace(comparison, known=known)
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


def known_before(private: PrivateSide, public: Transitions) -> np.ndarray:
    """1 where a private transition (s, a, s') is one of the public ones, to the last bit, else 0, (N,) float."""
    component = "image" if "image" in public.observation else "vector"
    action = private.action if private.continuous_action is None else private.continuous_action
    own = [_stored(getattr(private, name)) for name in (component, f"next_{component}")]
    theirs = public.observation[component], public.next_observation[component]
    met = {_digest(*row) for row in zip(theirs[0], public.action, theirs[1], strict=True)}
    rows = zip(own[0], action.numpy(), own[1], strict=True)
    return np.array([float(_digest(*row) in met) for row in rows])


def _stored(state: Tensor) -> np.ndarray:
    """As transitions are stored: images in bytes."""
    return (state * 255).round().to(torch.uint8).numpy() if state.dim() == 4 else state.numpy()


def _digest(*parts: np.ndarray) -> bytes:
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest()
