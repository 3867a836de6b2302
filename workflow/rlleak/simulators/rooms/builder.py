"""Putting a room together: materials, pieces of furniture made of parts, and what a person bumps into.

Coordinates are Unity's (x right, y up, z forward, metres), the room's floor centred on the origin at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rlleak.simulators.rooms import geometry
from rlleak.simulators.rooms.geometry import Mesh, Vector, rotation_y

#: Nothing above this height stops a person.
HEADROOM = 1.75


@dataclass(frozen=True)
class Material:
    """How a surface looks: `colour` in [0, 1] times `texture` (h, w, 3) uint8, which covers `metres` (u, v).

    `metres` None fits the texture once to the whole part (pictures, screens).
    """

    name: str
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    texture: np.ndarray | None = None
    metres: tuple[float, float] | None = (1.0, 1.0)
    specular: float = 0.1
    shininess: float = 0.3
    emission: float = 0.0
    alpha: float = 1.0


@dataclass(frozen=True)
class Footprint:
    """An upright box seen from above: what occupies the floor, or stands on something."""

    x0: float
    z0: float
    x1: float
    z1: float
    y0: float
    y1: float

    def overlaps(self, other: Footprint, margin: float = 0.0) -> bool:
        """Say whether two boxes share space, `margin` metres of air included."""
        return (
            self.x0 < other.x1 + margin and other.x0 < self.x1 + margin
            and self.z0 < other.z1 + margin and other.z0 < self.z1 + margin
            and self.y0 < other.y1 and other.y0 < self.y1
        )  # fmt: skip


@dataclass
class Light:
    """A point light (`position`), or a directional one (`direction`), with its colour in [0, 1]."""

    colour: tuple[float, float, float]
    position: Vector | None = None
    direction: Vector | None = None
    ambient: float = 0.0
    attenuation: tuple[float, float, float] = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Top:
    """A level surface for things to stand on, in its piece's frame: x0..x1, z0..z1 at height y."""

    x0: float
    x1: float
    z0: float
    z1: float
    y: float


@dataclass(frozen=True)
class Glass:
    """A looking glass: an upright rectangle that reflects the room; `facing` is its yaw in degrees."""

    centre: Vector
    width: float
    height: float
    facing: float


@dataclass
class Piece:
    """One object (or piece of structure): parts in its own frame, x along its width, z towards its front."""

    object_type: str | None
    origin: Vector
    yaw: float
    solid: bool
    parts: list[tuple[Material, Mesh]] = field(default_factory=list)
    tops: list[Top] = field(default_factory=list)
    standing: list[Footprint] = field(default_factory=list)
    glasses: list[Glass] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turn = rotation_y(self.yaw) if self.yaw else None

    def add(self, material: Material, mesh: Mesh, at: Vector = (0, 0, 0), turn: np.ndarray | None = None) -> None:
        """Add a mesh, turned by a matrix about its own origin and then put at `at` in the piece's frame."""
        if turn is not None:
            mesh = mesh.turned(turn)
        mesh = mesh.moved(at)
        if self._turn is not None:
            mesh = mesh.turned(self._turn)
        self.parts.append((material, mesh.moved(self.origin)))

    def box(self, material: Material, size: Vector, at: Vector, turn: np.ndarray | None = None) -> None:
        """Add a cuboid whose bottom centre is `at`."""
        self.add(material, geometry.box(size).moved((0, size[1] / 2, 0)), at, turn)

    def cushion(
        self, material: Material, size: Vector, at: Vector, radius: float = 0.03, bulge: float = 0.0,
        turn: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Add a rounded cuboid whose bottom centre is `at`."""
        self.add(material, geometry.cushion(size, radius, bulge).moved((0, size[1] / 2, 0)), at, turn)

    def cylinder(self, material: Material, radius: float, height: float, at: Vector, segments: int = 16) -> None:
        """Add an upright cylinder whose bottom centre is `at`."""
        self.add(material, geometry.cylinder(radius, height, segments), at)

    def loft(
        self, material: Material, rings: list[tuple[float, ...]], at: Vector, segments: int = 16, exponent: float = 2.0
    ) -> None:
        """Add a skin over rings `(half_x, half_z, y[, z offset])`."""
        self.add(material, geometry.loft(rings, segments, exponent), at)

    def revolve(self, material: Material, profile: list[tuple[float, float]], at: Vector, segments: int = 16) -> None:
        """Add a turned shape from its profile `(radius, y)`; radius 0 closes an end, downwards faces inwards."""
        self.add(material, geometry.loft([(radius, radius, y) for radius, y in profile], segments), at)

    def ball(self, material: Material, radii: Vector, at: Vector) -> None:
        """Add an ellipsoid centred on `at`."""
        self.add(material, geometry.ball(radii), at)

    def rod(self, material: Material, start: Vector, end: Vector, radius: float, segments: int = 8) -> None:
        """Add a round bar."""
        self.add(material, geometry.rod(start, end, radius, segments))

    def sheet(
        self, material: Material, width: float, height: float, at: Vector, turn: np.ndarray | None = None
    ) -> None:
        """Add a rectangle that faces the piece's front (+z), centred on `at`."""
        self.add(material, geometry.sheet(width, height), at, turn)

    def top(self, width: float, depth: float, y: float, at: tuple[float, float] = (0.0, 0.0)) -> None:
        """Declare a level surface (x centre and z centre in `at`) for things to stand on."""
        self.tops.append(Top(at[0] - width / 2, at[0] + width / 2, at[1] - depth / 2, at[1] + depth / 2, y))

    def move(self, offset: Vector) -> None:
        """Shift the whole piece."""
        self.parts = [(material, mesh.moved(offset)) for material, mesh in self.parts]
        (x, y, z), (dx, dy, dz) = self.origin, offset
        self.origin = (float(x + dx), float(y + dy), float(z + dz))

    def local(self, point: Vector) -> Vector:
        """Give the room coordinates of a point in the piece's frame."""
        rotated = np.asarray(point, float) if self._turn is None else self._turn @ np.asarray(point, float)
        x, y, z = rotated + np.asarray(self.origin)
        return float(x), float(y), float(z)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, in metres."""
        low = np.min([mesh.vertices.min(0) for _, mesh in self.parts], axis=0)
        high = np.max([mesh.vertices.max(0) for _, mesh in self.parts], axis=0)
        return low, high

    @property
    def footprint(self) -> Footprint:
        """The upright box around the piece."""
        low, high = self.bounds
        return Footprint(float(low[0]), float(low[2]), float(high[0]), float(high[2]), float(low[1]), float(high[1]))


@dataclass
class Scene:
    """A room: its size (x, z), height, pieces, lights, and its kind (room type)."""

    size: tuple[float, float]
    height: float
    pieces: list[Piece] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    kind: str = "living_room"

    def piece(self, object_type: str | None, origin: Vector, yaw: float = 0.0, solid: bool = False) -> Piece:
        """Begin a piece at a floor (or surface) point. `solid` pieces stop a person; None is structure."""
        made = Piece(object_type, origin, yaw, solid)
        self.pieces.append(made)
        return made

    def obstacles(self) -> np.ndarray:
        """Floor rectangles (n, 4) as x0, z0, x1, z1 of what stops a person."""
        prints = [piece.footprint for piece in self.pieces if piece.solid]
        return np.array([[p.x0, p.z0, p.x1, p.z1] for p in prints if p.y0 < HEADROOM]).reshape(-1, 4)
