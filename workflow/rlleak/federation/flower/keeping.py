"""Where an honest-but-curious server keeps what arrives: each client's update, exactly as it came."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from rlleak.sharing.update import SharedUpdate


class Keeper:
    """Writes updates of the first so many rounds to <folder>/round<r>/client<c>.safetensors, and mean.safetensors."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder, self._rounds = folder, rounds

    def begin(self, round: int) -> None:
        """Forgets what an earlier attempt at this round, which did not end, has left."""
        shutil.rmtree(self._folder / f"round{round}", ignore_errors=True)

    def keep(self, update: SharedUpdate, round: int, client: int) -> None:
        """Writes one client's update, as soon as it is there."""
        self._write(update, round, f"client{client}")

    def keep_mean(self, updates: Sequence[SharedUpdate], round: int) -> None:
        """Writes the mean of a round's updates: all that a server would have under secure aggregation.

        It is an update over the transitions of all of them (the mean of gradients is the gradient of the mean).
        """
        names, first = updates[0].gradients, updates[0]
        mean = {name: torch.cat([update.gradients[name] for update in updates]).mean(0, keepdim=True) for name in names}
        averaged = replace(first, gradients=mean, known={}, batch_size=first.batch_size * len(updates))
        self._write(averaged, round, "mean")

    def _write(self, update: SharedUpdate, round: int, name: str) -> None:
        if round < self._rounds:
            update.save(self._folder / f"round{round}" / f"{name}.safetensors")
