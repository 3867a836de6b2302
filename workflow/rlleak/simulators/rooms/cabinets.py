"""Storage: kitchen units, dressers, shelves, wardrobes. Origins are at the middle of the back edge, on the floor."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms import pictures
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Material, Piece, Vector

COUNTER_HEIGHT = 0.9
COUNTER_DEPTH = 0.6


def _front(
    piece: Piece, material: Material, size: tuple[float, float], at: Vector, handle: Material, knob: str
) -> None:
    """A door or drawer front (width, height) with a raised panel and a handle; `at` is its bottom centre."""
    width, height = size
    x, y, z = at
    piece.box(material, (width - 0.012, height - 0.012, 0.02), (x, y + 0.006, z + 0.01))
    if width > 0.22 and height > 0.3:
        for dx, dy, w, h in ((0, 0.012, width - 0.03, 0.05), (0, height - 0.06, width - 0.03, 0.05)):
            piece.box(material, (w, h, 0.012), (x + dx, y + dy, z + 0.026))
        for side in (-1, 1):
            piece.box(material, (0.05, height - 0.03, 0.012), (x + side * (width / 2 - 0.04), y + 0.015, z + 0.026))
    if knob == "drawer":
        piece.rod(handle, (x - 0.05, y + height * 0.62, z + 0.045), (x + 0.05, y + height * 0.62, z + 0.045), 0.007, 6)
    else:
        side = {"left": -1, "right": 1}[knob]
        at_x = x + side * (width / 2 - 0.045)
        low = y + (height * 0.62 if y < 1.0 else height * 0.12)
        piece.rod(handle, (at_x, low, z + 0.05), (at_x, low + 0.12, z + 0.05), 0.007, 6)


def base_cabinet(room: Room, at: Vector, yaw: float, width: float, drawers: bool = False) -> Piece:
    """A kitchen unit under a stretch of worktop."""
    style = room.style
    piece = room.scene.piece("Cabinet", at, yaw, solid=True)
    piece.box(style.cabinet, (width, COUNTER_HEIGHT - 0.14, 0.56), (0, 0.1, 0.28))
    piece.box(m.SHADE, (width, 0.1, 0.5), (0, 0, 0.25))
    piece.box(style.counter, (width, 0.04, COUNTER_DEPTH + 0.02), (0, COUNTER_HEIGHT - 0.04, COUNTER_DEPTH / 2 + 0.01))
    doors = max(1, round(width / 0.45))
    for i in range(doors):
        x, w = -width / 2 + width * (i + 0.5) / doors, width / doors
        if drawers and i % 2 == 0:
            for k in range(3):
                _front(piece, style.cabinet, (w, 0.24), (x, 0.12 + 0.245 * k, 0.56), style.metal, "drawer")
        else:
            _front(piece, style.cabinet, (w, 0.16), (x, 0.69, 0.56), style.metal, "drawer")
            _front(piece, style.cabinet, (w, 0.56), (x, 0.12, 0.56), style.metal, "right" if i % 2 == 0 else "left")
    piece.top(width - 0.04, COUNTER_DEPTH - 0.08, COUNTER_HEIGHT, (0, COUNTER_DEPTH / 2))
    return piece


def sink_cabinet(room: Room, at: Vector, yaw: float, width: float = 0.9) -> Piece:
    """A unit whose worktop holds a steel basin and a tap."""
    piece = base_cabinet(room, at, yaw, width)
    piece.tops.clear()
    basin = room.scene.piece("Sink", at, yaw)
    wide, deep = 0.28, 0.19
    outer, inner = (wide + 0.03, deep + 0.03), (wide - 0.02, deep - 0.02)
    rim = [(*outer, 0.0), (*outer, 0.012), (wide, deep, 0.012), (*inner, 0.006)]
    basin.loft(m.steel(), rim, (0, COUNTER_HEIGHT, 0.34), segments=24, exponent=7)
    dark = m.plain("basin", (0.34, 0.35, 0.36), specular=0.4)
    basin.loft(
        dark, [(wide - 0.02, deep - 0.02, 0.006), (0.03, 0.03, 0.003), (0, 0, 0.003)], (0, COUNTER_HEIGHT, 0.34), 24, 7
    )
    faucet(room, at, yaw, (0, COUNTER_HEIGHT, 0.1))
    return piece


def faucet(room: Room, at: Vector, yaw: float, base: Vector, height: float = 0.26) -> Piece:
    """A tap with a swan neck and a lever."""
    piece = room.scene.piece("Faucet", at, yaw)
    x, y, z = base
    piece.cylinder(m.CHROME, 0.025, 0.03, base)
    piece.rod(m.CHROME, (x, y + 0.02, z), (x, y + height * 0.8, z), 0.012)
    piece.rod(m.CHROME, (x, y + height * 0.8, z), (x, y + height, z + 0.06), 0.012)
    piece.rod(m.CHROME, (x, y + height, z + 0.06), (x, y + height * 0.9, z + 0.15), 0.012)
    piece.rod(m.CHROME, (x, y + height * 0.9, z + 0.15), (x, y + height * 0.72, z + 0.16), 0.011)
    piece.rod(m.CHROME, (x + 0.01, y + 0.06, z), (x + 0.08, y + 0.1, z), 0.008)
    return piece


def wall_cabinet(room: Room, at: Vector, yaw: float, width: float, height: float = 0.7) -> Piece:
    """A cupboard on the wall; `at` is the bottom of its back edge."""
    style = room.style
    piece = room.scene.piece("Cabinet", at, yaw, solid=True)
    piece.box(style.cabinet, (width, height, 0.32), (0, 0, 0.16))
    piece.box(style.cabinet, (width + 0.03, 0.05, 0.36), (0, height, 0.17))
    doors = max(1, round(width / 0.42))
    for i in range(doors):
        x = -width / 2 + width * (i + 0.5) / doors
        _front(
            piece, style.cabinet, (width / doors, height), (x, 0, 0.32), style.metal, "right" if i % 2 == 0 else "left"
        )
    return piece


def dresser(room: Room, at: Vector, yaw: float, width: float = 1.1, rows: int = 3) -> Piece:
    """A chest of drawers."""
    wood, handle = room.style.wood, room.style.metal
    height = 0.12 + 0.22 * rows
    piece = room.scene.piece("Dresser", at, yaw, solid=True)
    piece.box(wood, (width, height - 0.1, 0.44), (0, 0.08, 0.23))
    piece.box(wood, (width + 0.05, 0.03, 0.49), (0, height - 0.02, 0.245))
    for x in (-width / 2 + 0.05, width / 2 - 0.05):
        for z in (0.06, 0.4):
            piece.box(wood, (0.06, 0.08, 0.06), (x, 0, z))
    columns = 2 if width > 0.8 else 1
    for row in range(rows):
        for column in range(columns):
            x = -width / 2 + width * (column + 0.5) / columns
            _front(piece, wood, (width / columns - 0.02, 0.21), (x, 0.1 + 0.22 * row, 0.45), handle, "drawer")
    piece.top(width - 0.06, 0.4, height + 0.01, (0, 0.24))
    return piece


def wardrobe(room: Room, at: Vector, yaw: float, width: float = 1.1) -> Piece:
    """A tall cupboard with two or three doors and a cornice."""
    wood = room.style.wood if room.chance(0.6) else room.style.cabinet
    piece = room.scene.piece("Wardrobe", at, yaw, solid=True)
    piece.box(wood, (width, 1.95, 0.55), (0, 0.06, 0.275))
    piece.box(wood, (width + 0.08, 0.07, 0.61), (0, 2.01, 0.3))
    piece.box(m.SHADE, (width - 0.06, 0.06, 0.5), (0, 0, 0.26))
    doors = 3 if width > 1.2 else 2
    for i in range(doors):
        x = -width / 2 + width * (i + 0.5) / doors
        _front(piece, wood, (width / doors, 1.88), (x, 0.09, 0.55), room.style.metal, "left" if i else "right")
    return piece


def bookshelf(room: Room, at: Vector, yaw: float, width: float = 0.8, height: float = 1.8) -> Piece:
    """Open shelves full of books, with an ornament here and there."""
    wood = room.style.wood
    piece = room.scene.piece("ShelvingUnit", at, yaw, solid=True)
    depth, shelves = 0.3, max(2, round(height / 0.36))
    piece.box(wood, (width, height, 0.02), (0, 0, 0.01))
    for x in (-width / 2 + 0.012, width / 2 - 0.012):
        piece.box(wood, (0.024, height, depth), (x, 0, depth / 2))
    spines = [m.picture(f"books {i}", pictures.book_spines(room.rng), specular=0.05) for i in range(2)]
    step = (height - 0.1) / shelves
    for i in range(shelves + 1):
        y = 0.06 + i * step
        piece.box(wood, (width - 0.03, 0.022, depth - 0.01), (0, y, depth / 2))
        if i == shelves:
            break
        share = room.between(0.45, 0.95)
        long = (width - 0.06) * share
        side = room.pick([-1, 1])
        x = side * (width / 2 - 0.03 - long / 2)
        piece.box(room.pick(spines), (long, min(0.27, step * 0.84), 0.2), (x, y + 0.022, 0.13))
        if share < 0.8:
            tint = m.plain("ornament", room.pick(room.style.palette[1:]), specular=0.3)
            x = -side * (width / 2 - 0.1)
            rings = [
                (0, 0, 0),
                (0.05, 0.05, 0),
                (0.07, 0.07, 0.08),
                (0.03, 0.03, 0.15),
                (0.035, 0.035, 0.18),
                (0, 0, 0.18),
            ]
            piece.loft(tint, rings, (x, y + 0.022, 0.15), segments=12)
    piece.top(width - 0.06, depth - 0.04, height - 0.018, (0, depth / 2))
    return piece


def wall_shelf(room: Room, at: Vector, yaw: float, width: float = 0.8) -> Piece:
    """A board on brackets; `at` is on the wall at the board's height."""
    piece = room.scene.piece("Shelf", at, yaw)
    piece.box(room.style.wood, (width, 0.025, 0.22), (0, 0, 0.11))
    for x in (-width * 0.38, width * 0.38):
        piece.box(room.style.metal, (0.02, 0.14, 0.015), (x, -0.14, 0.0075))
        piece.rod(room.style.metal, (x, -0.12, 0.015), (x, -0.005, 0.16), 0.008, 6)
    piece.top(width - 0.04, 0.19, 0.025, (0, 0.115))
    return piece
