"""The building: floor, walls with their windows and doors, ceiling, skirting; light and shade lie in their textures.

Soft contact shadows of furniture, darker corners and the pool of daylight are painted into the floor's and walls'
textures, as game engines bake their light maps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rlleak.simulators.rooms import materials, pictures
from rlleak.simulators.rooms.arrangement import WALLS, Opening, Room
from rlleak.simulators.rooms.builder import Footprint, Material, Piece
from rlleak.simulators.rooms.geometry import drape, rotation_y, sheet
from rlleak.simulators.rooms.patterns import to_bytes

_PIXELS_PER_METRE = 72
#: What is too thin or airy to shade the wall as the box around it would.
_SHADOWLESS = (None, "ShowerCurtain", "ShowerHead", "ShowerDoor", "Curtains", "Window", "Doorway")
_FLAT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
#: Turns a sheet that faces +z so that it faces up, or down.
FACE_UP, FACE_DOWN = _FLAT, np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def build_shell(room: Room) -> None:
    """Add floor, ceiling, walls, windows, doors and skirting; furniture must already stand."""
    shell = room.scene.piece(None, (0, 0, 0))
    _floor(room, shell)
    _ceiling(room, shell)
    _masonry(room, shell)
    for wall in WALLS:
        _wall(room, wall)
    for window in room.windows:
        _window(room, window)
    for door in room.doors:
        _door(room, door)


def _metric_grid(width: float, height: float, scale: float = _PIXELS_PER_METRE) -> tuple[np.ndarray, np.ndarray]:
    """u rightwards and v upwards in metres from the lower left corner; the first row is the highest v."""
    columns, rows = max(8, round(width * scale)), max(8, round(height * scale))
    return np.meshgrid((np.arange(columns) + 0.5) * width / columns, (np.arange(rows)[::-1] + 0.5) * height / rows)


def _corner_shade(u: np.ndarray, v: np.ndarray, width: float, height: float, depth: float) -> np.ndarray:
    """Less light reaches where surfaces meet."""
    shade = np.ones_like(u)
    for distance in (u, width - u, v, height - v):
        shade *= 1 - depth * np.exp(-distance / 0.22)
    return shade


def _stain(shade: np.ndarray, u: np.ndarray, v: np.ndarray, low, high, depth: float, blur: float) -> None:
    """Darken a rectangle with soft edges, in place."""
    across, up = u[0], v[:, 0]
    along = np.clip((across - low[0]) / blur + 0.5, 0, 1) * np.clip((high[0] - across) / blur + 0.5, 0, 1)
    aloft = np.clip((up - low[1]) / blur + 0.5, 0, 1) * np.clip((high[1] - up) / blur + 0.5, 0, 1)
    rows, columns = np.flatnonzero(aloft), np.flatnonzero(along)
    if len(rows) and len(columns):
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shade[window] *= 1 - depth * aloft[window[0], None] * along[None, window[1]]


def _floor(room: Room, shell: Piece) -> None:
    width, depth = room.scene.size
    # A sheet turned face up keeps its u against x and its v against z: sample the pattern the same way.
    u, v = _metric_grid(width, depth)
    shade = _corner_shade(u, v, width, depth, 0.14)
    for place in _standing(room):
        low, high = (width / 2 - place.x1, depth / 2 - place.z1), (width / 2 - place.x0, depth / 2 - place.z0)
        _stain(shade, u, v, low, high, 0.32, 0.22)
        _stain(shade, u, v, np.subtract(low, 0.05), np.add(high, 0.05), 0.16, 0.5)
    for window in room.windows:
        shade *= _daylight_pool(room, window, u, v)
    texture = to_bytes(room.style.floor(u, v) * shade[..., None])
    shine = room.style.floor_shine
    material = Material("floor", texture=texture, metres=(width, depth), specular=shine, shininess=0.6)
    shell.add(material, sheet(width, depth, 0.4), turn=FACE_UP)


def _standing(room: Room) -> list[Footprint]:
    return [p.footprint for p in room.scene.pieces if p.solid and p.origin[1] < 0.1]


def _daylight_pool(room: Room, window: Opening, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Brighten the floor where the sun falls through a window, slanting a little along the wall."""
    width, depth = room.scene.size
    reach = 0.55 + 0.5 * window.top
    place = room.strip(window.wall, window.centre + 0.25, window.width, 0.35 * window.sill, reach)
    pool = np.ones_like(u)
    _stain(
        pool,
        u,
        v,
        (width / 2 - place.x1, depth / 2 - place.z1),
        (width / 2 - place.x0, depth / 2 - place.z0),
        -0.2,
        0.4,
    )
    return pool


def _ceiling(room: Room, shell: Piece) -> None:
    width, depth = room.scene.size
    u, v = _metric_grid(width, depth, 24)
    shade = _corner_shade(u, v, width, depth, 0.12)
    texture = to_bytes(shade[..., None] * np.array([0.93, 0.92, 0.89]))
    material = Material("ceiling", texture=texture, metres=(width, depth), specular=0.0, emission=0.12)
    shell.add(material, sheet(width, depth, 0.5), (0, room.scene.height, 0), FACE_DOWN)


