"""Furnishing bathrooms: tub or shower, toilet, basin with mirror, towels, and bottles on every ledge."""

from __future__ import annotations

from rlleak.simulators.rooms import appliances, cabinets, clutter, decor, plants, sanitary, toiletries
from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import WALLS, Room, in_front, scatter
from rlleak.simulators.rooms.builder import Piece


def furnish_bathroom(room: Room) -> None:
    """Fill a room with a bathroom."""
    _bathing(room)
    _basin(room)
    _toilet(room)
    if room.chance(0.25):
        spot = room.against((0.62, 0.86, 0.6), aisle=0.4)
        if spot is not None:
            machine = appliances.washing_machine(room, *spot)
            scatter(room, machine, [toiletries.folded_towels, toiletries.spray_bottle])
    if room.chance(0.55):
        spot = room.against((0.38, 1.8, 0.34), aisle=0.3)
        if spot is not None:
            scatter(room, sanitary.bath_cabinet(room, *spot), [toiletries.folded_towels])
    _towels(room)
    _shelf(room)
    _floor_things(room)
    decor.hang_pictures(room, int(room.rng.integers(0, 2)))


def _bathing(room: Room) -> None:
    if room.chance(0.72):
        walls = sorted(WALLS, key=lambda wall: room.length(wall) + 0.6 * float(room.rng.random()))
        length = min(1.7, room.length(walls[0]) - 0.02) if room.chance(0.5) else 1.6
        spot = room.against((length, 0.58, 0.76), walls, near=room.pick([-9.0, 9.0]))
        if spot is not None:
            tub = sanitary.bathtub(room, *spot, length)
            ledge = clutter.candle if room.chance(0.5) else toiletries.soap_bottle
            tub.top(length - 0.2, 0.075, 0.562, (0, 0.055))
            scatter(room, tub, [toiletries.soap_bottle, ledge], turn=10)
            return
    spot = room.against((0.92, 2.1, 0.94), near=room.pick([-9.0, 9.0]))
    if spot is not None:
        sanitary.shower(room, *spot)


def _basin(room: Room) -> None:
    """Basin (on a cabinet or a column) with a mirror over it, and a lamp over that."""
    width = room.pick([0.0, 0.9, 1.1, 1.2, 0.7])
    spot = room.against((max(width, 0.6), 1.95, 0.52), aisle=0.5)
    if spot is None:
        width = 0.0
        spot = room.against((0.58, 0.9, 0.48), aisle=0.4)
    if spot is None:
        return
    (x, _, z), yaw = spot
    if width:
        piece = sanitary.vanity(room, *spot, width)
        wanted = [toiletries.soap_bottle, clutter.candle, toiletries.cloth, plants.house_plant, toiletries.soap_bottle]
        for i, item in enumerate(wanted):
            if piece.tops:
                scatter(room, piece, [item], top=i % len(piece.tops))
    else:
        sanitary.pedestal_sink(room, *spot)
    wide = min(max(width, 0.6) - 0.1, 0.9)
    wall = next(name for name, facing in WALLS.items() if facing == yaw)
    along = x if yaw in (0.0, 180.0) else z
    clear = not any(
        window.wall == wall and abs(window.centre - along) < (window.width + wide) / 2 + 0.1 for window in room.windows
    )
    if clear:
        decor.mirror(room, (x, 1.08, z), yaw, wide, 0.8)
        lamp = room.scene.piece("LightFixture", (x, 1.98, z), yaw)
        lamp.box(room.style.metal, (wide * 0.7, 0.05, 0.03), (0, 0, 0.015))
        for i in range(3):
            lamp.ball(
                m.plain("lit globe", (1.0, 0.96, 0.88), emission=0.9),
                (0.045, 0.045, 0.045),
                (wide * 0.25 * (i - 1), 0.02, 0.075),
            )
        room.taken.append(room.strip(wall, along, wide, 0, 0.1, 1.0, 2.1))


def _toilet(room: Room) -> None:
    spot = room.against((0.62, 0.84, 0.72), aisle=0.35)
    if spot is None:
        return
    toilet = sanitary.toilet(room, *spot)
    toilet.top(0.32, 0.12, 0.801, (0, 0.095))
    if room.chance(0.6):
        scatter(room, toilet, [room.pick([plants.house_plant, toiletries.spray_bottle, clutter.candle])])
    (x, _, z), yaw = spot
    along, wall = (x if yaw in (0.0, 180.0) else z), next(name for name, facing in WALLS.items() if facing == yaw)
    for side in (-1, 1):
        place = room.strip(wall, along + side * 0.44, 0.2, 0, 0.15, 0.55, 0.85)
        if room.fits(place):
            room.taken.append(place)
            toiletries.toilet_paper(room, room.point(wall, along + side * 0.44, 0.0, 0.65), yaw)
            break
    for maker in (toiletries.scrub_brush, toiletries.plunger):
        beside = room.against((0.2, 0.5, 0.2), (wall,), near=along, gap=0.03)
        if beside is not None and room.chance(0.8):
            maker(room, in_front(*beside, 0.1), yaw)


def _towels(room: Room) -> None:
    for _ in range(1 + int(room.rng.integers(2))):
        spot = room.against((0.7, 0.75, 0.13), base=0.85)
        if spot is not None:
            toiletries.towel_rail(room, *spot)
    spot = room.against((0.28, 0.5, 0.08), base=1.0)
    if spot is not None:
        toiletries.hand_towel(room, *spot)


def _shelf(room: Room) -> None:
    if room.chance(0.65):
        return
    spot = room.against((0.75, 0.5, 0.24), base=1.3)
    if spot is not None:
        (x, y, z), yaw = spot
        shelf: Piece = cabinets.wall_shelf(room, (x, y + 0.16, z), yaw, 0.7)
        scatter(
            room,
            shelf,
            [toiletries.folded_towels, toiletries.soap_bottle, clutter.candle, toiletries.spray_bottle],
            turn=10,
        )


def _floor_things(room: Room) -> None:
    spot = room.against((0.34, 0.5, 0.34), gap=0.02)
    if spot is not None:
        clutter.garbage_can(room, in_front(*spot, 0.17), spot[1])
    width, depth = room.scene.size
    if room.chance(0.8):
        size = room.pick([(0.8, 0.5), (0.5, 0.8), (0.9, 0.6)])
        for _ in range(40):
            centre = (room.between(-0.4, 0.4) * width, room.between(-0.4, 0.4) * depth)
            if room.around(centre, (size[0] + 0.1, 0.02, size[1] + 0.1)):
                decor.rug(room, centre, *size)
                room.taken.pop()
                break
