"""Sofas, chairs and beds. Origins are on the floor: at the middle of the back edge, chairs at their centre."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Material, Piece, Vector
from rlleak.simulators.rooms.geometry import rotation_x, rotation_y


def sofa(room: Room, at: Vector, yaw: float, seats: int = 3) -> Piece:
    """A sofa with seat and back cushions, arms, feet and a scatter cushion or two."""
    return _settee(room, at, yaw, "Sofa", 0.62 * seats, seats)


def armchair(room: Room, at: Vector, yaw: float) -> Piece:
    """A sofa for one."""
    return _settee(room, at, yaw, "ArmChair", 0.6, 1)


def _settee(room: Room, at: Vector, yaw: float, kind: str, inner: float, seats: int) -> Piece:
    cloth = room.style.upholstery
    if kind == "ArmChair" and room.chance(0.4):
        cloth = room.style.second_cloth
    piece = room.scene.piece(kind, at, yaw, solid=True)
    arm, depth = 0.17, 0.86
    width = inner + 2 * arm
    piece.cushion(cloth, (width - 0.04, 0.26, depth - 0.04), (0, 0.08, depth / 2), 0.03)
    piece.cushion(cloth, (inner + 0.1, 0.62, 0.22), (0, 0.2, 0.12), 0.07, 0.0, None)
    for side in (-1, 1):
        piece.cushion(cloth, (arm, 0.48, depth - 0.02), (side * (inner + arm) / 2, 0.09, depth / 2), 0.06)
    for i in range(seats):
        x = -inner / 2 + inner * (i + 0.5) / seats
        piece.cushion(cloth, (inner / seats - 0.012, 0.16, 0.62), (x, 0.32, 0.52), 0.05, 0.015)
        piece.cushion(cloth, (inner / seats - 0.02, 0.42, 0.17), (x, 0.46, 0.27), 0.06, 0.02, rotation_x(-10))
    for x in (-width / 2 + 0.08, width / 2 - 0.08):
        for z in (0.1, depth - 0.1):
            piece.cylinder(m.DARK_METAL, 0.025, 0.09, (x, 0, z), 8)
    if kind == "Sofa" or room.chance(0.5):
        sides = (-1, 1) if kind == "Sofa" and room.chance(0.6) else (room.pick([-1, 1]),) if kind == "Sofa" else (0,)
        for side in sides:
            spot = piece.local((side * (inner / 2 - 0.2), 0.485, 0.5))
            cushion_square(room, spot, yaw + 180 * 0 + side * room.between(5, 18))
    return piece


def cushion_square(room: Room, at: Vector, yaw: float) -> Piece:
    """A scatter cushion leaning back."""
    piece = room.scene.piece("Pillow", at, yaw)
    piece.cushion(room.style.second_cloth, (0.4, 0.4, 0.1), (0, 0, 0), 0.045, 0.03, rotation_x(-22))
    return piece


def chair(room: Room, at: Vector, yaw: float, wood: Material | None = None) -> Piece:
    """A dining chair: four legs, a seat with a pad, a back of slats or a panel; centre at `at`, front to +z."""
    wood = wood or room.style.wood
    piece = room.scene.piece("Chair", at, yaw, solid=True)
    for x in (-0.18, 0.18):
        piece.box(wood, (0.035, 0.44, 0.035), (x, 0, 0.17))
        piece.box(wood, (0.035, 0.92, 0.035), (x, 0, -0.19), rotation_x(-3))
        piece.box(wood, (0.02, 0.03, 0.34), (x, 0.2, -0.01))
    piece.box(wood, (0.42, 0.03, 0.42), (0, 0.43, 0))
    if room.chance(0.5):
        piece.cushion(room.style.second_cloth, (0.39, 0.045, 0.38), (0, 0.46, 0.005), 0.02, 0.008)
    if room.style.slatted:
        for i in range(4):
            piece.box(wood, (0.03, 0.4, 0.015), (-0.105 + 0.07 * i, 0.48, -0.2))
    else:
        for y in (0.58, 0.72):
            piece.box(wood, (0.34, 0.07, 0.018), (0, y, -0.205))
    piece.box(wood, (0.4, 0.08, 0.024), (0, 0.85, -0.215))
    return piece


def office_chair(room: Room, at: Vector, yaw: float) -> Piece:
    """A swivel chair on five castors."""
    cloth = room.pick([m.BLACK, room.style.upholstery])
    piece = room.scene.piece("Chair", at, yaw, solid=True)
    for i in range(5):
        turn = rotation_y(72 * i)
        foot = turn @ [0.0, 0.0, 0.26]
        piece.rod(m.DARK_METAL, (0, 0.09, 0), (foot[0], 0.05, foot[2]), 0.016, 6)
        piece.ball(m.BLACK, (0.026, 0.026, 0.026), (foot[0], 0.026, foot[2]))
    piece.cylinder(m.CHROME, 0.025, 0.36, (0, 0.08, 0), 10)
    piece.cushion(cloth, (0.46, 0.08, 0.45), (0, 0.43, 0.02), 0.035, 0.01)
    piece.cushion(cloth, (0.42, 0.5, 0.07), (0, 0.58, -0.22), 0.03, 0.012, rotation_x(-6))
    piece.box(m.BLACK, (0.06, 0.2, 0.02), (0, 0.42, -0.245))
    for x in (-0.25, 0.25):
        piece.box(m.BLACK, (0.045, 0.03, 0.26), (x, 0.64, 0))
        piece.rod(m.BLACK, (x, 0.47, -0.03), (x, 0.65, -0.03), 0.014, 6)
    return piece


def bed(room: Room, at: Vector, yaw: float, width: float = 1.5) -> Piece:
    """A bed with head and foot boards, mattress, quilt turned back, and pillows; the head is at the back edge."""
    style, length = room.style, 2.0
    frame = style.wood
    piece = room.scene.piece("Bed", at, yaw, solid=True)
    piece.box(frame, (width + 0.08, 0.14, length + 0.02), (0, 0.17, length / 2 + 0.03))
    for x in (-width / 2, width / 2):
        for z in (0.06, length):
            piece.box(frame, (0.08, 0.2, 0.08), (x, 0, z))
    _headboard(room, piece, width)
    if room.chance(0.4):
        piece.box(frame, (width + 0.1, 0.55, 0.05), (0, 0.08, length + 0.06))
    sheet_cloth = m.plain("bed linen", (0.82, 0.81, 0.78), specular=0.0)
    piece.cushion(sheet_cloth, (width, 0.22, length - 0.04), (0, 0.3, length / 2 + 0.03), 0.06)
    piece.cushion(
        style.bedding, (width + 0.06, 0.2, length - 0.62), (0, 0.345, 0.62 + (length - 0.62) / 2 + 0.02), 0.06, 0.012
    )
    piece.cushion(sheet_cloth, (width + 0.065, 0.21, 0.2), (0, 0.35, 0.66), 0.05, 0.012)
    if room.chance(0.45):
        piece.cushion(style.second_cloth, (width + 0.075, 0.205, 0.55), (0, 0.355, length - 0.4), 0.06, 0.01)
    for side in (-1, 1) if width > 1.2 else (0,):
        pillow(
            room,
            piece.local((side * width / 4, 0.5, 0.31)),
            yaw + room.between(-6, 6),
            m.plain("pillow slip", (0.80, 0.78, 0.75), specular=0.0),
        )
        if room.chance(0.6):
            pillow(
                room,
                piece.local((side * width / 4 + 0.03, 0.56, 0.36)),
                yaw + room.between(-8, 8),
                style.second_cloth,
                0.8,
            )
    piece.top(width * 0.7, 0.7, 0.565, (0, 1.35))
    return piece


def _headboard(room: Room, piece: Piece, width: float) -> None:
    kind = room.pick(["panel", "panel", "padded", "padded", "slats"])
    if kind == "panel":
        piece.box(room.style.wood, (width + 0.12, 0.95, 0.05), (0, 0.08, 0.025))
        piece.box(room.style.wood, (width + 0.18, 0.05, 0.08), (0, 1.03, 0.035))
    elif kind == "padded":
        piece.cushion(room.style.upholstery, (width + 0.12, 1.0, 0.1), (0, 0.1, 0.04), 0.04)
        for i in range(4):
            piece.cushion(
                room.style.upholstery, (width / 4 - 0.01, 0.45, 0.06), (width * (i - 1.5) / 4, 0.6, 0.085), 0.028, 0.01
            )
    else:
        for x in (-width / 2 - 0.02, width / 2 + 0.02):
            piece.box(room.style.wood, (0.06, 1.1, 0.06), (x, 0, 0.03))
        for y in (0.55, 1.0):
            piece.box(room.style.wood, (width, 0.06, 0.035), (0, y, 0.03))
        for i in range(9):
            piece.box(room.style.wood, (0.035, 0.42, 0.02), (-width / 2 + width * (i + 0.5) / 9, 0.6, 0.03))


def pillow(room: Room, at: Vector, yaw: float, cloth: Material, scale: float = 1.0) -> Piece:
    """A bed pillow, leaning a little on the headboard."""
    piece = room.scene.piece("Pillow", at, yaw)
    piece.cushion(cloth, (0.6 * scale, 0.1, 0.4 * scale), (0, 0.02, 0), 0.05, 0.035, rotation_x(18))
    return piece
