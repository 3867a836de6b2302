"""Things that stand on kitchen worktops and tables; base centres at `at`."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Material, Piece, Vector
from rlleak.simulators.rooms.patterns import Colour


def _glaze(room: Room) -> Material:
    colour: Colour = room.pick([*room.style.palette[1:3], (0.90, 0.89, 0.86), (0.30, 0.42, 0.52), (0.68, 0.30, 0.24)])
    return m.plain("glaze", colour, specular=0.4, shininess=0.7)


def _vessel(
    piece: Piece, skin: Material, outer: list[tuple[float, float]], wall: float, inside: Material | None = None
) -> None:
    """An open vessel from its outer profile (radius, y), bottom to rim."""
    piece.loft(skin, [(0, 0, 0), *((r, r, y) for r, y in outer)], (0, 0, 0), 18)
    inner = [(r - wall, r - wall, max(y, wall)) for r, y in reversed(outer)]
    rim, top = outer[-1]
    piece.loft(inside or skin, [(rim, rim, top), *inner, (0, 0, wall)], (0, 0, 0), 18)


def mug(room: Room, at: Vector, yaw: float) -> Piece:
    """A mug with its handle."""
    piece = room.scene.piece("Mug", at, yaw)
    glaze = _glaze(room)
    _vessel(piece, glaze, [(0.038, 0), (0.042, 0.1)], 0.005)
    for a, b in (((0.04, 0.08), (0.066, 0.072)), ((0.066, 0.072), (0.066, 0.036)), ((0.066, 0.036), (0.04, 0.025))):
        piece.rod(glaze, (a[0], a[1], 0), (b[0], b[1], 0), 0.006, 6)
    return piece


def plate(room: Room, at: Vector, yaw: float) -> Piece:
    """A dinner plate."""
    piece = room.scene.piece("Plate", at, yaw)
    glaze = _glaze(room)
    piece.revolve(glaze, [(0.06, 0), (0.12, 0.018), (0.12, 0.022), (0.075, 0.008), (0, 0.008)], (0, 0, 0), 22)
    return piece


def bowl(room: Room, at: Vector, yaw: float) -> Piece:
    """A bowl, sometimes with fruit."""
    piece = room.scene.piece("Bowl", at, yaw)
    _vessel(piece, _glaze(room), [(0.05, 0), (0.1, 0.035), (0.125, 0.08)], 0.008)
    if room.chance(0.5):
        for x, z, colour in (
            (-0.03, 0.02, (0.85, 0.55, 0.18)),
            (0.035, 0.03, (0.80, 0.72, 0.25)),
            (0.0, -0.045, (0.52, 0.62, 0.22)),
        ):
            piece.ball(m.plain("fruit", colour, specular=0.3), (0.037, 0.035, 0.037), (x, 0.06, z))
    return piece


def pot(room: Room, at: Vector, yaw: float) -> Piece:
    """A cooking pot with lid and two handles."""
    piece = room.scene.piece("Pot", at, yaw)
    skin = room.pick([m.steel(), m.DARK_METAL, m.plain("enamel", room.style.palette[1], specular=0.5)])
    piece.revolve(skin, [(0, 0), (0.105, 0), (0.112, 0.012), (0.112, 0.13)], (0, 0, 0), 20)
    piece.revolve(skin, [(0.117, 0.13), (0.11, 0.14), (0.03, 0.158), (0, 0.158)], (0, 0, 0), 20)
    piece.ball(m.BLACK, (0.018, 0.014, 0.018), (0, 0.17, 0))
    for x in (-1, 1):
        piece.rod(m.BLACK, (x * 0.105, 0.1, -0.03), (x * 0.145, 0.1, 0), 0.008, 6)
        piece.rod(m.BLACK, (x * 0.145, 0.1, 0), (x * 0.105, 0.1, 0.03), 0.008, 6)
    return piece


def pan(room: Room, at: Vector, yaw: float) -> Piece:
    """A frying pan."""
    piece = room.scene.piece("Pan", at, yaw)
    _vessel(piece, m.DARK_METAL, [(0.1, 0), (0.13, 0.045)], 0.006, m.plain("pan", (0.13, 0.13, 0.13), specular=0.4))
    piece.rod(m.BLACK, (0.12, 0.035, 0), (0.3, 0.065, 0), 0.012)
    return piece


def apple(room: Room, at: Vector, yaw: float) -> Piece:
    """An apple with its stalk."""
    piece = room.scene.piece("Apple", at, yaw)
    skin = m.plain(
        "apple", room.pick([(0.68, 0.12, 0.10), (0.55, 0.64, 0.20), (0.76, 0.28, 0.14)]), specular=0.4, shininess=0.7
    )
    piece.revolve(
        skin, [(0, 0.006), (0.022, 0), (0.038, 0.025), (0.04, 0.045), (0.025, 0.07), (0.006, 0.06)], (0, 0, 0)
    )
    piece.rod(m.SOIL, (0, 0.06, 0), (0.006, 0.085, 0), 0.003, 5)
    return piece


def bread(room: Room, at: Vector, yaw: float) -> Piece:
    """A loaf on a board."""
    piece = room.scene.piece("Bread", at, yaw)
    piece.box(room.style.second_wood, (0.34, 0.016, 0.2), (0, 0, 0))
    crust = m.plain("crust", (0.66, 0.43, 0.22), specular=0.05)
    piece.cushion(crust, (0.24, 0.1, 0.11), (0, 0.016, 0), 0.045, 0.012)
    return piece


def bottle(room: Room, at: Vector, yaw: float) -> Piece:
    """A bottle of oil, wine or sauce with a label."""
    piece = room.scene.piece("Bottle", at, yaw)
    glass = m.plain(
        "bottle",
        room.pick([(0.14, 0.24, 0.14), (0.40, 0.24, 0.10), (0.58, 0.50, 0.18), (0.30, 0.12, 0.12)]),
        specular=0.6,
        shininess=0.8,
    )
    piece.revolve(glass, [(0, 0), (0.036, 0), (0.037, 0.16), (0.014, 0.22), (0.014, 0.28), (0, 0.28)], (0, 0, 0), 14)
    piece.revolve(m.PAPER, [(0.0375, 0.05), (0.0375, 0.12)], (0, 0, 0), 14)
    return piece


def canister(room: Room, at: Vector, yaw: float) -> Piece:
    """A jar with a wooden lid."""
    piece = room.scene.piece("Canister", at, yaw)
    height = room.between(0.12, 0.2)
    piece.cylinder(_glaze(room), 0.055, height, (0, 0, 0))
    piece.cylinder(room.style.second_wood, 0.058, 0.022, (0, height, 0))
    return piece


def utensils(room: Room, at: Vector, yaw: float) -> Piece:
    """Spoons and a spatula in a crock."""
    piece = room.scene.piece("Spatula", at, yaw)
    _vessel(piece, _glaze(room), [(0.05, 0), (0.055, 0.14)], 0.007)
    for i, (x, z) in enumerate(((0.03, 0.02), (-0.03, 0.0), (0.0, -0.03), (0.01, 0.03))):
        stuff = (room.style.second_wood, m.CHROME)[i % 2]
        piece.rod(stuff, (x * 0.3, 0.02, z * 0.3), (x * 1.6, 0.27, z * 1.6), 0.005, 5)
        piece.ball(stuff, (0.022, 0.03, 0.008), (x * 1.7, 0.29, z * 1.7))
    return piece


def knife_block(room: Room, at: Vector, yaw: float) -> Piece:
    """Knives in a slanting block."""
    from_wood = room.style.second_wood
    piece = room.scene.piece("Knife", at, yaw)
    piece.box(from_wood, (0.1, 0.2, 0.12), (0, 0, 0))
    for x in (-0.03, 0.0, 0.03):
        for z in (-0.03, 0.03):
            piece.box(m.BLACK, (0.018, 0.08, 0.025), (x, 0.2, z))
    return piece
