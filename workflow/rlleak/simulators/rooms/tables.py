"""Tables and desks. Origins are on the floor: at the middle of the back edge, except dining and coffee tables."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Piece, Vector


def dining_table(room: Room, at: Vector, yaw: float, width: float = 1.3, depth: float = 0.8) -> Piece:
    """Four legs and an apron, or one round foot; centre at `at`."""
    wood = room.style.wood
    piece = room.scene.piece("DiningTable", at, yaw, solid=True)
    if abs(width - depth) < 0.05:
        radius = width / 2
        piece.revolve(
            wood, [(0, 0), (radius - 0.02, 0), (radius, 0.015), (radius, 0.035), (0, 0.035)], (0, 0.715, 0), 28
        )
        piece.revolve(wood, [(0.26, 0), (0.24, 0.03), (0.05, 0.12), (0.06, 0.6), (0.14, 0.715)], (0, 0, 0), 16)
        side = radius * 1.35
        piece.top(side, side, 0.75)
        return piece
    piece.box(wood, (width, 0.035, depth), (0, 0.715, 0))
    for z in (-depth / 2 + 0.09, depth / 2 - 0.09):
        piece.box(wood, (width - 0.2, 0.09, 0.02), (0, 0.625, z))
        for x in (-width / 2 + 0.08, width / 2 - 0.08):
            piece.box(wood, (0.065, 0.715, 0.065), (x, 0, z))
    for x in (-width / 2 + 0.08, width / 2 - 0.08):
        piece.box(wood, (0.02, 0.09, depth - 0.22), (x, 0.625, 0))
    if room.chance(0.3):
        piece.box(room.style.second_cloth, (width * 0.9, 0.004, 0.34), (0, 0.75, 0))
    piece.top(width - 0.1, depth - 0.1, 0.754)
    return piece


def coffee_table(room: Room, at: Vector, yaw: float) -> Piece:
    """A low table: a wooden one with a shelf, a glass top on metal, or a round one; centre at `at`."""
    kind = room.pick(["shelf", "glass", "round"])
    piece = room.scene.piece("CoffeeTable", at, yaw, solid=True)
    wood, metal = room.style.wood, room.style.metal
    if kind == "round":
        piece.revolve(wood, [(0, 0), (0.4, 0), (0.42, 0.02), (0.42, 0.04), (0, 0.04)], (0, 0.38, 0), 28)
        for x, z in ((-0.24, -0.24), (0.24, -0.24), (-0.24, 0.24), (0.24, 0.24)):
            piece.rod(wood, (x * 1.2, 0, z * 1.2), (x, 0.38, z), 0.024)
        piece.top(0.56, 0.56, 0.42)
        return piece
    width, depth = 1.0, 0.55
    for x in (-width / 2 + 0.04, width / 2 - 0.04):
        for z in (-depth / 2 + 0.04, depth / 2 - 0.04):
            if kind == "glass":
                piece.rod(metal, (x, 0, z), (x, 0.4, z), 0.018)
            else:
                piece.box(wood, (0.06, 0.4, 0.06), (x, 0, z))
    piece.box(wood if kind == "shelf" else m.DARK_GLASS, (width, 0.03, depth), (0, 0.4, 0))
    piece.box(wood, (width - 0.1, 0.02, depth - 0.1), (0, 0.14, 0))
    piece.top(width - 0.08, depth - 0.08, 0.43)
    piece.top(width - 0.2, depth - 0.18, 0.16)
    return piece


def side_table(room: Room, at: Vector, yaw: float) -> Piece:
    """A bedside table with a drawer and a shelf."""
    wood = room.style.wood
    piece = room.scene.piece("SideTable", at, yaw, solid=True)
    width, depth, height = 0.45, 0.4, 0.55
    for x in (-width / 2 + 0.02, width / 2 - 0.02):
        for z in (0.02, depth - 0.02):
            piece.box(wood, (0.04, height - 0.02, 0.04), (x, 0, z))
    piece.box(wood, (width + 0.03, 0.025, depth + 0.02), (0, height - 0.025, depth / 2))
    piece.box(wood, (width - 0.03, 0.15, depth - 0.03), (0, height - 0.18, depth / 2))
    piece.box(wood, (width - 0.08, 0.11, 0.014), (0, height - 0.16, depth - 0.01))
    piece.ball(room.style.metal, (0.015, 0.015, 0.015), (0, height - 0.105, depth + 0.008))
    piece.box(wood, (width - 0.03, 0.02, depth - 0.03), (0, 0.14, depth / 2))
    piece.top(width - 0.02, depth - 0.03, height, (0, depth / 2))
    piece.top(width - 0.1, depth - 0.12, 0.16, (0, depth / 2))
    return piece


def desk(room: Room, at: Vector, yaw: float, width: float = 1.2) -> Piece:
    """A top, two legs on one side and drawers on the other."""
    wood = room.style.second_wood
    piece = room.scene.piece("Desk", at, yaw, solid=True)
    depth = 0.6
    piece.box(wood, (width, 0.035, depth), (0, 0.705, depth / 2))
    piece.box(wood, (width - 0.1, 0.3, 0.02), (0, 0.4, 0.05))
    for z in (0.05, depth - 0.05):
        piece.box(wood, (0.05, 0.705, 0.05), (-width / 2 + 0.04, 0, z))
    x = width / 2 - 0.21
    piece.box(wood, (0.38, 0.62, depth - 0.06), (x, 0.085, depth / 2))
    for z in (0.06, depth - 0.06):
        piece.box(wood, (0.36, 0.085, 0.04), (x, 0, z))
    for i in range(3):
        piece.box(wood, (0.35, 0.185, 0.018), (x, 0.1 + 0.2 * i, depth - 0.02))
        piece.rod(
            room.style.metal,
            (x - 0.05, 0.2 + 0.2 * i, depth + 0.005),
            (x + 0.05, 0.2 + 0.2 * i, depth + 0.005),
            0.007,
            6,
        )
    piece.top(width - 0.06, depth - 0.12, 0.74, (0, depth / 2 + 0.03))
    return piece


def tv_stand(room: Room, at: Vector, yaw: float, width: float = 1.4) -> Piece:
    """A low board with doors at the sides and an open middle."""
    wood = room.style.wood
    piece = room.scene.piece("TVStand", at, yaw, solid=True)
    depth, height = 0.42, 0.5
    piece.box(wood, (width, 0.03, depth), (0, height - 0.03, depth / 2))
    piece.box(wood, (width, 0.03, depth), (0, 0.08, depth / 2))
    piece.box(m.SHADE, (width - 0.02, height - 0.1, 0.02), (0, 0.09, 0.02))
    for x in (-width / 2 + 0.015, -width / 6, width / 6, width / 2 - 0.015):
        piece.box(wood, (0.03, height - 0.1, depth - 0.01), (x, 0.09, depth / 2))
    for side in (-1, 1):
        x = side * width / 3
        piece.box(wood, (width / 3 - 0.04, height - 0.15, 0.02), (x, 0.115, depth - 0.006))
        piece.ball(room.style.metal, (0.015, 0.015, 0.015), (x - side * (width / 6 - 0.06), 0.3, depth + 0.015))
    piece.box(wood, (width / 3, 0.02, depth - 0.04), (0, 0.28, depth / 2))
    piece.box(m.BLACK, (width / 3 - 0.12, 0.06, 0.26), (0, 0.3, depth / 2))
    for x in (-width / 2 + 0.07, width / 2 - 0.07):
        for z in (0.06, depth - 0.06):
            piece.box(wood, (0.05, 0.08, 0.05), (x, 0, z))
    piece.top(width - 0.06, depth - 0.06, height, (0, depth / 2))
    return piece
