"""Where things go: along walls, in front of each other, on top of surfaces, never inside one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from rlleak.simulators.rooms.builder import Footprint, Material, Piece, Scene, Vector
from rlleak.simulators.rooms.geometry import rotation_y
from rlleak.simulators.rooms.materials import Style

#: A wall's name, and the yaw of furniture that stands with its back against it.
WALLS = {"north": 180.0, "east": 270.0, "south": 0.0, "west": 90.0}
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_STEP = 0.05
T = TypeVar("T")


@dataclass(frozen=True)
class Opening:
    """A window or a door in a wall: centre along it (room coordinates), width, sill and top heights in metres."""

    wall: str
    centre: float
    width: float
    sill: float
    top: float


@dataclass
class Room:
    """A room while it is being furnished."""

    scene: Scene
    style: Style
    rng: np.random.Generator
    windows: list[Opening] = field(default_factory=list)
    doors: list[Opening] = field(default_factory=list)
    taken: list[Footprint] = field(default_factory=list)
    aisles: list[Footprint] = field(default_factory=list)
    shared: list[Material] = field(default_factory=list)

    def length(self, wall: str) -> float:
        """Length of a wall."""
        return self.scene.size[0] if wall in ("north", "south") else self.scene.size[1]

    def point(self, wall: str, along: float, out: float, y: float = 0.0) -> Vector:
        """The point `out` metres in front of a wall; `along` is x (north, south) or z (east, west)."""
        width, depth = self.scene.size
        return {
            "north": (along, y, depth / 2 - out),
            "south": (along, y, -depth / 2 + out),
            "east": (width / 2 - out, y, along),
            "west": (-width / 2 + out, y, along),
        }[wall]

    def strip(
        self, wall: str, along: float, width: float, near: float, far: float, y0: float = 0.0, y1: float = 2.4
    ) -> Footprint:
        """The box before a wall from `near` to `far` metres out."""
        a, b = self.point(wall, along - width / 2, near), self.point(wall, along + width / 2, far)
        return Footprint(min(a[0], b[0]), min(a[2], b[2]), max(a[0], b[0]), max(a[2], b[2]), y0, y1)

    def open_wall(self, opening: Opening, is_door: bool = False) -> None:
        """Cut a window or door, and keep what is too high (or all, before a door) away from it."""
        (self.doors if is_door else self.windows).append(opening)
        reach = 0.85 if is_door else 0.35
        curtained = not is_door and self.scene.kind in ("living_room", "bedroom")
        beside = 0.66 if curtained else 0.24
        self.taken.append(
            self.strip(
                opening.wall,
                opening.centre,
                opening.width + beside,
                -0.1,
                reach,
                opening.sill - 0.06,
                opening.top + 0.2,
            )
        )

    def fits(self, place: Footprint, margin: float = 0.01) -> bool:
        """Say whether a box is inside the room and off everything else."""
        width, depth = self.scene.size
        inside = place.x0 >= -width / 2 - 1e-6 and place.x1 <= width / 2 + 1e-6
        inside = inside and place.z0 >= -depth / 2 - 1e-6 and place.z1 <= depth / 2 + 1e-6
        if not inside or any(place.overlaps(other, margin) for other in self.taken):
            return False
        return place.y0 > 1.2 or not any(place.overlaps(aisle) for aisle in self.aisles)

    def against(
        self,
        size: Vector,
        walls: Sequence[str] | None = None,
        base: float = 0.0,
        aisle: float = 0.0,
        near: float | None = None,
        gap: float = 0.0,
    ) -> tuple[Vector, float] | None:
        """Find and take a place for something (width, height, depth) with its back to a wall.

        Args:
            walls: which walls to try, in this order; all, shuffled, by default.
            base: height at which it hangs.
            aisle: metres before it that nothing else may stand in.
            near: coordinate along the wall to be close to; otherwise a random place.
            gap: air left behind it.

        Returns:
            The point at the middle of its back edge and its yaw, or None where there is no room.
        """
        order = list(walls) if walls is not None else list(self.rng.permutation(list(WALLS)))
        for wall in order:
            reach = self.length(wall) / 2 - size[0] / 2
            if reach < 0:
                continue
            candidates = np.append(np.arange(-reach, reach, _STEP), reach)
            target = near if near is not None else float(self.rng.uniform(-reach, reach))
            for along in candidates[np.argsort(np.abs(candidates - target), kind="stable")]:
                place = self.strip(wall, float(along), size[0], gap, gap + size[2], base, base + size[1])
                way = self.strip(wall, float(along), size[0], gap + size[2], gap + size[2] + aisle)
                if self.fits(place) and (not aisle or not any(way.overlaps(other) for other in self.floor_standing())):
                    self.taken.append(place)
                    if aisle:
                        self.aisles.append(way)
                    return self.point(wall, float(along), gap, base), WALLS[wall]
        return None

    def floor_standing(self) -> list[Footprint]:
        """What is taken at walking height."""
        return [place for place in self.taken if place.y0 < 1.2]

    def around(self, centre: tuple[float, float], size: Vector, margin: float = 0.01) -> bool:
        """Take a free-standing place (axis-aligned, x width and z depth) if it is free."""
        place = Footprint(
            centre[0] - size[0] / 2,
            centre[1] - size[2] / 2,
            centre[0] + size[0] / 2,
            centre[1] + size[2] / 2,
            0,
            size[1],
        )
        if not self.fits(place, margin):
            return False
        self.taken.append(place)
        return True

    def chance(self, probability: float) -> bool:
        """Toss a coin."""
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        """Choose one."""
        return options[int(self.rng.integers(len(options)))]

    def between(self, low: float, high: float) -> float:
        """Choose a number."""
        return float(self.rng.uniform(low, high))


Maker = Callable[[Room, Vector, float], Piece]


def in_front(origin: Vector, yaw: float, forward: float, sideways: float = 0.0, y: float | None = None) -> Vector:
    """The point `forward` metres along a piece's front and `sideways` along its width."""
    offset = rotation_y(yaw) @ np.array([sideways, 0.0, forward])
    return float(origin[0] + offset[0]), origin[1] if y is None else y, float(origin[2] + offset[2])


