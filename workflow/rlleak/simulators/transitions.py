"""Transitions of any environment whose observation is an image, a vector, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import CorruptArtefactError

_KIND = "transitions"
_SCALARS: dict[str, type] = {
    "reward": np.float32,
    "return_to_go": np.float32,
    "terminated": np.bool_,
    "victim": np.int64,
}
_COLUMNS = ("action", *_SCALARS)
_OBSERVED = ("observation", "next_observation")
_LIVED = ("mean", "variance", "count")


def first_of_each(owner: np.ndarray, owners: list[int], transitions: int, victims: int | None) -> np.ndarray:
    """Rows of the first so many transitions of each of the first so many owners (None: of all).

    Raises CorruptArtefactError where there are fewer.
    """
    chosen = owners[:victims]
    rows = [np.flatnonzero(owner == victim)[:transitions] for victim in chosen]
    if len(chosen) < (victims or 0) or any(len(own) < transitions for own in rows):
        raise CorruptArtefactError(
            f"the experience holds fewer than {transitions} transitions of {victims or len(chosen)} victims; "
            "delete it and run again"
        )
    return np.concatenate(rows)


@dataclass
class Transitions:
    """N transitions of one environment.

    observation, next_observation: `image` (N, C, H, W) uint8 and / or `vector` (N, D) float32. action: (N,) int64, or
    (N, A) float32 in [-1, 1] where actions are continuous: scaled from the action space, as TD3 sees it. reward: (N,)
    float32. return_to_go: (N,) float32, sum of gamma^k reward_k from this reward on (REINFORCE's R_t). terminated: (N,)
    bool. victim: (N,) int64, whose transition it is. environment: its name, e.g. "Pong". metadata: how it was
    collected. lived: running `mean` and `variance` (N, D) float64 of all the states that a transition's player met in
    its life, and their `count` (N,) float64; empty for images.

    Raises CorruptArtefactError where lengths or types do not fit, or where a number is not finite.
    """

    environment: str
    observation: Mapping[str, np.ndarray]
    next_observation: Mapping[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    return_to_go: np.ndarray
    terminated: np.ndarray
    victim: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    lived: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._validate("the transitions")

    def __len__(self) -> int:
        return len(self.action)

    layout = target = None
    """No environment but rooms has layouts, and objects to look for in them."""

    @property
    def victims(self) -> list[int]:
        """Whose transitions these are, each once, in order of appearance."""
        return list(dict.fromkeys(self.victim.tolist()))

    def observations(
        self, setting: str | None = None, depth_limit: float | None = None, next: bool = False
    ) -> dict[str, torch.Tensor]:
        """What the policy network reads: image (N, C, H, W) float32 in [0, 1] and / or vector (N, D) float32.

        setting, depth_limit: as for rooms; an environment has one kind of state. With `next`, the state after the
        action.
        """
        seen = self.next_observation if next else self.observation
        read = {name: torch.from_numpy(array.copy()) for name, array in seen.items()}
        if "image" in read:
            read["image"] = read["image"].float() / 255.0
        return read

    def first(self, transitions: int, victims: int | None = None) -> "Transitions":
        """The first so many transitions of each victim, or of the first so many victims, victim by victim.

        Raises CorruptArtefactError where there are fewer.
        """
        return self.select(first_of_each(self.victim, self.victims, transitions, victims))

    def select(self, indices: Sequence[int] | np.ndarray) -> "Transitions":
        """The given transitions, in the given order."""
        chosen = np.asarray(indices, np.int64)
        observed = {group: {name: array[chosen] for name, array in getattr(self, group).items()} for group in _OBSERVED}
        scalars = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        lived = {name: array[chosen] for name, array in self.lived.items()}
        return Transitions(self.environment, **observed, **scalars, metadata=self.metadata, lived=lived)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        self._validate(str(path))
        tensors = {name: getattr(self, name) for name in _COLUMNS}
        for group in _OBSERVED:
            tensors |= {f"{group}/{name}": array for name, array in getattr(self, group).items()}
        tensors |= {f"lived/{name}": array for name, array in self.lived.items()}
        write_tensors(path, _KIND, tensors, {**self.metadata, "environment": self.environment})

    @classmethod
    def load(cls, path: str | Path) -> "Transitions":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, metadata = read_tensors(path, _KIND, _COLUMNS)
        observed: dict[str, dict[str, np.ndarray]] = {group: {} for group in (*_OBSERVED, "lived")}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            if group in observed:
                observed[group][name] = tensor.numpy()
        scalars = {name: tensors[name].numpy() for name in _COLUMNS}
        try:
            return cls(metadata.pop("environment"), **observed, **scalars, metadata=metadata)
        except (CorruptArtefactError, KeyError) as error:
            raise CorruptArtefactError(f"{path}: {error}; delete it and run again") from error

    def _validate(self, where: str) -> None:
        count = len(self.action)
        for name, kind in _SCALARS.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != (count,):
                raise CorruptArtefactError(
                    f"{where}: '{name}' is {array.dtype} {array.shape}, expected {np.dtype(kind)} {(count,)}"
                )
        if (self.action.dtype, self.action.ndim) not in ((np.int64, 1), (np.float32, 2)):
            raise CorruptArtefactError(
                f"{where}: 'action' is {self.action.dtype} {self.action.shape}, expected int64 (N,) or float32 (N, A)"
            )
        if self.lived and (set(self.lived) != set(_LIVED) or any(len(array) != count for array in self.lived.values())):
            raise CorruptArtefactError(f"{where}: 'lived' is not {count} rows of {', '.join(_LIVED)}")
        if not self.observation or set(self.observation) != set(self.next_observation):
            raise CorruptArtefactError(f"{where}: states before and after the action must hold the same components")
        for group in _OBSERVED:
            for name, array in getattr(self, group).items():
                kind, axes = {"image": (np.uint8, 4), "vector": (np.float32, 2)}.get(name, (None, 0))
                if array.dtype != kind or array.ndim != axes or len(array) != count:
                    raise CorruptArtefactError(f"{where}: '{group}/{name}' is {array.dtype} {array.shape}")
        states = [array for group in _OBSERVED for array in getattr(self, group).values() if array.dtype != np.uint8]
        if not all(np.isfinite(array).all() for array in (self.reward, self.return_to_go, self.action, *states)):
            raise CorruptArtefactError(f"{where}: rewards, actions or states are not finite")
        if self.action.ndim == 2 and self.action.size and np.abs(self.action).max() > 1:
            raise CorruptArtefactError(f"{where}: actions are not in [-1, 1]; scale them from the action space")
