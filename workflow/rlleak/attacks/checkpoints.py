"""Work that survives a killed job: finished stages and the one in progress, in one file that is written whole."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import CorruptArtefactError
from rlleak.sharing.update import SharedUpdate

EVERY_SECONDS = 30.0
_KIND = "checkpoint"


def fingerprint(
    update: SharedUpdate, settings: Mapping[str, Any], seed: int, chunk: int, knowledge: Mapping[str, Any]
) -> str:
    """What a checkpoint must belong to: this attack, with these settings, knowing this, on these updates, cut so."""
    digest = hashlib.sha256()
    own = [dict(settings), dict(update.loss), dict(update.defence), update.batch_size, seed, chunk]
    digest.update(json.dumps(own, sort_keys=True).encode())
    digest.update(update.architecture.model_dump_json().encode())
    # Sums, since gradients may be gigabytes: of each victim's, for they may be the same in another order.
    for group in (update.parameters, update.others):
        _feed(digest, {name: value.sum(dtype=torch.float64) for name, value in group.items()})
    for group in (update.gradients, update.known):
        _feed(digest, {name: value.flatten(1).sum(dim=1, dtype=torch.float64) for name, value in group.items()})
    _feed(digest, knowledge)
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", value: Any) -> None:
    """Adds what a value holds. What this cannot look into is never the same again: then work starts over."""
    digest.update(type(value).__qualname__.encode())
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value):
            digest.update(f"{name}=".encode())
            _feed(digest, value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, nn.Module):
        _feed(digest, dict(value.state_dict()))
    elif is_dataclass(value):
        _feed(digest, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, str | int | float | None):
        digest.update(repr(value).encode())
    elif state := getattr(value, "__dict__", None):
        _feed(digest, state)
    else:
        digest.update(os.urandom(16))


class Checkpoint:
    """Named sets of tensors, each finished or in progress. Without a path nothing is kept.

    A file that is unreadable or belongs to other work is ignored: the attack starts over. Whoever called the attack
    removes the file once the reconstruction is safe.
    """

    def __init__(self, path: Path | None, belongs_to: str) -> None:
        self.path, self.belongs_to = path, belongs_to
        self._finished: dict[str, dict[str, Tensor]] = {}
        self._running: tuple[str, int, dict[str, Tensor]] | None = None
        self._saved = self._began = time.monotonic()
        self._before = 0.0
        if path is not None and path.is_file():
            self._load(path)

    @property
    def seconds(self) -> float:
        """Time spent on this work, with what was spent before it was killed (up to the last save)."""
        return self._before + time.monotonic() - self._began

    def finished(self, key: str) -> dict[str, Tensor] | None:
        """What `finish` was given under this key, or None."""
        return self._finished.get(key)

    def running(self, key: str) -> tuple[int, dict[str, Tensor]] | None:
        """Iteration and state that `keep` was last given under this key, or None."""
        if self._running is None or self._running[0] != key:
            return None
        return self._running[1:]

    def due(self) -> bool:
        """Whether it is time to keep the state of the work in progress."""
        return self.path is not None and time.monotonic() - self._saved >= EVERY_SECONDS

    def keep(self, key: str, iteration: int, state: Mapping[str, Tensor]) -> None:
        """Saves work in progress."""
        self._running = (key, iteration, dict(state))
        self._save()

    def finish(self, key: str, result: Mapping[str, Tensor]) -> None:
        """Notes finished work; it is saved with the next work in progress, or now if that is due."""
        self._finished[key] = dict(result)
        self._running = None
        if self.due():
            self._save()

    def _save(self) -> None:
        if self.path is None:
            return
        tensors = {f"finished/{key}/{name}": t for key, group in self._finished.items() for name, t in group.items()}
        description: dict[str, object] = {"belongs_to": self.belongs_to, "seconds": self.seconds}
        if self._running is not None:
            key, iteration, state = self._running
            tensors |= {f"running/{key}/{name}": tensor for name, tensor in state.items()}
            description |= {"running": key, "iteration": iteration}
        write_tensors(self.path, _KIND, tensors, description)
        self._saved = time.monotonic()

    def _load(self, path: Path) -> None:
        try:
            tensors, description = read_tensors(path, _KIND)
        except CorruptArtefactError:
            return
        if description.get("belongs_to") != self.belongs_to:
            return
        self._before = float(description.get("seconds", 0.0))
        running: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            state, key, variable = name.split("/")
            group = self._finished.setdefault(key, {}) if state == "finished" else running
            group[variable] = tensor
        if "running" in description:
            self._running = (description["running"], int(description["iteration"]), running)
