"""Bathroom fittings. Origins are at the middle of the back edge, on the floor."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Piece, Vector
from rlleak.simulators.rooms.cabinets import faucet
from rlleak.simulators.rooms.geometry import cylinder, drape, rotation_x


def toilet(room: Room, at: Vector, yaw: float) -> Piece:
    """Cistern, bowl, seat and lid (closed or open)."""
    piece = room.scene.piece("Toilet", at, yaw, solid=True)
    white = m.PORCELAIN
    piece.cushion(white, (0.4, 0.36, 0.17), (0, 0.4, 0.095), 0.03)
    piece.cushion(white, (0.43, 0.04, 0.2), (0, 0.76, 0.1), 0.015)
    piece.cylinder(m.CHROME, 0.022, 0.012, (0, 0.8, 0.1), 12)
    foot = [
        (0.11, 0.2, 0, -0.03),
        (0.1, 0.18, 0.12, -0.02),
        (0.13, 0.2, 0.25, 0.0),
        (0.18, 0.25, 0.38, 0.0),
        (0.185, 0.255, 0.4, 0.0),
    ]
    piece.loft(white, foot, (0, 0, 0.42), 22, 2.3)
    piece.loft(white, [(0.185, 0.255, 0.4), (0.13, 0.19, 0.4), (0.1, 0.15, 0.3), (0, 0, 0.28)], (0, 0, 0.42), 22, 2.3)
    lid = m.plain("toilet seat", (0.95, 0.95, 0.93), specular=0.4, shininess=0.7)
    if room.chance(0.7):
        piece.loft(
            lid,
            [(0.185, 0.24, 0), (0.195, 0.25, 0.015), (0.195, 0.25, 0.03), (0.18, 0.235, 0.045), (0, 0, 0.048)],
            (0, 0.4, 0.43),
            22,
            2.3,
        )
    else:
        piece.loft(
            lid,
            [(0.19, 0.25, 0), (0.195, 0.255, 0.018), (0.13, 0.18, 0.022), (0.125, 0.175, 0.0)],
            (0, 0.4, 0.43),
            22,
            2.3,
        )
        piece.cushion(lid, (0.36, 0.42, 0.025), (0, 0.43, 0.205), 0.012, 0.0, rotation_x(-6))
    return piece


def pedestal_sink(room: Room, at: Vector, yaw: float) -> Piece:
    """A basin on a column, with its tap."""
    piece = room.scene.piece("Sink", at, yaw, solid=True)
    white = m.PORCELAIN
    piece.loft(white, [(0.11, 0.1, 0), (0.08, 0.075, 0.1), (0.075, 0.07, 0.6), (0.12, 0.1, 0.7)], (0, 0, 0.2), 18)
    _basin(piece, (0.28, 0.21), 0.7, 0.85, 0.23)
    faucet(room, at, yaw, (0, 0.85, 0.06), 0.16)
    return piece


def _basin(piece: Piece, half: tuple[float, float], low: float, rim: float, z: float) -> None:
    wide, deep = half
    white = m.PORCELAIN
    piece.loft(
        white,
        [
            (wide * 0.45, deep * 0.45, low),
            (wide * 0.9, deep * 0.9, rim - 0.06),
            (wide, deep, rim - 0.02),
            (wide, deep, rim),
        ],
        (0, 0, z),
        24,
        3,
    )
    inner = [
        (wide, deep, rim),
        (wide - 0.04, deep - 0.05, rim, 0.015),
        (wide - 0.09, deep - 0.09, rim - 0.09, 0.015),
        (0.03, 0.03, rim - 0.12, 0.01),
        (0, 0, rim - 0.12, 0.01),
    ]
    piece.loft(white, inner, (0, 0, z), 24, 3)
    piece.revolve(m.DARK_METAL, [(0.02, rim - 0.117), (0, rim - 0.117)], (0, 0, z + 0.01), 10)


def vanity(room: Room, at: Vector, yaw: float, width: float = 0.9) -> Piece:
    """A cabinet whose top holds the basin."""
    style = room.style
    piece = room.scene.piece("Cabinet", at, yaw, solid=True)
    depth = 0.5
    piece.box(style.cabinet, (width, 0.7, depth - 0.02), (0, 0.08, depth / 2 - 0.01))
    piece.box(m.SHADE, (width - 0.06, 0.08, depth - 0.08), (0, 0, depth / 2 - 0.04))
    piece.box(style.counter, (width + 0.02, 0.035, depth + 0.02), (0, 0.78, depth / 2 + 0.01))
    doors = max(2, round(width / 0.4))
    for i in range(doors):
        x = -width / 2 + width * (i + 0.5) / doors
        piece.box(style.cabinet, (width / doors - 0.015, 0.64, 0.02), (x, 0.11, depth - 0.01))
        side = 1 if i % 2 == 0 else -1
        hold = x + side * (width / doors / 2 - 0.05)
        piece.rod(style.metal, (hold, 0.5, depth + 0.025), (hold, 0.62, depth + 0.025), 0.007, 6)
    basin = room.scene.piece("Sink", at, yaw)
    _basin(basin, (0.22, 0.17), 0.8, 0.9, 0.27)
    faucet(room, at, yaw, (0, 0.815, 0.07), 0.2)
    for side in (-1, 1):
        room_beside = width / 2 - 0.25
        if room_beside > 0.12:
            piece.top(room_beside - 0.02, depth - 0.08, 0.815, (side * (0.24 + room_beside / 2), depth / 2))
    return piece


def bathtub(room: Room, at: Vector, yaw: float, length: float = 1.6) -> Piece:
    """A tub, panelled or standing free, with taps at one end and sometimes a curtain."""
    piece = room.scene.piece("Bathtub", at, yaw, solid=True)
    half, deep, height = length / 2, 0.37, 0.56
    white = m.PORCELAIN
    if room.chance(0.65):
        piece.box(white, (length, height - 0.03, 0.72), (0, 0, 0.375))
        piece.box(
            m.plain("tub panel", (0.86, 0.86, 0.84), specular=0.3),
            (length - 0.06, height - 0.1, 0.012),
            (0, 0.03, 0.738),
        )
        rim = [(half, deep, height - 0.03), (half, deep, height), (half - 0.06, deep - 0.06, height)]
        exponent = 14.0
    else:
        piece.loft(
            white,
            [(half * 0.75, deep * 0.75, 0), (half * 0.8, deep * 0.82, 0.05), (half, deep, height - 0.03)],
            (0, 0, 0.38),
            28,
            3.5,
        )
        rim = [(half, deep, height - 0.03), (half, deep, height), (half - 0.06, deep - 0.06, height)]
        exponent = 3.5
    piece.loft(white, rim, (0, 0, 0.38), 28, exponent)
    inner = [
        (half - 0.06, deep - 0.06, height),
        (half - 0.12, deep - 0.1, height - 0.25),
        (half - 0.22, deep - 0.16, 0.16),
        (0, 0, 0.15),
    ]
    piece.loft(
        m.plain("tub inside", (0.84, 0.85, 0.85), specular=0.4, shininess=0.8), inner, (0, 0, 0.38), 28, exponent
    )
    side = room.pick([-1, 1])
    x = side * (half - 0.03)
    piece.rod(m.CHROME, (x, height, 0.38), (x, height + 0.12, 0.38), 0.018)
    piece.rod(m.CHROME, (x, height + 0.11, 0.38), (x - side * 0.14, height + 0.1, 0.38), 0.014)
    for z in (0.3, 0.46):
        piece.ball(m.CHROME, (0.026, 0.026, 0.026), (x, height + 0.03, z))
    if room.chance(0.5):
        _shower_curtain(room, at, yaw, length, side)
    return piece


def _shower_curtain(room: Room, at: Vector, yaw: float, length: float, side: int) -> None:
    piece = room.scene.piece("ShowerCurtain", at, yaw)
    piece.rod(m.CHROME, (-length / 2, 2.0, 0.78), (length / 2, 2.0, 0.78), 0.012)
    piece.add(room.style.second_cloth, drape(0.5, 1.75, 5, 0.028), (-side * (length / 2 - 0.25), 1.98, 0.79))
    room.taken.append(piece.footprint)
    head = room.scene.piece("ShowerHead", at, yaw)
    x = side * (length / 2 - 0.02)
    head.rod(m.CHROME, (x, 2.05, 0.38), (x - side * 0.2, 1.98, 0.38), 0.011)
    head.add(m.CHROME, cylinder(0.06, 0.03, 14), (x - side * 0.2, 1.94, 0.38))


def shower(room: Room, at: Vector, yaw: float) -> Piece:
    """A tray with two glass screens in metal frames; stands in a corner or against a wall."""
    piece = room.scene.piece("ShowerDoor", at, yaw, solid=True)
    side, height = 0.9, 1.95
    piece.box(m.PORCELAIN, (side, 0.1, side), (0, 0, side / 2))
    metal = m.CHROME
    for x in (-side / 2 + 0.015, side / 2 - 0.015):
        piece.box(metal, (0.03, height, 0.03), (x, 0.1, side - 0.02))
        piece.box(metal, (0.03, 0.03, side), (x, 0.1 + height - 0.03, side / 2))
        piece.box(m.GLASS, (0.008, height - 0.05, side - 0.05), (x, 0.11, side / 2))
    piece.box(metal, (side, 0.03, 0.03), (0, 0.1 + height - 0.03, side - 0.02))
    piece.box(m.GLASS, (side - 0.06, height - 0.06, 0.008), (0, 0.11, side - 0.02))
    piece.rod(metal, (0.1, 0.9, side + 0.01), (0.1, 1.3, side + 0.01), 0.012)
    piece.rod(metal, (0, 1.1, 0.03), (0, 2.0, 0.03), 0.012)
    piece.rod(metal, (0, 2.0, 0.03), (0, 1.97, 0.2), 0.012)
    piece.add(metal, cylinder(0.08, 0.025, 16), (0, 1.94, 0.2))
    piece.box(metal, (0.16, 0.05, 0.05), (0, 1.05, 0.03))
    return piece


def bath_cabinet(room: Room, at: Vector, yaw: float) -> Piece:
    """A narrow tall cupboard with an open shelf."""
    piece = room.scene.piece("Cabinet", at, yaw, solid=True)
    skin = room.style.cabinet
    for y, h in ((0.05, 0.75), (1.15, 0.6)):
        piece.box(skin, (0.36, h, 0.3), (0, y, 0.15))
        piece.box(skin, (0.34, h - 0.03, 0.018), (0, y + 0.015, 0.305))
        piece.ball(room.style.metal, (0.014, 0.014, 0.014), (0.12, y + h / 2, 0.325))
    piece.box(skin, (0.36, 0.35, 0.02), (0, 0.8, 0.01))
    for x in (-0.17, 0.17):
        piece.box(skin, (0.02, 0.35, 0.3), (x, 0.8, 0.15))
    piece.top(0.3, 0.26, 0.8, (0, 0.16))
    return piece
