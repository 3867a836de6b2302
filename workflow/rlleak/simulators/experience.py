"""Experience: one transition per victim, or a client's replay of several, as the simulator gave it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.simulators.layouts import room_type_of
from rlleak.simulators.transitions import first_of_each

ACTION_COUNT = 7
_KIND = "experience"
# name: (dtype, shape behind N; None is the image's side, free but the same everywhere), lowest and highest value
_FIELDS: dict[str, tuple[type, tuple[int | None, ...], float, float]] = {
    "rgb": (np.uint8, (None, None, 3), 0, 255),
    "depth": (np.float32, (None, None), 0, np.inf),
    "box": (np.float32, (4,), -1, 1),
    "next_rgb": (np.uint8, (None, None, 3), 0, 255),
    "next_depth": (np.float32, (None, None), 0, np.inf),
    "next_box": (np.float32, (4,), -1, 1),
    "action": (np.int64, (), 0, ACTION_COUNT - 1),
    "reward": (np.float32, (), 0, 1),
    "return_to_go": (np.float32, (), 0, np.inf),
    "terminated": (np.bool_, (), 0, 1),
    "layout": (np.int64, (), 1, np.inf),
    "target": (np.int64, (), 0, np.inf),
    "victim": (np.int64, (), 0, np.inf),
}


@dataclass
class Experience:
    """N transitions of active perception.

    rgb: (N, H, W, 3) uint8. depth: (N, H, W) float32, metres. box: (N, 4) float32, the target (x1, y1, x2, y2) in
    [-1, 1]. next_*: after the action (an all-zero box: the target is out of sight). action: (N,) int64, index into
    the seven actions. reward: (N,) float32, the detector's confidence after the action. return_to_go: (N,) float32,
    sum of gamma^k reward_k from this reward to the episode's end (REINFORCE's R_t). terminated: (N,) bool. layout:
    (N,) int64. target: (N,) int64, index into `targets`. victim: (N,) int64, whose transition it is. metadata:
    gamma, provenance and what else the collector says.

    Raises CorruptArtefactError where an array has another type, shape or range.
    """

    rgb: np.ndarray
    depth: np.ndarray
    box: np.ndarray
    next_rgb: np.ndarray
    next_depth: np.ndarray
    next_box: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    return_to_go: np.ndarray
    terminated: np.ndarray
    layout: np.ndarray
    target: np.ndarray
    victim: np.ndarray
    targets: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._validate("the experience")

    def __len__(self) -> int:
        return len(self.action)

    @property
    def room_type(self) -> list[str]:
        """Each transition's room type."""
        return [room_type_of(int(layout)) for layout in self.layout]

    @property
    def target_type(self) -> list[str]:
        """Each transition's target, e.g. 'Mug'."""
        return [self.targets[index] for index in self.target]

    def observations(self, setting: str, depth_limit: float = 10.0, next: bool = False) -> dict[str, torch.Tensor]:
        """What the policy network reads: {"image": (N, C, H, W) float32 in [0, 1], "vector": (N, 4) float32 in [-1,
        1]}.

        S1 has channels R, G, B, depth; S2 depth alone. depth = clip(metres / depth_limit, 0, 1). With `next`, the
        state after the action. Raises ConfigurationError for another setting.
        """
        if setting not in ("S1", "S2"):
            raise ConfigurationError(f"unknown setting '{setting}'; there is: S1, S2")
        rgb, depth, box = (self.next_rgb, self.next_depth, self.next_box) if next else (self.rgb, self.depth, self.box)
        # The same float32 operations as the environment's observed_image: a state is bit for bit what the agent saw.
        shallow = torch.from_numpy(np.clip(depth / np.float32(depth_limit), 0.0, 1.0))[:, None]
        if setting == "S1":
            colour = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255.0
            shallow = torch.cat([colour, shallow], 1)
        return {"image": shallow.contiguous(), "vector": torch.from_numpy(box.copy())}

    @property
    def victims(self) -> list[int]:
        """Whose transitions these are, each victim once, in the order in which they stand."""
        return list(dict.fromkeys(self.victim.tolist()))

    def first(self, transitions: int, victims: int | None = None) -> "Experience":
        """The first so many transitions of each victim, or of the first so many victims, victim by victim.

        Raises CorruptArtefactError where there are fewer.
        """
        return self.select(first_of_each(self.victim, self.victims, transitions, victims))

    def select(self, indices: Sequence[int] | np.ndarray) -> "Experience":
        """The given transitions, in the given order."""
        chosen = np.asarray(indices, np.int64)
        arrays = {name: getattr(self, name)[chosen] for name in _FIELDS}
        return Experience(**arrays, targets=self.targets, metadata=self.metadata)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        self._validate(str(path))
        tensors = {name: getattr(self, name) for name in _FIELDS}
        write_tensors(path, _KIND, tensors, {**self.metadata, "targets": list(self.targets)})

    @classmethod
    def load(cls, path: str | Path) -> "Experience":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, metadata = read_tensors(path, _KIND, _FIELDS)
        arrays = {name: tensors[name].numpy() for name in _FIELDS}
        try:
            return cls(**arrays, targets=tuple(metadata.pop("targets")), metadata=metadata)
        except CorruptArtefactError as error:
            raise CorruptArtefactError(f"{path}: {error}; delete it and run again") from error

    def _validate(self, where: str) -> None:
        count, side = len(self.action), self.rgb.shape[1:3]
        for name, (kind, shape, low, high) in _FIELDS.items():
            array = getattr(self, name)
            images = iter(side)
            wanted = (count, *(next(images) if length is None else length for length in shape))
            if array.dtype != kind or array.shape != wanted:
                raise CorruptArtefactError(
                    f"{where}: '{name}' is {array.dtype} {array.shape}, expected {np.dtype(kind)} {wanted}"
                )
            if array.size and not (np.isfinite(array).all() and low <= array.min() and array.max() <= high):
                raise CorruptArtefactError(f"{where}: '{name}' holds values outside [{low:g}, {high:g}] or not finite")
        if count and self.target.max() >= len(self.targets):
            raise CorruptArtefactError(f"{where}: 'target' points behind the {len(self.targets)} target names")
        if (self.box[:, 2:] <= self.box[:, :2]).any():
            raise CorruptArtefactError(f"{where}: 'box' is empty for some state; states must show their target")
