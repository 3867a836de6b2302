"""Active perception as a gymnasium environment: move so that a detector grows surer of the object it was asked for.

The task of the papers on gradient inversion (Li et al., arXiv 2306.09273, section III; Ding et al., arXiv
2301.09544), with the seven actions of the Active Vision Dataset (Ammirato et al., ICRA 2017), in whatever player an
ai2thor controller drives.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from ai2thor.server import Event

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators.controller import WatchedController
from rlleak.simulators.layouts import PRIVATE_LAYOUTS, room_type_of, targets_of

ACTIONS = ("MoveAhead", "MoveBack", "MoveLeft", "MoveRight", "RotateLeft", "RotateRight", "Stop")
STOP = ACTIONS.index("Stop")
CHANNELS = {"S1": 4, "S2": 1}


class Detector(Protocol):
    """Anything that says how sure it is to see an object of a type; see rlleak.simulators.detector."""

    def confidence(self, rgb: np.ndarray, target_type: str) -> float: ...


class Target(NamedTuple):
    """One object: AI2-THOR's id and type, and its place (x, z) in metres."""

    object_id: str
    object_type: str
    x: float
    z: float


@dataclass(frozen=True)
class TaskOptions:
    """What the papers leave open about the task.

    depth_limit: metres that become 1.0 in the depth channel. horizon: steps until truncation. minimal_pixels: of the
    target in a first view. distances: metres from agent to target there. horizons: camera tilts in degrees, positive
    down.
    """

    depth_limit: float = 10.0
    horizon: int = 20
    minimal_pixels: int = 60
    distances: tuple[float, float] = (0.6, 3.0)
    horizons: tuple[float, ...] = (0.0, 30.0)
    attempts: int = 60


def target_box(mask: np.ndarray | None) -> np.ndarray:
    """(x1, y1, x2, y2) float32 in [-1, 1]: edges of a boolean (H, W) mask, x right, y down; all zero if it is empty
    or None."""
    if mask is None or not mask.any():
        return np.zeros(4, np.float32)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    edges = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
    return (2.0 * np.array(edges) - 1.0).astype(np.float32)


def observed_image(rgb: np.ndarray, depth: np.ndarray, setting: str, depth_limit: float) -> np.ndarray:
    """(4, H, W) for S1 (R, G, B, depth) or (1, H, W) for S2, float32 in [0, 1]; depth = clip(metres / depth_limit,
    0, 1)."""
    shallow = np.clip(depth.astype(np.float32) / np.float32(depth_limit), 0.0, 1.0)[None]
    if setting == "S2":
        return shallow
    return np.concatenate([rgb.transpose(2, 0, 1).astype(np.float32) / np.float32(255), shallow])


