"""Kitchen and laundry machines. Standing ones: origin at the middle of the back edge; small ones: base centre."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Material, Piece, Vector
from rlleak.simulators.rooms.geometry import cylinder, rotation_x
from rlleak.simulators.rooms.patterns import shaded

#: Where pots stand, above the floor.
HOB_HEIGHT = 0.936


def _finish(room: Room) -> Material:
    return room.pick([m.steel(), m.steel(), m.WHITE, m.BLACK])


def fridge(room: Room, at: Vector, yaw: float) -> Piece:
    """Two doors, one above the other or side by side, with long handles."""
    skin = room.pick([m.steel(), m.steel(), m.WHITE, m.plain("grey enamel", (0.36, 0.37, 0.39), specular=0.4)])
    piece = room.scene.piece("Fridge", at, yaw, solid=True)
    width, height = 0.78, 1.78
    side = (0.5, 0.5, 0.52) if skin.texture is not None else shaded(skin.colour, 0.85)
    piece.box(m.plain("fridge side", side), (width, height - 0.05, 0.62), (0, 0.05, 0.33))
    piece.box(m.SHADE, (width - 0.06, 0.06, 0.56), (0, 0, 0.31))
    if room.chance(0.5):
        for y, h in ((0.07, 1.12), (1.21, 0.56)):
            piece.cushion(skin, (width, h, 0.07), (0, y, 0.68), 0.015)
            low = y + h - 0.5 if y < 1 else y + 0.06
            _bar(piece, -width / 2 + 0.06, low, low + (0.42 if y < 1 else 0.3), 0.745)
    else:
        for side in (-1, 1):
            piece.cushion(skin, (width / 2 - 0.006, height - 0.08, 0.07), (side * width / 4, 0.07, 0.68), 0.015)
            _bar(piece, side * 0.05, 0.75, 1.35, 0.745)
        piece.box(m.BLACK, (0.17, 0.3, 0.012), (-width / 4 - 0.02, 1.05, 0.717))
    piece.top(width - 0.1, 0.5, height, (0, 0.33))
    return piece


def _bar(piece: Piece, x: float, low: float, high: float, z: float) -> None:
    piece.rod(m.CHROME, (x, low, z), (x, high, z), 0.012)
    for y in (low + 0.03, high - 0.03):
        piece.rod(m.CHROME, (x, y, z - 0.035), (x, y, z), 0.008, 6)


def stove(room: Room, at: Vector, yaw: float) -> Piece:
    """An oven under a hob with four burners and a row of knobs."""
    skin = _finish(room)
    piece = room.scene.piece("Stove", at, yaw, solid=True)
    piece.box(skin, (0.6, 0.87, 0.58), (0, 0.03, 0.29))
    piece.box(m.BLACK, (0.6, 0.012, 0.6), (0, 0.9, 0.3))
    piece.box(skin, (0.6, 0.16, 0.05), (0, 0.9, 0.025))
    piece.box(skin, (0.58, 0.52, 0.03), (0, 0.17, 0.595))
    piece.box(m.DARK_GLASS, (0.42, 0.28, 0.012), (0, 0.26, 0.613))
    piece.rod(m.CHROME, (-0.24, 0.64, 0.645), (0.24, 0.64, 0.645), 0.012)
    for x in (-0.24, 0.24):
        piece.rod(m.CHROME, (x, 0.64, 0.6), (x, 0.64, 0.645), 0.009, 6)
    for i in range(5):
        piece.add(m.BLACK, cylinder(0.022, 0.03, 10), (-0.22 + 0.11 * i, 0.79, 0.58), rotation_x(90))
    piece.sheet(m.buttons(), 0.14, 0.08, (0, 0.99, 0.051))
    for x in (-0.14, 0.14):
        for z in (0.17, 0.43):
            burner = room.scene.piece("StoveBurner", piece.local((x, 0.912, z)), yaw)
            burner.cylinder(m.DARK_METAL, 0.045, 0.012, (0, 0, 0), 12)
            for dx, dz in ((0.19, 0.012), (0.012, 0.19)):
                burner.box(m.DARK_METAL, (dx, 0.01, dz), (0, 0.014, 0))
    return piece


def hood(room: Room, at: Vector, yaw: float) -> Piece:
    """An extractor over the hob; `at` is the bottom of its back edge."""
    steel = m.steel()
    piece = room.scene.piece("StoveHood", at, yaw, solid=True)
    piece.box(steel, (0.6, 0.06, 0.48), (0, 0, 0.24))
    piece.loft(
        steel,
        [(0.3, 0.24, 0.0, 0.24), (0.12, 0.11, 0.22, 0.13), (0.12, 0.11, room.scene.height - at[1] - 0.06, 0.13)],
        (0, 0.06, 0),
        24,
        12,
    )
    return piece


def dishwasher(room: Room, at: Vector, yaw: float) -> Piece:
    """A machine under the worktop."""
    skin = _finish(room)
    piece = room.scene.piece("Dishwasher", at, yaw, solid=True)
    piece.box(skin, (0.58, 0.74, 0.58), (0, 0.1, 0.29))
    piece.box(m.SHADE, (0.58, 0.1, 0.5), (0, 0, 0.25))
    piece.box(skin, (0.56, 0.58, 0.025), (0, 0.12, 0.592))
    piece.box(m.BLACK, (0.56, 0.1, 0.025), (0, 0.73, 0.592))
    piece.rod(m.CHROME, (-0.2, 0.66, 0.63), (0.2, 0.66, 0.63), 0.012)
    piece.box(room.style.counter, (0.6, 0.04, 0.62), (0, 0.86, 0.31))
    piece.box(skin, (0.58, 0.02, 0.56), (0, 0.84, 0.29))
    piece.top(0.56, 0.52, 0.9, (0, 0.3))
    return piece


def washing_machine(room: Room, at: Vector, yaw: float) -> Piece:
    """A front loader with its round door."""
    piece = room.scene.piece("WashingMachine", at, yaw, solid=True)
    piece.cushion(m.WHITE, (0.6, 0.85, 0.56), (0, 0, 0.29), 0.02)
    piece.add(m.CHROME, cylinder(0.19, 0.03, 24), (0, 0.42, 0.565), rotation_x(90))
    piece.add(m.DARK_GLASS, cylinder(0.145, 0.045, 24), (0, 0.42, 0.565), rotation_x(90))
    piece.box(m.plain("panel", (0.80, 0.81, 0.82), specular=0.2), (0.56, 0.1, 0.012), (0, 0.72, 0.572))
    piece.box(m.DARK_GLASS, (0.14, 0.05, 0.012), (0.12, 0.745, 0.58))
    piece.top(0.54, 0.5, 0.85, (0, 0.29))
    return piece


def microwave(room: Room, at: Vector, yaw: float) -> Piece:
    """Door with a window on the left, buttons on the right."""
    skin = room.pick([m.steel(), m.BLACK, m.WHITE])
    piece = room.scene.piece("Microwave", at, yaw)
    piece.cushion(skin, (0.48, 0.28, 0.36), (0, 0.01, 0), 0.012)
    piece.box(m.DARK_GLASS, (0.27, 0.17, 0.012), (0.07, 0.065, 0.18))
    piece.sheet(m.buttons(), 0.1, 0.22, (-0.17, 0.15, 0.183))
    piece.rod(m.CHROME, (-0.09, 0.06, 0.21), (-0.09, 0.24, 0.21), 0.009, 6)
    for x in (-0.2, 0.2):
        piece.box(m.BLACK, (0.03, 0.012, 0.3), (x, 0, 0))
    return piece


def toaster(room: Room, at: Vector, yaw: float) -> Piece:
    """Two slots and a lever."""
    skin = room.pick([m.steel(), m.steel(), m.plain("toaster", room.style.palette[1], specular=0.5), m.WHITE])
    piece = room.scene.piece("Toaster", at, yaw)
    piece.cushion(skin, (0.28, 0.18, 0.17), (0, 0.012, 0), 0.035)
    piece.box(m.BLACK, (0.26, 0.014, 0.15), (0, 0, 0))
    for z in (-0.035, 0.035):
        piece.box(m.SHADE, (0.2, 0.004, 0.028), (0, 0.19, z))
    piece.box(m.BLACK, (0.02, 0.02, 0.04), (0.148, 0.12, 0))
    return piece


def coffee_machine(room: Room, at: Vector, yaw: float) -> Piece:
    """A filter machine: water tank, arm, hot plate and jug."""
    skin = room.pick([m.BLACK, m.steel(), m.plain("red enamel", (0.55, 0.14, 0.12), specular=0.5)])
    piece = room.scene.piece("CoffeeMachine", at, yaw)
    piece.box(skin, (0.2, 0.03, 0.27), (0, 0, 0))
    piece.cushion(skin, (0.2, 0.33, 0.1), (0, 0.02, -0.085), 0.02)
    piece.cushion(skin, (0.2, 0.09, 0.25), (0, 0.26, 0), 0.02)
    jug = [(0, 0, 0), (0.065, 0.065, 0), (0.075, 0.075, 0.06), (0.05, 0.05, 0.13), (0.055, 0.055, 0.15)]
    piece.loft(m.DARK_GLASS, jug, (0, 0.035, 0.045))
    piece.cylinder(m.BLACK, 0.055, 0.02, (0, 0.18, 0.045))
    piece.rod(m.BLACK, (0.07, 0.07, 0.06), (0.085, 0.16, 0.07), 0.01, 6)
    return piece


def kettle(room: Room, at: Vector, yaw: float) -> Piece:
    """A round body, a spout and an arched handle."""
    skin = room.pick([m.CHROME, m.plain("kettle", room.style.palette[1], specular=0.5), m.BLACK])
    piece = room.scene.piece("Kettle", at, yaw)
    piece.revolve(skin, [(0, 0), (0.09, 0), (0.1, 0.05), (0.075, 0.13), (0.03, 0.165), (0, 0.165)], (0, 0, 0))
    piece.ball(m.BLACK, (0.015, 0.015, 0.015), (0, 0.175, 0))
    piece.rod(skin, (0.08, 0.08, 0), (0.14, 0.14, 0), 0.016)
    for a, b in (((-0.08, 0.12), (-0.07, 0.21)), ((-0.07, 0.21), (0.07, 0.21)), ((0.07, 0.21), (0.075, 0.13))):
        piece.rod(m.BLACK, (a[0], a[1], 0), (b[0], b[1], 0), 0.011, 6)
    return piece
