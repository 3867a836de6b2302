"""What hangs on walls and lies on floors: pictures, mirrors, clocks, rugs."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms import patterns, pictures
from rlleak.simulators.rooms.arrangement import WALLS, Room
from rlleak.simulators.rooms.builder import Glass, Piece, Vector
from rlleak.simulators.rooms.geometry import cylinder, rotation_x
from rlleak.simulators.rooms.shell import FACE_UP


def painting(room: Room, at: Vector, yaw: float, width: float, height: float) -> Piece:
    """A framed picture; `at` is the bottom of its back edge, on the wall."""
    piece = room.scene.piece("Painting", at, yaw)
    draw = room.pick([pictures.landscape, pictures.landscape, pictures.botanical, None])
    image = pictures.abstract(room.rng, room.style.palette) if draw is None else draw(room.rng)
    frame = room.pick([room.style.second_wood, m.BLACK, m.BRASS, m.WHITE])
    piece.box(frame, (width, height, 0.015), (0, 0, 0.012))
    for x in (-width / 2 + 0.02, width / 2 - 0.02):
        piece.box(frame, (0.04, height, 0.03), (x, 0, 0.02))
    for y in (0, height - 0.04):
        piece.box(frame, (width, 0.04, 0.03), (0, y, 0.02))
    inset = 0.0
    if room.chance(0.5):
        piece.sheet(m.PAPER, width - 0.06, height - 0.06, (0, height / 2, 0.0205))
        inset = min(width, height) * 0.12
    piece.sheet(
        m.picture("painting", image, specular=0.05),
        width - 0.08 - 2 * inset,
        height - 0.08 - 2 * inset,
        (0, height / 2, 0.022),
    )
    return piece


def hang_pictures(room: Room, count: int, walls: list[str] | None = None) -> None:
    """Hang up to `count` pictures where walls are free at eye height."""
    for _ in range(count):
        width, height = room.pick([(0.6, 0.45), (0.45, 0.6), (0.8, 0.55), (0.4, 0.4), (1.0, 0.6)])
        spot = room.against((width + 0.1, height + 0.1, 0.06), walls, base=room.between(1.3, 1.5))
        if spot is not None:
            (x, y, z), yaw = spot
            painting(room, (x, y + 0.05, z), yaw, width, height)


def wall_clock(room: Room) -> None:
    """Hang a round clock, where there is room."""
    spot = room.against((0.36, 0.36, 0.05), base=1.75)
    if spot is not None:
        piece = room.scene.piece("Clock", *spot)
        piece.add(room.style.second_wood, cylinder(0.16, 0.03, 24), (0, 0.18, 0.0), rotation_x(90))
        piece.sheet(m.dial(), 0.21, 0.21, (0, 0.18, 0.032))


def mirror(room: Room, at: Vector, yaw: float, width: float, height: float) -> Piece:
    """A framed looking glass."""
    piece = room.scene.piece("Mirror", at, yaw)
    frame = room.pick([room.style.metal, room.style.second_wood, m.WHITE])
    piece.box(frame, (width, height, 0.018), (0, 0, 0.011))
    centre = piece.local((0, height / 2, 0.021))
    piece.glasses.append(Glass(centre, width - 0.05, height - 0.05, yaw))
    return piece


def rug(room: Room, centre: tuple[float, float], width: float, depth: float, round_rug: bool = False) -> Piece:
    """A rug on the floor, x by z, made smaller and moved where the room asks for it."""
    room_x, room_z = room.scene.size
    width, depth = min(width, room_x - 0.3), min(depth, room_z - 0.3)
    slack_x, slack_z = (room_x - width) / 2 - 0.1, (room_z - depth) / 2 - 0.1
    centre = (max(-slack_x, min(slack_x, centre[0])), max(-slack_z, min(slack_z, centre[1])))
    piece = room.scene.piece("Rug", (centre[0], 0.0, centre[1]))
    if round_rug:
        radius = min(width, depth) / 2
        pile = m.surface("round rug", _pile(room), metres=1.0, specular=0.0)
        piece.revolve(pile, [(radius, 0), (radius, 0.012), (0, 0.012)], (0, 0, 0), 32)
    else:
        image = pictures.rug(room.rng, room.style.palette[1:])
        piece.box(m.plain("rug edge", room.style.palette[4], specular=0.0), (width, 0.01, depth), (0, 0, 0))
        piece.sheet(m.picture("rug", image, specular=0.0), width, depth, (0, 0.012, 0), FACE_UP)
    return piece


def _pile(room: Room) -> patterns.Pattern:
    return patterns.carpet(room.pick(room.style.palette[1:4]), 0.14)


def light_switch(room: Room) -> None:
    """A switch beside the door."""
    for door in room.doors:
        for side in (-1, 1):
            place = room.strip(door.wall, door.centre + side * (door.width / 2 + 0.22), 0.1, 0, 0.02, 1.1, 1.3)
            if room.fits(place):
                at = room.point(door.wall, door.centre + side * (door.width / 2 + 0.22), 0.0, 1.15)
                piece = room.scene.piece("LightSwitch", at, WALLS[door.wall])
                piece.box(m.WHITE, (0.08, 0.12, 0.012), (0, 0, 0.006))
                piece.box(m.PAPER, (0.03, 0.05, 0.012), (0, 0.035, 0.014))
                return
