"""Furnishing living rooms: a sofa that looks at a television across a rug, and the things around them."""

from __future__ import annotations

from rlleak.simulators.rooms import cabinets, clutter, decor, lamps, plants, seating, tables, tableware
from rlleak.simulators.rooms.arrangement import OPPOSITE, WALLS, Room, in_front, scatter


def furnish_living_room(room: Room) -> None:
    """Fill a room with a living room."""
    wall = _television(room)
    _sofa_group(room, OPPOSITE[wall])
    if room.chance(0.8):
        _shelves(room)
    for _ in range(int(room.rng.integers(1, 3))):
        _corner_thing(room, room.pick(["plant", "plant", "lamp"]))
    if room.chance(0.55):
        _writing_corner(room)
    if room.chance(0.5):
        spot = room.against((1.0, 0.9, 0.5), aisle=0.4)
        if spot is not None:
            piece = cabinets.dresser(room, *spot, 1.0, 3)
            scatter(
                room,
                piece,
                [room.pick([lamps.desk_lamp, plants.flower_vase]), clutter.statue, clutter.book, clutter.box][
                    : 2 + int(room.rng.integers(3))
                ],
            )
    decor.hang_pictures(room, int(room.rng.integers(3, 6)))
    if room.chance(0.4):
        decor.wall_clock(room)
    _strewn(room)


def _television(room: Room) -> str:
    """The board with the television, on a wall without a window where there is one."""
    lit = {window.wall for window in room.windows}
    walls = sorted(WALLS, key=lambda wall: (wall in lit, room.rng.random()))
    width = room.pick([1.2, 1.4, 1.6])
    spot = room.against((width, 1.3, 0.44), walls, aisle=0.5, near=0.0)
    if spot is None:
        return walls[0]
    stand = tables.tv_stand(room, *spot, width)
    screen = room.between(0.8, 1.1)
    television = clutter.television(room, in_front(spot[0], spot[1], 0.2, 0.0, 0.5), spot[1], screen)
    stand.standing.append(television.footprint)
    scatter(
        room,
        stand,
        [
            room.pick([plants.house_plant, plants.flower_vase]),
            clutter.remote_control,
            room.pick([clutter.statue, clutter.book]),
        ],
    )
    return next(name for name, yaw in WALLS.items() if yaw == spot[1])


def _sofa_group(room: Room, wall: str) -> None:
    """Sofa against (or a little off) the wall opposite the television, table before it, chairs beside."""
    seats = 3 if room.length(wall) > 3.6 and room.chance(0.7) else 2
    others = [other for other in WALLS if other != wall]
    while True:
        width = 0.62 * seats + 0.34
        spot = room.against((width, 0.7, 0.9), (wall, *others), near=0.0, gap=0.04)
        if spot is not None or seats == 2:
            break
        seats = 2
    if spot is None:
        return
    origin, yaw = spot
    seating.sofa(room, origin, yaw, seats)
    table_at = in_front(origin, yaw, 1.45)
    turned = yaw in (90.0, 270.0)
    if room.around((table_at[0], table_at[2]), (0.6 if turned else 1.05, 0.5, 1.05 if turned else 0.6)):
        table = tables.coffee_table(room, (table_at[0], 0, table_at[2]), yaw)
        wanted = [
            room.pick([clutter.laptop, clutter.newspaper]),
            clutter.book,
            room.pick([plants.flower_vase, tableware.bowl]),
            clutter.remote_control,
            tableware.mug,
        ]
        scatter(room, table, wanted, turn=60)
        if len(table.tops) > 1:
            scatter(room, table, [clutter.book, clutter.newspaper], top=1)
    long, deep = room.between(1.8, 2.4), room.between(1.3, 1.7)
    decor.rug(
        room, (table_at[0], table_at[2]), *((deep, long) if turned else (long, deep)), round_rug=room.chance(0.15)
    )
    for side in room.rng.permutation([-1, 1])[: 1 + int(room.rng.integers(2))]:
        _armchair_beside(room, origin, yaw, width, int(side))
    for side in (-1, 1):
        at = in_front(origin, yaw, 0.35, side * (width / 2 + 0.28))
        if room.around((at[0], at[2]), (0.42, 1.5, 0.42)):
            if room.chance(0.6):
                lamps.floor_lamp(room, (at[0], 0, at[2]), yaw)
            else:
                end = tables.side_table(room, in_front(origin, yaw, 0.15, side * (width / 2 + 0.28), 0.0), yaw)
                scatter(room, end, [lamps.desk_lamp, clutter.book])


def _armchair_beside(room: Room, origin, yaw: float, width: float, side: int) -> None:
    """An armchair at the end of the table, turned towards it."""
    centre = in_front(origin, yaw, 1.55, side * (width / 2 + 0.1))
    if room.around((centre[0], centre[2]), (0.98, 0.9, 0.98)):
        turn = yaw - side * 90
        back = in_front(centre, turn, -0.43)
        seating.armchair(room, (back[0], 0, back[2]), turn)


def _shelves(room: Room) -> None:
    for _ in range(int(room.rng.integers(1, 3))):
        width, height = room.pick([(0.8, 1.9), (1.0, 1.2), (1.2, 0.85), (0.6, 1.8)])
        spot = room.against((width, height, 0.32), aisle=0.3)
        if spot is not None:
            shelf = cabinets.bookshelf(room, *spot, width, height)
            scatter(
                room,
                shelf,
                [clutter.box, room.pick([clutter.statue, plants.house_plant]), plants.flower_vase][
                    : 2 + (height < 1.5)
                ],
            )


def _corner_thing(room: Room, kind: str) -> None:
    spot = room.against((0.66, 1.4, 0.66), near=room.pick([-9.0, 9.0]))
    if spot is not None:
        at = in_front(*spot, 0.35)
        (plants.floor_plant if kind == "plant" else lamps.floor_lamp)(room, at, spot[1])


def _writing_corner(room: Room) -> None:
    spot = room.against((1.2, 0.8, 0.62), aisle=0.6)
    if spot is not None:
        desk = tables.desk(room, *spot)
        scatter(room, desk, [clutter.laptop, lamps.desk_lamp, clutter.book], turn=12)
        at = in_front(*spot, 0.72, -0.12)
        seating.chair(room, (at[0], 0, at[2]), spot[1] + 180 + room.between(-25, 25))


def _strewn(room: Room) -> None:
    """A box or a ball left on the floor."""
    if room.chance(0.5):
        spot = room.against((0.45, 0.3, 0.4), gap=0.03)
        if spot is not None:
            piece = clutter.box(room, in_front(*spot, 0.2), spot[1])
            piece.solid = True
