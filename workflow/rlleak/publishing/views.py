"""What is behind the metrics: truth and reconstruction of single victims, read only when a figure shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlleak.artefacts import read_table
from rlleak.configuration.axes import Cell
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Selection
from rlleak.errors import CorruptArtefactError
from rlleak.metrics.images import rescaled
from rlleak.publishing.metrics_table import by_cell
from rlleak.publishing.statistics import rows_of

# Files of tensors need torch, which is imported with the first of them: figures of metrics alone are drawn in less time
# than that takes.
if TYPE_CHECKING:
    from rlleak.attacks.reconstruction import Reconstruction
    from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
    from rlleak.sharing.private import PrivateSide


@dataclass(frozen=True)
class View:
    """One victim's observation as it was, or as an attacker sees it.

    rgb: (H, W, 3) in [0, 1] or None; depth: (H, W) in [0, 1] or None; box: (4,) = (x1, y1, x2, y2) in [-1, 1] or None;
    values: the other components that the file holds for this victim, e.g. action, predicted_q.
    """

    rgb: np.ndarray | None
    depth: np.ndarray | None
    box: np.ndarray | None
    values: Mapping[str, float]


@dataclass(frozen=True)
class Transitions:
    """The B transitions of one victim's update: as they were, with R = 1, or every restart's guess at them.

    state, next_state: (R, B, *S), images in [0, 1]. action: (R, B, A), one-hot or probabilities where it is discrete.
    reward: (R, B). chosen: the restart that the attack prefers. gradient_error: (R,), relative; of the truth 0.
    """

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_state: np.ndarray
    chosen: int
    gradient_error: np.ndarray

    def __len__(self) -> int:
        return len(self.gradient_error)

    @property
    def numbers(self) -> np.ndarray:
        """All of a restart in one row, (R, D)."""
        parts = (self.state, self.action, self.reward, self.next_state)
        return np.concatenate([part.reshape(len(self), -1) for part in parts], axis=1)


class Views:
    """Truth and reconstructions by what they belong to. Paths come in the same order as the metrics made from them.

    A file of attacks that ran side by side belongs to each of their cells. Of trainings there are metrics and curves.
    """

    def __init__(
        self,
        metrics: Sequence[Path],
        reconstructions: Sequence[Path],
        private: Sequence[Path],
        trained: Sequence[Path] = (),
        curves: Sequence[Path] = (),
    ) -> None:
        self._curves = dict(zip(trained, curves, strict=True))
        self._files: dict[tuple[Cell, int], tuple[Path, Path, int]] = {}
        # At paper scale a file holds tens of megabytes.
        self._guess = lru_cache(maxsize=2)(_guess)
        self._truth = lru_cache(maxsize=2)(_truth)
        self._transitions = lru_cache(maxsize=2)(_transitions)
        for table, reconstruction, truth in zip(metrics, reconstructions, private, strict=True):
            rows = pd.read_parquet(table)
            places = {int(victim): place for place, victim in enumerate(rows["victim"].drop_duplicates())}
            for cell, own in by_cell(rows):
                for victim in own["victim"].unique():
                    found = (Path(reconstruction), Path(truth), places[int(victim)])
                    self._files[cell, int(victim)] = found

    def reconstruction(self, where: Selection, victim: int, as_scored: bool = True) -> View:
        """What the attacker sees, rescaled as the paper scores it (S1) or as it is. Where the attack failed, black."""
        path, _, position = self._locate(where, victim)
        return _view(self._guess(path), position, as_scored)

    def truth(self, where: Selection, victim: int) -> View:
        """What the robot saw."""
        _, path, position = self._locate(where, victim)
        return _view(self._truth(path), position, as_scored=False)

    def guessed(self, where: Selection, victim: int) -> Transitions:
        """Every restart's guess at a victim's transitions, by an attack on whole transitions."""
        path, _, position = self._locate(where, victim)
        found = self._transitions(path)
        if where.attack not in found:
            raise CorruptArtefactError(f"{path} holds nothing by {where.attack}; delete it and run again")
        return _guessed(found[where.attack], position)

    def lived(self, where: Selection, victim: int) -> Transitions:
        """The victim's transitions themselves."""
        _, path, _ = self._locate(where, victim)
        return _lived(self._truth(path), victim, where)

    def curve(self, where: Selection) -> pd.DataFrame:
        """A training's learning curve, columns `rlleak.federation.training.CURVE`, of all its seeds."""
        found = []
        for metrics, curve in self._curves.items():
            ((cell, _),) = by_cell(pd.read_parquet(metrics))
            if where.holds(cell):
                table = read_table(curve)
                found.append(table.assign(run=[f"{cell.seed}/{run}" for run in table["run"]]))
        if not found:
            raise CorruptArtefactError(
                f"no training of {where.learner} in {where.setting} with defence {where.defence}"
            )
        return pd.concat(found, ignore_index=True)

    def _locate(self, where: Selection, victim: int) -> tuple[Path, Path, int]:
        for (cell, number), found in sorted(self._files.items()):
            if number == victim and where.holds(cell):
                return found
        raise CorruptArtefactError(f"no reconstruction of victim {victim} by {where.attack} in {where.setting}")


