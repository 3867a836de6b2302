"""Small things of living rooms, bedrooms and studies; base centres at `at`."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms import pictures
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Piece, Vector
from rlleak.simulators.rooms.geometry import cylinder, rotation_x
from rlleak.simulators.rooms.patterns import shaded
from rlleak.simulators.rooms.shell import FACE_UP


def book(room: Room, at: Vector, yaw: float) -> Piece:
    """One to three books lying on each other."""
    piece = room.scene.piece("Book", at, yaw)
    y = 0.0
    for _ in range(int(room.rng.integers(1, 4))):
        image = pictures.cover(room.rng)
        front = m.picture("cover", image, specular=0.15)
        thick, width, depth = room.between(0.02, 0.045), room.between(0.15, 0.19), room.between(0.21, 0.25)
        piece.box(m.PAPER, (width - 0.008, thick - 0.008, depth - 0.008), (0, y + 0.004, 0))
        colour = m.plain("binding", shaded(tuple(image[2, 2] / 255.0), 1.0), specular=0.1)
        piece.box(colour, (width, 0.004, depth), (0, y, 0))
        piece.box(colour, (0.004, thick, depth), (-width / 2, y, 0))
        piece.box(colour, (width, 0.004, depth), (0, y + thick - 0.004, 0))
        piece.sheet(front, width, depth, (0, y + thick + 0.001, 0), FACE_UP)
        y += thick + 0.0015
    return piece


def box(room: Room, at: Vector, yaw: float) -> Piece:
    """A cardboard box with tape and a label."""
    piece = room.scene.piece("Box", at, yaw)
    card = m.plain("cardboard", (0.62, 0.48, 0.33), specular=0.0)
    width, height, depth = room.between(0.26, 0.4), room.between(0.16, 0.26), room.between(0.22, 0.3)
    piece.box(card, (width, height, depth), (0, 0, 0))
    piece.box(m.plain("tape", (0.76, 0.66, 0.48), specular=0.2), (width + 0.004, 0.003, 0.05), (0, height, 0))
    piece.box(m.PAPER, (0.1, 0.06, 0.002), (width * 0.2, height * 0.4, depth / 2))
    return piece


def laptop(room: Room, at: Vector, yaw: float) -> Piece:
    """Open, its screen lit."""
    piece = room.scene.piece("Laptop", at, yaw)
    shell = room.pick([m.steel(), m.plain("laptop", (0.25, 0.26, 0.28), specular=0.3)])
    piece.box(shell, (0.34, 0.016, 0.24), (0, 0, 0))
    piece.sheet(m.keys(), 0.3, 0.12, (0, 0.017, -0.03), FACE_UP)
    piece.box(m.DARK_METAL, (0.1, 0.001, 0.06), (0, 0.016, 0.08))
    lid, tilt = (0, 0.014, -0.12), rotation_x(-18)
    piece.box(shell, (0.34, 0.23, 0.01), lid, tilt)
    lit = m.picture("screen", pictures.screen(on=True), emission=0.7, specular=0.1)
    glass = tilt @ [0.0, 0.117, 0.006]
    piece.sheet(lit, 0.315, 0.205, (0, lid[1] + glass[1], lid[2] + glass[2]), tilt)
    return piece


def television(room: Room, at: Vector, yaw: float, width: float = 1.0) -> Piece:
    """A flat screen on its foot, off or on."""
    piece = room.scene.piece("Television", at, yaw)
    height = width * 0.58
    piece.box(m.BLACK, (width * 0.4, 0.02, 0.2), (0, 0, 0))
    piece.box(m.BLACK, (0.08, 0.08, 0.04), (0, 0.02, -0.02))
    piece.box(m.BLACK, (width, height, 0.045), (0, 0.08, 0))
    on = room.chance(0.5)
    image = pictures.landscape(room.rng) if on else pictures.screen(on=False)
    face = m.picture("television", image, emission=0.6 if on else 0.0, specular=0.4, shininess=0.9)
    piece.sheet(face, width - 0.05, height - 0.05, (0, 0.08 + height / 2, 0.024))
    return piece


def remote_control(room: Room, at: Vector, yaw: float) -> Piece:
    """A handset with buttons."""
    piece = room.scene.piece("RemoteControl", at, yaw)
    piece.cushion(m.BLACK, (0.05, 0.02, 0.18), (0, 0, 0), 0.008)
    piece.sheet(m.buttons(), 0.036, 0.13, (0, 0.0215, 0.0), FACE_UP)
    return piece


def cell_phone(room: Room, at: Vector, yaw: float) -> Piece:
    """A phone lying on its back."""
    piece = room.scene.piece("CellPhone", at, yaw)
    piece.cushion(m.BLACK, (0.075, 0.009, 0.15), (0, 0, 0), 0.004)
    lit = m.picture("phone", pictures.screen(on=room.chance(0.6)), emission=0.5, specular=0.4)
    piece.sheet(lit, 0.066, 0.13, (0, 0.0102, 0), FACE_UP)
    return piece


def alarm_clock(room: Room, at: Vector, yaw: float) -> Piece:
    """A round clock on feet with bells, or a box with a face."""
    piece = room.scene.piece("AlarmClock", at, yaw)
    skin = m.plain("clock", room.pick([room.style.palette[1], (0.15, 0.15, 0.17), (0.85, 0.83, 0.78)]), specular=0.4)
    if room.chance(0.5):
        piece.add(skin, cylinder(0.065, 0.05, 20), (0, 0.08, -0.025), rotation_x(90))
        for x in (-0.035, 0.035):
            piece.rod(room.style.metal, (x * 1.2, 0, 0), (x * 0.8, 0.03, 0), 0.006, 6)
            piece.ball(room.style.metal, (0.022, 0.018, 0.022), (x, 0.148, 0))
    else:
        piece.cushion(skin, (0.13, 0.13, 0.06), (0, 0.015, -0.005), 0.015)
    piece.sheet(m.dial(), 0.092, 0.092, (0, 0.08, 0.027))
    return piece


def newspaper(room: Room, at: Vector, yaw: float) -> Piece:
    """A folded paper."""
    piece = room.scene.piece("Newspaper", at, yaw)
    piece.box(m.PAPER, (0.28, 0.012, 0.36), (0, 0, 0))
    piece.sheet(
        m.picture("newsprint", pictures.printed_page(room.rng), specular=0.0), 0.28, 0.36, (0, 0.0135, 0), FACE_UP
    )
    return piece


def statue(room: Room, at: Vector, yaw: float) -> Piece:
    """A figure on a plinth."""
    piece = room.scene.piece("Statue", at, yaw)
    stuff = room.pick([m.BRASS, m.DARK_METAL, m.plain("alabaster", (0.85, 0.82, 0.76), specular=0.3)])
    piece.box(m.BLACK, (0.1, 0.03, 0.1), (0, 0, 0))
    piece.loft(
        stuff,
        [(0.03, 0.03, 0.03), (0.045, 0.035, 0.12), (0.025, 0.022, 0.18), (0.05, 0.03, 0.25), (0.016, 0.016, 0.28)],
        (0, 0, 0),
        12,
    )
    piece.ball(stuff, (0.028, 0.035, 0.03), (0, 0.31, 0))
    return piece


def teddy_bear(room: Room, at: Vector, yaw: float) -> Piece:
    """A seated bear."""
    piece = room.scene.piece("TeddyBear", at, yaw)
    fur = m.plain("fur", room.pick([(0.55, 0.36, 0.20), (0.70, 0.54, 0.36), (0.40, 0.28, 0.20)]), specular=0.0)
    pale = m.plain("muzzle", (0.80, 0.68, 0.52), specular=0.0)
    piece.ball(fur, (0.09, 0.11, 0.08), (0, 0.11, 0))
    piece.ball(fur, (0.075, 0.07, 0.07), (0, 0.27, 0.01))
    piece.ball(pale, (0.032, 0.026, 0.03), (0, 0.255, 0.07))
    piece.ball(m.BLACK, (0.011, 0.009, 0.009), (0, 0.265, 0.098))
    for x in (-1, 1):
        piece.ball(fur, (0.028, 0.028, 0.015), (x * 0.055, 0.335, 0))
        piece.ball(fur, (0.032, 0.075, 0.034), (x * 0.1, 0.14, 0.03))
        piece.ball(fur, (0.038, 0.036, 0.08), (x * 0.06, 0.036, 0.09))
        piece.ball(m.BLACK, (0.009, 0.009, 0.006), (x * 0.026, 0.292, 0.073))
    return piece


def basket_ball(room: Room, at: Vector, yaw: float) -> Piece:
    """A ball with its seams."""
    piece = room.scene.piece("BasketBall", at, yaw)
    piece.ball(m.plain("basketball", (0.76, 0.36, 0.14), specular=0.1), (0.12, 0.12, 0.12), (0, 0.12, 0))
    seam = cylinder(0.1212, 0.005, 20)
    piece.add(m.BLACK, seam, (0, 0.1175, 0))
    piece.add(m.BLACK, seam, (0, 0.12, -0.0025), rotation_x(90))
    return piece


def candle(room: Room, at: Vector, yaw: float) -> Piece:
    """A pillar of wax on a saucer."""
    piece = room.scene.piece("Candle", at, yaw)
    piece.cylinder(room.style.metal, 0.05, 0.012, (0, 0, 0))
    wax = m.plain("wax", room.pick([(0.92, 0.88, 0.76), (0.74, 0.46, 0.40), (0.60, 0.68, 0.60)]), specular=0.2)
    piece.cylinder(wax, 0.034, 0.11, (0, 0.012, 0))
    piece.rod(m.BLACK, (0, 0.12, 0), (0, 0.135, 0), 0.002, 5)
    return piece


def garbage_can(room: Room, at: Vector, yaw: float) -> Piece:
    """A bin: a steel one with a lid, or an open basket."""
    piece = room.scene.piece("GarbageCan", at, yaw, solid=True)
    if room.chance(0.5):
        skin = room.pick([m.steel(), m.BLACK, m.WHITE])
        piece.cylinder(skin, 0.14, 0.42, (0, 0, 0), 20)
        piece.revolve(m.BLACK, [(0.145, 0), (0.14, 0.03), (0.05, 0.06), (0, 0.06)], (0, 0.42, 0), 20)
        piece.box(m.BLACK, (0.08, 0.02, 0.06), (0, 0.02, 0.15))
    else:
        skin = room.pick([m.basket(), m.plain("bin", room.style.palette[4], specular=0.2)])
        piece.revolve(skin, [(0, 0), (0.11, 0), (0.15, 0.32), (0.14, 0.32), (0.105, 0.05)], (0, 0, 0), 18)
        piece.revolve(m.PAPER, [(0.12, 0.2), (0.05, 0.25), (0, 0.24)], (0, 0, 0), 9)
    return piece