def scatter(room: Room, piece: Piece, makers: Sequence[Maker], top: int = 0, turn: float = 25.0) -> list[Piece]:
    """Stand things on a piece's top where they fit, each within `turn` degrees of facing as the piece does.

    Returns:
        Those that found a place; the others are not in the room.
    """
    placed: list[Piece] = []
    for maker in makers:
        item = maker(room, (0.0, 0.0, 0.0), piece.yaw + room.between(-turn, turn))
        spot = _free_spot(room, piece, item, top)
        if spot is None:
            room.scene.pieces.remove(item)
        else:
            item.move(spot)
            piece.standing.append(item.footprint)
            placed.append(item)
    return placed


def _free_spot(room: Room, piece: Piece, item: Piece, top: int) -> Vector | None:
    """A point of the surface where the item (made at the origin) rests whole and touches no other thing."""
    surface = piece.tops[top]
    corners = np.array(
        [piece.local((x, surface.y, z)) for x in (surface.x0, surface.x1) for z in (surface.z0, surface.z1)]
    )
    edge_low, edge_high, y = corners.min(0), corners.max(0), float(corners[0, 1])
    low, high = item.bounds
    first, last = edge_low - low, edge_high - high
    if last[0] < first[0] or last[2] < first[2]:
        return None
    for _ in range(16):
        x, z = (first[i] + float(room.rng.random()) * (last[i] - first[i]) for i in (0, 2))
        spot = Footprint(low[0] + x, low[2] + z, high[0] + x, high[2] + z, y, y + high[1])
        if not any(spot.overlaps(other, 0.01) for other in piece.standing):
            return float(x), y, float(z)
    return None
