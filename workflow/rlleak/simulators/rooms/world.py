"""A room that can be walked through and looked at: the simulator behind the rooms player."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlleak.simulators.rooms import furnishing, gl, walking
from rlleak.simulators.rooms.builder import Piece
from rlleak.simulators.rooms.catalogue import TARGET_TYPES, type_of_room

# MuJoCo reads MUJOCO_GL when it is first imported, which the next modules do.
gl.choose_gl()

from rlleak.simulators.rooms.compiling import compile_scene  # noqa: E402
from rlleak.simulators.rooms.rendering import Canvas  # noqa: E402


@dataclass(frozen=True)
class RoomObject:
    """A thing in the room. `center` and `size` are those of the upright box around it, in metres (x, y, z)."""

    object_id: str
    object_type: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    is_target: bool


@dataclass(frozen=True)
class Frame:
    """What the camera sees: `rgb` (H, W, 3) uint8, `depth` (H, W) float32 metres along the viewing axis,
    `instances` (H, W) int32 indices into `RoomWorld.objects`, -1 for the building itself."""

    rgb: np.ndarray
    depth: np.ndarray
    instances: np.ndarray


def _rounded(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 4) for value in vector)
    return x, y, z


def _describe(piece: Piece, room_type: str) -> RoomObject:
    low, high = piece.bounds
    center, size = _rounded((low + high) / 2), _rounded(high - low)
    position = "|".join(f"{value:+06.2f}" for value in center)
    return RoomObject(
        object_id=f"{piece.object_type}|{position}",
        object_type=str(piece.object_type),
        center=center,
        size=size,
        is_target=piece.object_type in TARGET_TYPES[room_type],
    )


class RoomWorld:
    """One layout, in Unity's coordinates: metres, y up, left-handed, yaw 0 along +z and clockwise from above.

    Attributes:
        layout: AI2-THOR's number (kitchen 1-99, living room 201-299, bedroom 301-399, bathroom 401-499).
        room_type: "kitchen", "living_room", "bedroom" or "bathroom".
        objects: what is in the room; `Frame.instances` counts along this list.
        size: the room's extent along x and z; it is centred on the origin.
        reachable: (n, 2) positions (x, z), multiples of 0.25 m, connected by steps of 0.25 m.

    Raises:
        ConfigurationError: there is no such layout.
        SimulatorError: OpenGL cannot start.
    """

    def __init__(self, layout: int, width: int = 150, height: int = 150, field_of_view: float = 90.0) -> None:
        self.width, self.height, self.field_of_view = width, height, field_of_view
        self._canvas: Canvas | None = None
        self.load(layout)

    def load(self, layout: int) -> None:
        """Go to another layout, giving back what the present one holds."""
        self.room_type = type_of_room(layout)
        self.close()
        self.layout = layout
        scene = furnishing.furnish(layout, self.room_type)
        model, owners = compile_scene(scene, self.width, self.height)
        movable = [index for index, piece in enumerate(scene.pieces) if piece.object_type is not None]
        self.objects = [_describe(scene.pieces[index], self.room_type) for index in movable]
        object_of_piece = np.full(len(scene.pieces), -1, np.int32)
        object_of_piece[movable] = np.arange(len(movable))
        # The last entry answers for geom -1, where nothing was drawn.
        self._object_of_geom = np.append(object_of_piece[owners], np.int32(-1))
        self.size = scene.size
        self._obstacles = scene.obstacles()
        self.reachable = walking.reachable_positions(scene.size, self._obstacles)
        self._canvas = Canvas(model, self.width, self.height, self.field_of_view)

    def free(self, x: float, z: float) -> bool:
        """Say whether a person of radius 0.2 m fits at (x, z)."""
        return bool(walking.clear(np.array([[x, z]]), self.size, self._obstacles)[0])

    def render(self, x: float, z: float, yaw: float, horizon: float, eye_height: float = 1.575) -> Frame:
        """Look from (x, eye_height, z); angles in degrees, positive `horizon` looks down.

        Raises:
            RuntimeError: the room was closed.
        """
        if self._canvas is None:
            raise RuntimeError("this room was closed: load a layout before rendering")
        sine, cosine = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
        down, level = np.sin(np.radians(horizon)), np.cos(np.radians(horizon))
        forward = np.array([level * sine, level * cosine, -down])
        up = np.array([down * sine, down * cosine, level])
        rgb, depth, geoms = self._canvas.draw(np.array([x, z, eye_height]), forward, up)
        return Frame(rgb, depth, self._object_of_geom[geoms])

    def __enter__(self) -> RoomWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the room holds on the graphics side; `load` starts again."""
        if self._canvas is not None:
            self._canvas.close()
            self._canvas = None
