"""From a layout number to a furnished room."""

from __future__ import annotations

import numpy as np

from rlleak.simulators.rooms.arrangement import OPPOSITE, WALLS, Opening, Room
from rlleak.simulators.rooms.bathroom import furnish_bathroom
from rlleak.simulators.rooms.bedroom import furnish_bedroom
from rlleak.simulators.rooms.builder import Scene
from rlleak.simulators.rooms.decor import light_switch
from rlleak.simulators.rooms.kitchen import furnish_kitchen
from rlleak.simulators.rooms.lamps import ceiling_lamp
from rlleak.simulators.rooms.living_room import furnish_living_room
from rlleak.simulators.rooms.shell import build_shell
from rlleak.simulators.rooms.styles import choose_style

#: Shortest and longest extent along x and z, in metres.
_SIZES = {
    "kitchen": ((2.9, 3.8), (3.0, 4.0)),
    "living_room": ((4.0, 5.2), (4.0, 5.2)),
    "bedroom": ((3.5, 4.5), (3.6, 4.6)),
    "bathroom": ((2.3, 3.1), (2.6, 3.4)),
}
_FURNISH = {
    "kitchen": furnish_kitchen,
    "living_room": furnish_living_room,
    "bedroom": furnish_bedroom,
    "bathroom": furnish_bathroom,
}


def furnish(layout: int, room_type: str) -> Scene:
    """Build the scene of a layout; the same number always gives the same room."""
    rng = np.random.default_rng([layout, 20])
    (low_x, high_x), (low_z, high_z) = _SIZES[room_type]
    size = (float(rng.uniform(low_x, high_x)), float(rng.uniform(low_z, high_z)))
    room = Room(Scene(size, float(rng.uniform(2.45, 2.75)), kind=room_type), choose_style(room_type, rng), rng)
    _openings(room)
    _FURNISH[room_type](room)
    light_switch(room)
    ceiling_lamp(room)
    build_shell(room)
    return room.scene


def _openings(room: Room) -> None:
    """One to three windows and a door on another wall."""
    kind, rng = room.scene.kind, room.rng
    walls = [str(wall) for wall in rng.permutation(list(WALLS))]
    sill = {"kitchen": 1.14, "living_room": 0.75, "bedroom": 0.85, "bathroom": 1.25}[kind]
    top = min(room.scene.height - 0.25, 2.15)
    lit = walls[:1] if kind in ("kitchen", "bathroom") else walls[: 1 + int(rng.random() < 0.5)]
    for wall in lit:
        free = room.length(wall)
        width = min(free - 1.2, float(rng.uniform(0.6, 0.9) if kind == "bathroom" else rng.uniform(1.0, 1.8)))
        reach = free / 2 - width / 2 - 0.45
        room.open_wall(Opening(wall, float(rng.uniform(-reach, reach)), width, sill, top))
    if kind == "kitchen":
        candidates = [OPPOSITE[lit[0]], *walls[1:]]
    else:
        candidates = [wall for wall in walls if wall not in lit]
    wall = candidates[0]
    reach = room.length(wall) / 2 - 0.45 - 0.14
    centre = float(rng.choice([-reach, reach, rng.uniform(-reach, reach)]))
    room.open_wall(Opening(wall, centre, 0.88, 0.0, 2.04), is_door=True)
