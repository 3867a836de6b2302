"""Photographs of rooms from all sides, with depth and camera pose: what a 3D tour of a home for sale shows.

Someone who looks at reconstructions holds these of every home that comes into question; see
`rlleak.metrics.reidentification`. No victim's pose is among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.seeds import derive
from rlleak.simulators.active_perception import reachable_positions
from rlleak.simulators.controller import WatchedController

_KIND = "photographs"
_ARRAYS = ("rgb", "depth", "layout", "camera")
CAMERA_ABOVE_AGENT = 0.675  # metres, of AI2-THOR's default agent standing
_SIDES = 4  # at 90 degrees each, together the whole horizon
_TILTS = (0.0, 15.0, 30.0)


@dataclass
class Photographs:
    """N photographs of rooms.

    rgb: (N, H, W, 3) uint8. depth: (N, H, W) float32, metres. layout: (N,) int64. camera: (N, 5) float32, its place
    (x, y, z) in metres in the room's own axes, its yaw (clockwise from z, seen from above) and its tilt (positive
    down) in degrees. field_of_view: vertical, degrees.
    """

    rgb: np.ndarray
    depth: np.ndarray
    layout: np.ndarray
    camera: np.ndarray
    field_of_view: float
    metadata: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rgb)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        tensors = {name: getattr(self, name) for name in _ARRAYS}
        write_tensors(path, _KIND, tensors, {**self.metadata, "field_of_view": self.field_of_view})

    @classmethod
    def load(cls, path: str | Path) -> "Photographs":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, metadata = read_tensors(path, _KIND, _ARRAYS)
        arrays = {name: tensors[name].numpy() for name in _ARRAYS}
        return cls(**arrays, field_of_view=float(metadata.pop("field_of_view")), metadata=metadata)


def photograph(
    controller: WatchedController, layouts: Sequence[int], per_layout: int, seed: int, progress: bool = True
) -> Photographs:
    """Takes `per_layout` photographs in each layout: from places far apart, on four sides at each.

    Each layout's poses depend on the seed and the layout only. Raises SimulatorError.
    """
    rgb, depth, numbers, cameras = [], [], [], []
    for layout in track(layouts, "photographs", disable=not progress):
        height = controller.load(layout).metadata["agent"]["position"]["y"]
        rng = np.random.default_rng(derive(seed, "photographs", layout))
        poses = _poses(reachable_positions(controller), rng)
        for _ in range(per_layout):
            pose = next(poses)
            event = controller.step(
                "TeleportFull",
                position={"x": pose.x, "y": height, "z": pose.z},
                rotation={"x": 0.0, "y": pose.yaw, "z": 0.0},
                horizon=pose.tilt,
                standing=True,
            )
            rgb.append(event.frame.copy())
            depth.append(event.depth_frame.copy())
            numbers.append(layout)
            cameras.append((pose.x, height + CAMERA_ABOVE_AGENT, pose.z, pose.yaw, pose.tilt))
    return Photographs(
        rgb=np.stack(rgb),
        depth=np.stack(depth).astype(np.float32),
        layout=np.array(numbers, np.int64),
        camera=np.array(cameras, np.float32),
        field_of_view=controller.options.field_of_view,
        metadata={"simulator": controller.simulator, "per_layout": per_layout},
    )


class _Pose(NamedTuple):
    x: float
    z: float
    yaw: float
    tilt: float


def _poses(places: np.ndarray, rng: np.random.Generator) -> Iterator[_Pose]:
    """Endless poses: all sides of one place, then of the place (n, 2) that is farthest from all before."""
    from_start = np.linalg.norm(places - places[rng.integers(len(places))], axis=1)
    chosen, away = int(from_start.argmax()), np.full(len(places), np.inf)
    while True:
        away = np.minimum(away, np.linalg.norm(places - places[chosen], axis=1))
        first = rng.uniform(0.0, 360.0 / _SIDES)
        for side in range(_SIDES):
            x, z = places[chosen]
            yield _Pose(float(x), float(z), first + side * 360.0 / _SIDES, float(rng.choice(_TILTS)))
        chosen = int(away.argmax())
