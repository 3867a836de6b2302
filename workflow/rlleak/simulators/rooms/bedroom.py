"""Furnishing bedrooms: the bed with its tables, a place to dress, a desk, and a few things on the floor."""

from __future__ import annotations

from rlleak.simulators.rooms import cabinets, clutter, decor, lamps, plants, seating, tables, tableware
from rlleak.simulators.rooms.arrangement import WALLS, Room, in_front, scatter


def furnish_bedroom(room: Room) -> None:
    """Fill a room with a bedroom."""
    _bed(room)
    if room.chance(0.75):
        _desk(room)
    _dressing(room)
    if room.chance(0.5):
        _shelf(room)
    if room.chance(0.5):
        spot = room.against((0.66, 1.4, 0.66), near=room.pick([-9.0, 9.0]))
        if spot is not None:
            (plants.floor_plant if room.chance(0.6) else lamps.floor_lamp)(room, in_front(*spot, 0.35), spot[1])
    if room.chance(0.35):
        spot = room.against((0.95, 0.9, 0.9), aisle=0.3)
        if spot is not None:
            seating.armchair(room, *spot)
    decor.hang_pictures(room, int(room.rng.integers(1, 3)))
    _strewn(room)


def _bed(room: Room) -> None:
    lit = {window.wall for window in room.windows}
    walls = sorted(WALLS, key=lambda wall: (wall in lit and room.rng.random() < 0.6, room.rng.random()))
    width = room.pick([1.0, 1.4, 1.5, 1.6])
    near = room.between(-0.4, 0.4) if width > 1.2 else room.pick([-9.0, 9.0])
    spot = room.against((width + 0.2, 1.1, 2.1), walls, near=near, gap=0.01)
    if spot is None:
        return
    origin, yaw = spot
    bed = seating.bed(room, origin, yaw, width)
    extras = [clutter.teddy_bear, clutter.laptop, clutter.book, clutter.newspaper]
    scatter(room, bed, [room.pick(extras)] if room.chance(0.7) else [], turn=60)
    for side in (-1, 1):
        at = in_front(origin, yaw, 0.0, side * (width / 2 + 0.36))
        middle = in_front(at, yaw, 0.22)
        if room.around((middle[0], middle[2]), (0.46, 0.6, 0.46)):
            table = tables.side_table(room, at, yaw)
            wanted = (
                [lamps.desk_lamp, clutter.alarm_clock, clutter.book]
                if side < 0
                else [clutter.alarm_clock, room.pick([lamps.desk_lamp, plants.flower_vase]), clutter.cell_phone]
            )
            scatter(room, table, wanted, turn=12)
            scatter(room, table, [clutter.book], top=1)
    foot = in_front(origin, yaw, 1.7)
    wide, deep = width + 1.0, 1.5
    turned = yaw in (90.0, 270.0)
    if room.chance(0.65):
        decor.rug(room, (foot[0], foot[2]), *((deep, wide) if turned else (wide, deep)))


def _dressing(room: Room) -> None:
    width = room.pick([0.8, 1.1, 1.3])
    spot = room.against((width + 0.06, 0.95, 0.5), aisle=0.45)
    if spot is not None:
        chest = cabinets.dresser(room, *spot, width, room.pick([3, 4]))
        wanted = [
            lamps.desk_lamp,
            clutter.book,
            clutter.candle,
            room.pick([plants.flower_vase, clutter.statue, clutter.box]),
            clutter.cell_phone,
        ]
        scatter(room, chest, wanted, turn=20)
        (x, _, z), yaw = spot
        if room.chance(0.75):
            decor.mirror(room, (x, 1.2, z), yaw, 0.6, 0.75)
            room.taken.append(room.strip(_wall_of(yaw), x if yaw in (0.0, 180.0) else z, 0.7, 0, 0.06, 1.1, 2.1))
    if room.chance(0.65):
        width = room.pick([0.9, 1.1, 1.35])
        spot = room.against((width + 0.1, 2.1, 0.62), aisle=0.45)
        if spot is not None:
            cabinets.wardrobe(room, *spot, width)


def _wall_of(yaw: float) -> str:
    return next(name for name, facing in WALLS.items() if facing == yaw)


def _desk(room: Room) -> None:
    width = 1.2
    spot = room.against((width, 0.75, 0.62), aisle=0.5)
    if spot is None:
        width = 0.95
        spot = room.against((width, 0.75, 0.62), aisle=0.4)
    if spot is None:
        return
    desk = tables.desk(room, *spot, width)
    scatter(room, desk, [clutter.laptop, lamps.desk_lamp, clutter.book, tableware.mug, clutter.cell_phone], turn=12)
    at = in_front(*spot, 0.75, -0.12)
    maker = seating.office_chair if room.chance(0.5) else seating.chair
    maker(room, (at[0], 0, at[2]), spot[1] + 180 + room.between(-30, 30))
    beside = room.against(
        (0.34, 0.5, 0.34), (_wall_of(spot[1]),), near=spot[0][0] if spot[1] in (0.0, 180.0) else spot[0][2], gap=0.02
    )
    if beside is not None:
        clutter.garbage_can(room, in_front(*beside, 0.17), beside[1])


def _shelf(room: Room) -> None:
    if room.chance(0.5):
        width, height = room.pick([(0.8, 1.8), (0.9, 1.1)])
        spot = room.against((width, height, 0.32), aisle=0.3)
        if spot is not None:
            shelf = cabinets.bookshelf(room, *spot, width, height)
            scatter(room, shelf, [clutter.box, plants.house_plant])
        return
    spot = room.against((0.8, 0.5, 0.24), base=1.45)
    if spot is not None:
        (x, y, z), yaw = spot
        shelf = cabinets.wall_shelf(room, (x, y + 0.16, z), yaw)
        scatter(room, shelf, [clutter.book, plants.house_plant, clutter.candle])


def _strewn(room: Room) -> None:
    for maker in (clutter.basket_ball, clutter.box, clutter.teddy_bear):
        if room.chance(0.4):
            spot = room.against((0.42, 0.35, 0.4), gap=0.04)
            if spot is not None:
                piece = maker(room, in_front(*spot, 0.2), spot[1] + room.between(-20, 20))
                piece.solid = True
