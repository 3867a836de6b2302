"""The agent in a room and the actions of AI2-THOR that it understands.

Conventions are Unity's: metres, y up, yaw in degrees clockwise from +z, horizon in degrees with positive looking down.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from rlleak.simulators.layouts import PRIVATE_LAYOUTS, PUBLIC_LAYOUTS, scene_of

AGENT_HEIGHT = 0.9  # y of the agent's centre, as Unity reports it
EYE_HEIGHT = 1.575
NEAR, FAR = 0.1, 20.0
_HORIZON_RANGE = (-30.0, 60.0)
_COLLISION_STEP = 0.05
_LAYOUTS = {scene_of(layout): layout for layout in (*PRIVATE_LAYOUTS, *PUBLIC_LAYOUTS)}
_UNSUPPORTED_IMAGES = ("renderSemanticSegmentation", "renderClassImage", "renderNormalsImage", "renderFlowImage")


class World(Protocol):
    """What the player needs of rlleak.simulators.rooms.world.RoomWorld."""

    objects: list[Any]
    reachable: np.ndarray

    def free(self, x: float, z: float) -> bool:
        """Whether an agent fits there, metres."""

    def render(self, x: float, z: float, yaw: float, horizon: float, eye_height: float = EYE_HEIGHT) -> Any:
        """A `rlleak.simulators.rooms.world.Frame`; angles in degrees, as AI2-THOR's."""

    def close(self) -> None:
        """Gives the renderer back."""


class Outcome(NamedTuple):
    """What an action came to: AI2-THOR's lastActionSuccess, actionReturn, errorCode and errorMessage."""

    success: bool
    value: Any = None
    code: str = ""
    message: str = ""


