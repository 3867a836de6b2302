"""Where an honest-but-curious server keeps what arrives: each client's update, masked or not, exactly as it came."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from rlleak.artefacts import write_tensors
from rlleak.sharing.update import SharedUpdate

MASKED = "masked update"
"""The kind of file."""


class Keeper:
    """Writes what arrives in the first so many rounds, below <folder>/round<r>/.

    client<c>.safetensors: an update. Behind secure aggregation masked<c>.safetensors, what came in its place, and
    mean.safetensors, of those who are in the sum.
    """

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder, self._rounds = folder, rounds

    def begin(self, round: int) -> None:
        """Forgets what an earlier attempt at this round, which did not end, has left."""
        shutil.rmtree(self._folder / f"round{round}", ignore_errors=True)

    def keep(self, update: SharedUpdate, round: int, client: int) -> None:
        """Writes one client's update, as soon as it is there."""
        self._write(update, round, f"client{client}")

    def keep_masked(self, masked: np.ndarray, round: int, client: int) -> None:
        """Writes one client's masked update (N,), likewise."""
        if round < self._rounds:
            write_tensors(
                self._folder / f"round{round}" / f"masked{client}.safetensors", MASKED, {"update": masked}, {}
            )

    def keep_mean(self, mean: SharedUpdate, round: int) -> None:
        """Writes the mean that a sum gives: all that a server has under secure aggregation.

        Of whole updates: it says of no number that it did not arrive (`Task` refuses defences that send parts).
        """
        self._write(mean, round, "mean")

    def _write(self, update: SharedUpdate, round: int, name: str) -> None:
        if round < self._rounds:
            update.save(self._folder / f"round{round}" / f"{name}.safetensors")