class ActivePerceptionEnv(gymnasium.Env):
    """Observation {"image": (C, H, W) in [0, 1], "vector": target box (4,) in [-1, 1]}; seven actions; reward in [0,
    1].

    The reward is the detector's confidence to see the target's type in the view after the action. Stop leaves the
    view as it is and terminates; a blocked move leaves it and does not. The box is that of one object, from the
    player's instance mask; it is all zeros while the object is out of sight. `reset` places the agent where it sees
    the target, and depends on its seed only. `info` holds layout, room_type, target_type, target_id, rgb (H, W, 3)
    uint8, depth (H, W) metres, target_pixels, action_success and pose (x, z, yaw, horizon).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        controller: WatchedController,
        detector: Detector,
        setting: str = "S1",
        layouts: Sequence[int] = PRIVATE_LAYOUTS,
        targets: Mapping[str, Sequence[str]] | None = None,
        options: TaskOptions | None = None,
        render_mode: str | None = None,
    ) -> None:
        """`targets` maps room types to object types (default: the simulator's). Raises ConfigurationError for a bad
        setting."""
        if setting not in CHANNELS:
            raise ConfigurationError(f"unknown setting '{setting}'; there is: {', '.join(CHANNELS)}")
        self.controller, self.detector, self.setting = controller, detector, setting
        self.options = options or TaskOptions()
        self.layouts = tuple(layouts)
        self.targets = targets_of(controller.simulator) if targets is None else targets
        self.render_mode = render_mode
        shape = (CHANNELS[setting], controller.options.height, controller.options.width)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0.0, 1.0, shape, np.float32),
                "vector": gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32),
            }
        )
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))
        self._reachable: dict[int, np.ndarray] = {}
        self._event: Event | None = None
        self._target: Target | None = None
        self._layout = 0
        self._steps = 0
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Options: "layout" (number), "target" (object type). Raises SimulatorError if no place there shows a
        target."""
        super().reset(seed=seed)
        options = options or {}
        layout = options.get("layout")
        self._layout = int(self.np_random.choice(self.layouts)) if layout is None else int(layout)
        self._event = self.controller.load(self._layout)
        self._target = self._place_agent(self._candidates(options.get("target")))
        self._steps, self._over = 0, False
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        if self._over:
            raise gymnasium.error.ResetNeeded("the episode is over: call reset first")
        name = ACTIONS[int(action)]
        if name != "Stop":
            self._event = self.controller.step(name)
        self._steps += 1
        terminated = name == "Stop"
        truncated = not terminated and self._steps >= self.options.horizon
        self._over = terminated or truncated
        reward = float(self.detector.confidence(self._event.frame, self._target.object_type))
        return self._observation(), reward, terminated, truncated, self._info()

    def render(self) -> np.ndarray | None:
        return None if self._event is None else np.ascontiguousarray(self._event.frame)

    def close(self) -> None:
        """Leaves the controller to its owner: one player serves many environments."""

    def _candidates(self, wanted: str | None) -> list[Target]:
        kinds = self.targets[room_type_of(self._layout)] if wanted is None else (wanted,)
        found = [
            Target(item["objectId"], item["objectType"], item["position"]["x"], item["position"]["z"])
            for item in self._event.metadata["objects"]
            if item["objectType"] in kinds
        ]
        if not found:
            raise SimulatorError(
                f"layout {self._layout} holds no {' or '.join(kinds)}; choose another layout or target"
            )
        return sorted(found)

    def _place_agent(self, candidates: list[Target]) -> Target:
        """Draws a type, one object of it, and a pose towards it, until the object fills `minimal_pixels`."""
        kinds = sorted({target.object_type for target in candidates})
        for _ in range(self.options.attempts):
            kind = kinds[self.np_random.integers(len(kinds))]
            alike = [target for target in candidates if target.object_type == kind]
            target = alike[self.np_random.integers(len(alike))]
            pose = self._pose_towards(target)
            if pose is None:
                continue
            x, z, yaw, tilt = pose
            event = self.controller.step(
                "TeleportFull",
                position={"x": x, "y": self._event.metadata["agent"]["position"]["y"], "z": z},
                rotation={"x": 0.0, "y": yaw, "z": 0.0},
                horizon=tilt,
                standing=True,
            )
            if not event.metadata["lastActionSuccess"]:
                continue
            self._event = event
            if pixels_of(event, target.object_id) >= self.options.minimal_pixels:
                return target
        raise SimulatorError(
            f"layout {self._layout}: no view with {self.options.minimal_pixels} pixels of {' or '.join(kinds)} in "
            f"{self.options.attempts} attempts; lower minimal_pixels or choose another target"
        )

    def _pose_towards(self, target: Target) -> tuple[float, float, float, float] | None:
        places = self._reachable_positions()
        away = np.hypot(places[:, 0] - target.x, places[:, 1] - target.z)
        near, far = self.options.distances
        fitting = np.flatnonzero((away >= near) & (away <= far))
        if not len(fitting):
            return None
        x, z = places[fitting[self.np_random.integers(len(fitting))]]
        step = self.controller.options.rotate_degrees
        facing = math.degrees(math.atan2(target.x - x, target.z - z))
        yaw = (round(facing / step) + int(self.np_random.integers(-1, 2))) * step % 360.0
        tilt = self.options.horizons[self.np_random.integers(len(self.options.horizons))]
        return float(x), float(z), float(yaw), float(tilt)

    def _reachable_positions(self) -> np.ndarray:
        if self._layout not in self._reachable:
            self._reachable[self._layout] = reachable_positions(self.controller)
        return self._reachable[self._layout]

    def _observation(self) -> dict[str, np.ndarray]:
        event = self._event
        image = observed_image(event.frame, event.depth_frame, self.setting, self.options.depth_limit)
        return {"image": image, "vector": target_box(event.instance_masks.mask(self._target.object_id))}

    def _info(self) -> dict[str, Any]:
        event = self._event
        agent = event.metadata["agent"]
        pose = (agent["position"]["x"], agent["position"]["z"], agent["rotation"]["y"], agent["cameraHorizon"])
        return {
            "layout": self._layout,
            "room_type": room_type_of(self._layout),
            "target_type": self._target.object_type,
            "target_id": self._target.object_id,
            "target_pixels": pixels_of(event, self._target.object_id),
            "rgb": np.ascontiguousarray(event.frame),
            "depth": np.ascontiguousarray(event.depth_frame),
            "action_success": bool(event.metadata["lastActionSuccess"]),
            "pose": pose,
        }


def pixels_of(event: Event, object_id: str) -> int:
    """How many pixels of the view show the object."""
    mask = event.instance_masks.mask(object_id)
    return 0 if mask is None else int(mask.sum())


def reachable_positions(controller: WatchedController) -> np.ndarray:
    """(n, 2) float64: (x, z) in metres of every place that the agent can reach, in one order on every machine."""
    event = controller.step("GetReachablePositions")
    places = event.metadata["actionReturn"]
    if not places:
        raise SimulatorError(f"{event.metadata['sceneName']} has no reachable place: {event.metadata['errorMessage']}")
    return np.array(sorted((place["x"], place["z"]) for place in places))