class ArgumentError(Exception):
    """An action's arguments are missing or wrong; `code` is AI2-THOR's errorCode."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Pose:
    """Where the agent stands (metres) and looks (degrees)."""

    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    horizon: float = 0.0


class Agent:
    """One agent and the room around it; `act` performs an action as Unity would."""

    def __init__(self, build_world: Callable[[int, int, int, float], World], width: int, height: int) -> None:
        """`build_world(layout, width, height, field_of_view)` makes a room; none is built before the first Reset."""
        self._build_world = build_world
        self.width, self.height = width, height
        self.field_of_view = 90.0
        self.settings: dict[str, Any] = {}
        self.scene = ""
        self.world: World | None = None
        self._built: tuple[int, int, int, float] | None = None
        self.pose = Pose()
        self._actions: dict[str, Callable[[Mapping[str, Any]], Outcome]] = {
            "Reset": self._reset,
            "Initialize": self._initialise,
            "GetScenesInBuild": lambda arguments: Outcome(True, list(_LAYOUTS)),
            "GetReachablePositions": self._reachable_positions,
            "ChangeResolution": self._change_resolution,
            "Teleport": self._teleport,
            "TeleportFull": self._teleport,
            "MoveAhead": lambda arguments: self._move(arguments, 0.0),
            "MoveRight": lambda arguments: self._move(arguments, 90.0),
            "MoveBack": lambda arguments: self._move(arguments, 180.0),
            "MoveLeft": lambda arguments: self._move(arguments, 270.0),
            "RotateRight": lambda arguments: self._rotate(arguments, 1.0),
            "RotateLeft": lambda arguments: self._rotate(arguments, -1.0),
            "LookDown": lambda arguments: self._look(arguments, 1.0),
            "LookUp": lambda arguments: self._look(arguments, -1.0),
            **{name: lambda arguments: Outcome(True) for name in ("Pass", "Done", "Stop", "ChangeQuality")},
        }

    def act(self, action: Mapping[str, Any]) -> Outcome:
        """Performs an action. Wrong arguments come back as an Outcome with AI2-THOR's errorCode, never as an
        exception."""
        name = action["action"]
        if name not in self._actions:
            return Outcome(
                False,
                None,
                "InvalidAction",
                f"Invalid action: {name}. The rooms player knows {', '.join(self._actions)}",
            )
        try:
            return self._actions[name](action)
        except ArgumentError as error:
            return Outcome(False, None, error.code, f"{name}: {error}")

    def close(self) -> None:
        """Closes the room, if one is loaded; Reset loads another."""
        if self.world is not None:
            self.world.close()
        self.world, self._built = None, None

    def _room(self) -> World:
        if self.world is None:
            raise ArgumentError("InvalidAction", "no scene is loaded yet; Reset comes first")
        return self.world

    def _build(self) -> None:
        wanted = (_LAYOUTS[self.scene], self.width, self.height, self.field_of_view)
        if wanted != self._built:  # rooms do not change, so a room is built only when another is asked for
            self.close()
            self.world, self._built = self._build_world(*wanted), wanted

    def _reset(self, arguments: Mapping[str, Any]) -> Outcome:
        scene = arguments.get("sceneName")
        if scene not in _LAYOUTS:
            raise ArgumentError("InvalidArgument", f"there is no scene '{scene}' in the rooms player")
        self.scene = scene
        self._build()
        reachable = self._room().reachable
        middle = reachable[np.abs(reachable - reachable.mean(0)).sum(1).argmin()]
        self.pose = Pose(float(middle[0]), float(middle[1]))
        return Outcome(True)

    def _initialise(self, arguments: Mapping[str, Any]) -> Outcome:
        for name in _UNSUPPORTED_IMAGES:
            if arguments.get(name):
                raise ArgumentError(
                    "InvalidArgument", f"{name}: the rooms player renders RGB, depth and instance masks"
                )
        self.settings = dict(arguments)
        self.field_of_view = _number(arguments, "fieldOfView", 90.0, low=1.0, high=179.0)
        _number(arguments, "gridSize", 0.25, low=1e-3)
        if self.scene:
            self._build()
        return Outcome(True, {"cameraNearPlane": NEAR, "cameraFarPlane": FAR})

    def _reachable_positions(self, arguments: Mapping[str, Any]) -> Outcome:
        return Outcome(True, [_vector(float(x), AGENT_HEIGHT, float(z)) for x, z in self._room().reachable])

    def _change_resolution(self, arguments: Mapping[str, Any]) -> Outcome:
        self.width = int(_number(arguments, "x", None, low=1))
        self.height = int(_number(arguments, "y", None, low=1))
        if self.scene:
            self._build()
        return Outcome(True)

    def _teleport(self, arguments: Mapping[str, Any]) -> Outcome:
        place = arguments.get("position") or arguments
        x, z = _number(place, "x", self.pose.x), _number(place, "z", self.pose.z)
        rotation = arguments.get("rotation")
        yaw = self.pose.yaw if rotation is None else _number(rotation, "y", 0.0)
        horizon = _number(arguments, "horizon", self.pose.horizon)
        if not _HORIZON_RANGE[0] <= horizon <= _HORIZON_RANGE[1]:
            raise ArgumentError("InvalidArgument", f"horizon {horizon:g} is not in {_HORIZON_RANGE}")
        if not self._room().free(x, z) and not arguments.get("forceAction"):
            return Outcome(False, message=f"({x:g}, {z:g}) is not a place where the agent can stand")
        self.pose = Pose(x, z, yaw % 360.0, horizon)
        return Outcome(True)

    def _move(self, arguments: Mapping[str, Any], direction: float) -> Outcome:
        grid = self.settings.get("gridSize", 0.25)
        magnitude = _number(arguments, "moveMagnitude", grid) or grid  # Unity reads 0 as "not given"
        heading = math.radians(self.pose.yaw + direction)
        step_x, step_z = magnitude * math.sin(heading), magnitude * math.cos(heading)
        x, z = self.pose.x + step_x, self.pose.z + step_z
        if self.settings.get("snapToGrid", True):
            x, z = round(x / grid) * grid, round(z / grid) * grid
        pieces = max(1, math.ceil(math.hypot(x - self.pose.x, z - self.pose.z) / _COLLISION_STEP))
        for share in np.arange(1, pieces + 1) / pieces:
            if not self._room().free(self.pose.x + share * (x - self.pose.x), self.pose.z + share * (z - self.pose.z)):
                return Outcome(False, message=f"something is in the way of {arguments['action']}")
        self.pose.x, self.pose.z = x, z
        return Outcome(True)

    def _rotate(self, arguments: Mapping[str, Any], sign: float) -> Outcome:
        step = self.settings.get("rotateStepDegrees", 90.0)
        self._room()
        self.pose.yaw = (self.pose.yaw + sign * (_number(arguments, "degrees", step) or step)) % 360.0
        return Outcome(True)

    def _look(self, arguments: Mapping[str, Any], sign: float) -> Outcome:
        self._room()
        horizon = self.pose.horizon + sign * (_number(arguments, "degrees", 30.0) or 30.0)
        if not _HORIZON_RANGE[0] <= horizon <= _HORIZON_RANGE[1]:
            return Outcome(False, message=f"the camera cannot tilt to {horizon:g} degrees")
        self.pose.horizon = horizon
        return Outcome(True)


def _vector(x: float, y: float, z: float) -> dict[str, float]:
    return {"x": x, "y": y, "z": z}


def _number(
    arguments: Mapping[str, Any], name: str, default: float | None, low: float = -1e6, high: float = 1e6
) -> float:
    value = arguments.get(name)
    value = default if value is None else value
    if value is None:
        raise ArgumentError("MissingArguments", f"'{name}' is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ArgumentError("InvalidArgument", f"'{name}' is {value!r}, not a number from {low:g} to {high:g}")
    return float(value)
