"""From a layout number to a furnished room."""

from __future__ import annotations

import numpy as np

from rlleak.simulators.rooms.builder import Light, Material, Scene
from rlleak.simulators.rooms.catalogue import TARGET_TYPES


def furnish(layout: int, room_type: str) -> Scene:
    """Build the scene of a layout; the same number always gives the same room."""
    rng = np.random.default_rng([layout, 20])
    size = (float(rng.uniform(3.0, 4.2)), float(rng.uniform(3.2, 4.6)))
    scene = Scene(size, 2.6)
    shell = scene.piece(None, (0, 0, 0))
    wall = Material("wall", (0.8, 0.75, 0.68))
    floor = Material("floor", (0.5, 0.36, 0.25))
    width, depth = size
    shell.box(floor, (width, 0.1, depth), (0, -0.1, 0))
    shell.box(wall, (width, 0.1, depth), (0, 2.6, 0))
    for sign in (-1, 1):
        shell.box(wall, (0.1, 2.6, depth), (sign * (width / 2 + 0.05), 0, 0))
        shell.box(wall, (width, 2.6, 0.1), (0, 0, sign * (depth / 2 + 0.05)))
    for i, kind in enumerate(TARGET_TYPES[room_type][:8]):
        paint = Material(kind, tuple(rng.uniform(0.3, 0.9, 3)))
        along = (i % 4 - 1.5) * width / 4
        side = 1 if i < 4 else -1
        piece = scene.piece(kind, (along, 0, side * (depth / 2 - 0.25)), 180 if side > 0 else 0, solid=True)
        piece.box(paint, (0.5, float(rng.uniform(0.4, 1.6)), 0.5), (0, 0, 0))
    scene.lights.append(Light((0.5, 0.48, 0.45), position=(0, 2.3, 0), ambient=0.6))
    return scene