def _guess(path: Path) -> dict[str, np.ndarray]:
    from rlleak.attacks.reconstruction import Reconstruction

    return _arrays(Reconstruction.load(path))


def _truth(path: Path) -> dict[str, np.ndarray]:
    from rlleak.sharing.private import PrivateSide

    return _arrays(PrivateSide.load(path))


def _transitions(path: Path) -> dict[str, TransitionReconstruction]:
    from rlleak.attacks.transitions.reconstruction import load_all

    return load_all(path)


def _arrays(stored: Reconstruction | PrivateSide) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in stored.components.items()}


def _guessed(found: TransitionReconstruction, position: int) -> Transitions:
    own = {name: value[position].numpy() for name, value in found.components.items()}
    return Transitions(**own, chosen=int(found.chosen[position]), gradient_error=found.gradient_error[position].numpy())


def _lived(tensors: Mapping[str, np.ndarray], victim: int, where: Selection) -> Transitions:
    rows = np.flatnonzero(tensors["victim"] == victim)[: where.batch]
    seen = "image" if "image" in tensors else "vector"
    if "continuous_action" in tensors:
        action = tensors["continuous_action"][rows]
    else:
        action = np.eye(ENVIRONMENTS[where.setting].actions)[tensors["action"][rows]]
    parts = {"state": tensors[seen][rows], "action": action, "reward": tensors["reward"][rows]}
    parts["next_state"] = tensors[f"next_{seen}"][rows]
    return Transitions(**{name: part[None] for name, part in parts.items()}, chosen=0, gradient_error=np.zeros(1))


def _view(tensors: Mapping[str, np.ndarray], position: int, as_scored: bool) -> View:
    mine = {name: values[position] for name, values in tensors.items() if np.ndim(values) and position < len(values)}
    values = {name: float(value) for name, value in mine.items() if np.ndim(value) == 0}
    image, box = mine.get("image"), mine.get("vector")
    if box is not None and not np.isfinite(box).all():
        box = np.zeros(4)
    if image is None:
        return View(None, None, box, values)
    if not np.isfinite(image).all():
        image = np.zeros_like(image)
    coloured = len(image) >= 3
    if coloured and as_scored:
        image = rescaled(image)
    image = np.clip(image, 0, 1)
    rgb = np.moveaxis(image[:3], 0, -1) if coloured else None
    return View(rgb, image[-1] if len(image) in (1, 4) else None, box, values)


def median_victim(metrics: pd.DataFrame, where: Selection, metric: str) -> int | None:
    """The victim whose value (mean over its seeds) lies nearest the median (the lower number of two), or None.

    How figures choose what they show: by rule and before anyone looks.
    """
    values = rows_of(metrics, where, metric).groupby("victim")["value"].mean().sort_index()
    if values.empty:
        return None
    return int((values - values.median()).abs().idxmin())


def value_of(metrics: pd.DataFrame, where: Selection, metric: str, victim: int) -> float | None:
    """A metric of one victim (mean over its seeds), or None."""
    rows = rows_of(metrics, where, metric)
    values = rows.loc[rows["victim"] == victim, "value"]
    return float(values.mean()) if len(values) else None
