"""House plants and cut flowers; base centres at `at`."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Piece, Vector
from rlleak.simulators.rooms.geometry import leaf, rotation_x, rotation_y


def _pot(room: Room, piece: Piece, radius: float, height: float) -> None:
    skin = room.pick([m.TERRACOTTA, m.WHITE, m.plain("pot", room.style.palette[1], specular=0.3), m.basket()])
    rings = [
        (0, 0, 0),
        (0.72 * radius, 0.72 * radius, 0),
        (radius, radius, height),
        (0.88 * radius, 0.88 * radius, height),
    ]
    piece.loft(skin, [*rings, (0.86 * radius, 0.86 * radius, 0.88 * height)], (0, 0, 0), 14)
    piece.revolve(m.SOIL, [(0.87 * radius, 0.885 * height), (0, 0.89 * height)], (0, 0, 0), 14)


def _leaves(
    room: Room,
    piece: Piece,
    base: float,
    count: int,
    length: tuple[float, float],
    width: float,
    rise: tuple[float, float],
) -> None:
    """Leaves all round from a point at height `base`, `rise` degrees above the horizontal."""
    green = m.foliage(int(room.rng.integers(4)))
    for i in range(count):
        long = room.between(*length)
        shape = leaf(long, width * room.between(0.8, 1.2), long * room.between(0.3, 0.6))
        turn = rotation_y(360 * i / count * 2.618 + room.between(-20, 20)) @ rotation_x(-room.between(*rise))
        piece.add(green, shape, (0, base + room.between(-0.02, 0.02), 0), turn)


def house_plant(room: Room, at: Vector, yaw: float) -> Piece:
    """A small plant in a pot, for a sill or table."""
    piece = room.scene.piece("HousePlant", at, yaw)
    _pot(room, piece, 0.07, 0.11)
    if room.chance(0.4):
        _leaves(room, piece, 0.1, 12, (0.16, 0.26), 0.03, (55, 85))
    else:
        _leaves(room, piece, 0.12, 14, (0.1, 0.16), 0.055, (10, 75))
    return piece


def floor_plant(room: Room, at: Vector, yaw: float) -> Piece:
    """A tall plant in a tub: a palm, or a leafy stem."""
    piece = room.scene.piece("HousePlant", at, yaw, solid=True)
    _pot(room, piece, 0.17, 0.3)
    if room.chance(0.5):
        _leaves(room, piece, 0.3, 16, (0.4, 0.7), 0.08, (58, 88))
    else:
        for i in range(3):
            top = room.between(0.7, 1.15)
            piece.rod(
                m.plain("stem", (0.35, 0.30, 0.20)), (0, 0.25, 0), (0.05 * (i - 1), top, 0.03 * (i % 2)), 0.012, 6
            )
            _leaves(room, piece, top, 8, (0.18, 0.28), 0.13, (10, 65))
    return piece


def flower_vase(room: Room, at: Vector, yaw: float) -> Piece:
    """A vase with a few flowers."""
    piece = room.scene.piece("Vase", at, yaw)
    skin = room.pick(
        [
            m.PORCELAIN,
            m.plain("vase", room.style.palette[1], specular=0.5),
            m.plain("vase", (0.5, 0.62, 0.64), specular=0.7),
        ]
    )
    rings = [
        (0, 0, 0),
        (0.04, 0.04, 0),
        (0.065, 0.065, 0.08),
        (0.03, 0.03, 0.17),
        (0.045, 0.045, 0.21),
        (0.035, 0.035, 0.2),
    ]
    piece.loft(skin, rings, (0, 0, 0), 14)
    petals = m.plain(
        "petals",
        room.pick([(0.85, 0.42, 0.40), (0.92, 0.82, 0.50), (0.80, 0.62, 0.78), (0.93, 0.90, 0.88)]),
        specular=0.0,
    )
    for i in range(5):
        head = rotation_y(72 * i + 10) @ [0.0, 0.0, 0.02 + 0.045 * (i % 2 + 0.6)]
        top = 0.33 + 0.03 * (i % 3)
        piece.rod(m.foliage(0), (0, 0.18, 0), (head[0], top, head[2]), 0.004, 5)
        piece.ball(petals, (0.028, 0.02, 0.028), (head[0], top, head[2]))
    _leaves(room, piece, 0.21, 4, (0.08, 0.12), 0.03, (20, 60))
    return piece