def _masonry(room: Room, shell: Piece) -> None:
    """Close the building behind its surfaces, so that no pixel falls between two of them into the open."""
    width, depth = room.scene.size
    wide, deep, high = width + 0.4, depth + 0.4, room.scene.height + 0.4
    grey = Material("masonry", (0.6, 0.58, 0.55), specular=0.0)
    shell.add(grey, sheet(wide, deep, 9.0), (0, -0.02, 0), FACE_UP)
    shell.add(grey, sheet(wide, deep, 9.0), (0, room.scene.height + 0.02, 0), FACE_DOWN)
    for wall, yaw in WALLS.items():
        outside = room.point(wall, 0.0, -0.13, room.scene.height / 2)
        shell.add(grey, sheet(room.length(wall) + 0.4, high, 9.0), outside, rotation_y(yaw))


def _wall_shade(room: Room, wall: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Corners, and the shadows of what stands or hangs before this wall. u runs to the wall's right as one faces it."""
    length, height = room.length(wall), room.scene.height
    shade = _corner_shade(u, v, length, height, 0.12)
    reach = room.strip(wall, 0.0, length, 0.0, 0.12, 0.0, height)
    for piece in room.scene.pieces:
        if piece.object_type in _SHADOWLESS:
            continue
        place = piece.footprint
        if not place.overlaps(reach):
            continue
        a, b = _along(room, wall, place)
        _stain(shade, u, v, (a - 0.02, place.y0 - 0.06), (b + 0.02, place.y1 - 0.01), 0.12, 0.14)
        _stain(shade, u, v, (a - 0.06, place.y0 - 0.16), (b + 0.06, place.y1 + 0.02), 0.10, 0.34)
    return shade


def _along(room: Room, wall: str, place: Footprint) -> tuple[float, float]:
    """Where a box lies along a wall, in metres from its left end as one faces it."""
    half = room.length(wall) / 2
    if wall == "north":
        return place.x0 + half, place.x1 + half
    if wall == "south":
        return half - place.x1, half - place.x0
    if wall == "east":
        return half - place.z1, half - place.z0
    return place.z0 + half, place.z1 + half


def _wall(room: Room, wall: str) -> None:
    length, height = room.length(wall), room.scene.height
    piece = room.scene.piece(None, room.point(wall, 0.0, 0.0), WALLS[wall])
    u, v = _metric_grid(length, height)
    shade = _wall_shade(room, wall, u, v)
    texture = to_bytes(room.style.wall(u, v) * shade[..., None])
    material = Material(f"wall {wall}", texture=texture, metres=(length, height), specular=0.03)
    holes = [_hole(opening) for opening in (*room.windows, *room.doors) if opening.wall == wall]
    for x0, x1, y0, y1 in _around_holes(length, height, holes):
        mesh = sheet(x1 - x0, y1 - y0, 0.45).moved(((x0 + x1) / 2, (y0 + y1) / 2, 0))
        # The piece's x runs to the left of one who faces the wall; the texture's u to the right.
        uv = np.stack([length / 2 - mesh.vertices[:, 0], mesh.vertices[:, 1]], 1)
        piece.add(material, replace(mesh, uv=uv))
    _skirting(room, piece, length, holes)


def _hole(opening: Opening) -> tuple[float, float, float, float]:
    """An opening in its wall's own frame (x0, x1, y0, y1)."""
    centre = opening.centre if opening.wall in ("south", "east") else -opening.centre
    half = opening.width / 2
    return centre - half, centre + half, opening.sill, opening.top


def _around_holes(length: float, height: float, holes) -> list[tuple[float, float, float, float]]:
    """Rectangles that cover a wall except its holes, which stand side by side."""
    pieces, left = [], -length / 2
    for x0, x1, y0, y1 in sorted(holes):
        pieces.append((left, x0, 0.0, height))
        pieces.append((x0, x1, y1, height))
        if y0 > 0:
            pieces.append((x0, x1, 0.0, y0))
        left = x1
    pieces.append((left, length / 2, 0.0, height))
    return [p for p in pieces if p[1] - p[0] > 1e-3 and p[3] - p[2] > 1e-3]


def _skirting(room: Room, piece: Piece, length: float, holes) -> None:
    low = [hole for hole in holes if hole[2] == 0]
    for x0, x1, _, _ in _around_holes(length, 0.1, low):
        if not any(abs((x0 + x1) / 2 - (h[0] + h[1]) / 2) < 1e-6 for h in low):
            piece.box(room.style.trim, (x1 - x0, 0.09, 0.015), ((x0 + x1) / 2, 0, 0.0075))


def _window(room: Room, window: Opening) -> None:
    """A recess, a frame with glazing bars, the view, a sill, and curtains or a blind."""
    trim = room.style.trim
    width, height = window.width, window.top - window.sill
    piece = room.scene.piece("Window", room.point(window.wall, window.centre, 0.0, window.sill), WALLS[window.wall])
    view = materials.picture("view", pictures.outdoors(room.rng), emission=0.95, specular=0.0)
    dim = Material("view", texture=view.texture, metres=None, colour=(0.25, 0.25, 0.25), emission=4.2, specular=0.0)
    piece.sheet(dim, width, height, (0, height / 2, -0.10))
    for x in (-width / 2, width / 2):
        piece.box(trim, (0.02, height, 0.12), (x, 0, -0.05))
    for y in (0.0, height - 0.02):
        piece.box(trim, (width, 0.02, 0.12), (0, y, -0.05))
    bars = room.pick([1, 2, 2, 3])
    for i in range(bars + 1):
        thick = 0.06 if i in (0, bars) else 0.035
        piece.box(trim, (thick, height, 0.03), (-width / 2 + width * i / bars, 0, -0.06))
    for y in (0.0, height - 0.05, *([height / 2] if room.chance(0.5) else [])):
        piece.box(trim, (width, 0.05, 0.035), (0, y, -0.06))
    for x in (-width / 2 - 0.035, width / 2 + 0.035):
        piece.box(trim, (0.07, height + 0.14, 0.02), (x, -0.0, 0.01))
    piece.box(trim, (width + 0.14, 0.07, 0.022), (0, height, 0.011))
    piece.box(trim, (width + 0.2, 0.03, 0.09), (0, -0.03, 0.02))
    _window_dressing(room, window)


def _window_dressing(room: Room, window: Opening) -> None:
    width, height = window.width, window.top - window.sill
    kind = room.pick(["curtains", "curtains", "blind", "none"])
    if room.scene.kind in ("kitchen", "bathroom") and kind == "curtains":
        kind = "blind"
    if kind == "curtains":
        piece = room.scene.piece(
            "Curtains", room.point(window.wall, window.centre, 0.075, window.top + 0.16), WALLS[window.wall]
        )
        # Full-length curtains would run into what stands below the window.
        below = room.strip(window.wall, window.centre, width + 0.7, 0.0, 0.12, 0.0, window.sill - 0.1)
        long = not any(below.overlaps(other) for other in room.taken)
        drop = window.top + 0.12 if long else height + 0.19
        for side in (-1, 1):
            piece.add(room.style.curtain, drape(0.36, drop, 4), (side * (width / 2 + 0.1), 0, 0))
        piece.rod(room.style.metal, (-width / 2 - 0.32, 0.02, 0), (width / 2 + 0.32, 0.02, 0), 0.012)
    elif kind == "blind":
        piece = room.scene.piece("Blinds", room.point(window.wall, window.centre, 0.03, window.top), WALLS[window.wall])
        drop = height * room.between(0.2, 0.45)
        if room.chance(0.35):
            for i in range(max(3, int(drop / 0.06))):
                piece.box(room.style.trim, (width - 0.02, 0.006, 0.045), (0, -0.04 - 0.06 * i, 0))
        else:
            piece.box(room.style.curtain, (width - 0.03, drop, 0.008), (0, -drop, 0))
            piece.box(room.style.trim, (width - 0.03, 0.025, 0.014), (0, -drop - 0.02, 0))
        piece.box(room.style.trim, (width, 0.05, 0.05), (0, -0.03, 0))


def _door(room: Room, door: Opening) -> None:
    """A panelled door in its frame, closed."""
    trim = room.style.trim
    leaf = room.style.wood if room.chance(0.4) else trim
    piece = room.scene.piece("Doorway", room.point(door.wall, door.centre, 0.0), WALLS[door.wall])
    width, height = door.width, door.top
    piece.box(leaf, (width, height, 0.04), (0, 0, -0.05))
    for x, y, w, h in (
        (-0.22, 0.2, 0.3, 0.7),
        (0.22, 0.2, 0.3, 0.7),
        (-0.22, 1.05, 0.3, 0.85),
        (0.22, 1.05, 0.3, 0.85),
    ):
        piece.box(leaf, (w * width / 0.9, h * height / 2.05, 0.012), (x * width / 0.9, y * height / 2.05, -0.026))
    for x in (-width / 2 - 0.04, width / 2 + 0.04):
        piece.box(trim, (0.08, height + 0.08, 0.09), (x, 0, -0.02))
    piece.box(trim, (width, 0.08, 0.09), (0, height, -0.02))
    piece.box(room.style.second_wood, (width, 0.02, 0.1), (0, -0.012, -0.03))
    piece.ball(room.style.metal, (0.03, 0.03, 0.03), (width / 2 - 0.08, 1.0, 0.02))
    piece.box(room.style.metal, (0.04, 0.14, 0.006), (width / 2 - 0.08, 0.93, -0.028))
