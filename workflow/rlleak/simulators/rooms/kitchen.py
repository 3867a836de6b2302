"""Furnishing kitchens: a run of units along one to three walls, a table or an island, and what stands on them."""

from __future__ import annotations

from rlleak.simulators.rooms import appliances as a
from rlleak.simulators.rooms import cabinets, clutter, decor, plants, seating, tables
from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms import tableware as t
from rlleak.simulators.rooms.arrangement import OPPOSITE, WALLS, Room, in_front, scatter
from rlleak.simulators.rooms.builder import Footprint, Piece
from rlleak.simulators.rooms.geometry import sheet
from rlleak.simulators.rooms.patterns import swatch
from rlleak.simulators.rooms.toiletries import soap_bottle

_NEIGHBOURS = {
    "north": ("west", "east"),
    "south": ("west", "east"),
    "east": ("north", "south"),
    "west": ("north", "south"),
}
_RUN_DEPTH = 0.65


def furnish_kitchen(room: Room) -> None:
    """Fill a room with a kitchen."""
    main = room.windows[0].wall
    counters = _main_run(room, main)
    second = room.pick(_NEIGHBOURS[main])
    side = _side_run(room, second)
    counters += side
    fridge_spot = room.against((0.8, 1.85, 0.75), (second, OPPOSITE[second], OPPOSITE[main], main), aisle=0.6)
    if fridge_spot is not None:
        fridge = a.fridge(room, *fridge_spot)
        scatter(room, fridge, [room.pick([clutter.box, t.bowl, plants.house_plant])])
    _wall_cupboards(room, [main] * 3 + [second] * 2 * bool(side), side)
    _dining(room)
    _stock(room, counters)
    spot = room.against((0.32, 0.5, 0.34), gap=0.02)
    if spot is not None:
        clutter.garbage_can(room, in_front(*spot, 0.17), spot[1])
    if room.chance(0.6):
        decor.wall_clock(room)
    decor.hang_pictures(room, int(room.rng.integers(1, 3)))


def _units(room: Room, wall: str, low: float, high: float, plan: list[tuple[str, float]]) -> list[Piece]:
    """Stand units side by side from `low` to `high` along a wall, stretching the plain cupboards to fill it."""
    fixed = sum(width for _, width in plan if width > 0)
    loose = sum(1 for _, width in plan if width == 0)
    each = (high - low - fixed) / max(loose, 1)
    made: list[Piece] = []
    at = low
    for kind, width in plan:
        wide = width or each
        if wide < 0.15:
            continue
        origin, yaw = room.point(wall, at + wide / 2, 0.0), WALLS[wall]
        if kind == "sink":
            cabinets.sink_cabinet(room, origin, yaw, wide)
        elif kind == "stove":
            made.append(a.stove(room, origin, yaw))
            hood_place = room.strip(wall, at + wide / 2, wide, 0, 0.5, 1.55, 2.6)
            if room.fits(hood_place):
                room.taken.append(hood_place)
                a.hood(room, room.point(wall, at + wide / 2, 0.0, 1.6), yaw)
        elif kind == "dishwasher":
            made.append(a.dishwasher(room, origin, yaw))
        else:
            made.append(cabinets.base_cabinet(room, origin, yaw, wide, drawers=room.chance(0.4)))
        at += wide
    room.taken.append(room.strip(wall, (low + high) / 2, high - low, 0.0, _RUN_DEPTH, 0.0, 1.3))
    room.aisles.append(room.strip(wall, (low + high) / 2, high - low, _RUN_DEPTH, _RUN_DEPTH + 0.55))
    _backsplash(room, wall, low, high)
    return made


def _main_run(room: Room, wall: str) -> list[Piece]:
    """Sink under the window, the stove to one side, a dishwasher sometimes."""
    half = room.length(wall) / 2
    low, high = -half, half
    window = room.windows[0].centre
    sink_low = min(max(window - 0.45, low + 0.62), high - 0.9 - 0.62)
    stove_left = sink_low - low > high - sink_low - 0.9
    left = [("units", 0.0)] if sink_low - low > 0.15 else []
    units: list[Piece] = []
    left_plan = [("units", 0.0), ("stove", 0.6), ("units", 0.0)] if stove_left and sink_low - low > 1.1 else left
    if len(left_plan) == 1 and sink_low - low > 1.2 and room.chance(0.6):
        left_plan = [("units", 0.0), ("dishwasher", 0.6)]
    right_span = high - sink_low - 0.9
    right_plan = [("units", 0.0)]
    if not stove_left and right_span > 1.1:
        right_plan = [("units", 0.0), ("stove", 0.6), ("units", 0.0)]
    elif right_span > 1.2 and room.chance(0.6):
        right_plan = [("dishwasher", 0.6), ("units", 0.0)]
    units += _units(room, wall, low, sink_low, left_plan)
    units += _units(room, wall, sink_low, sink_low + 0.9, [("sink", 0.9)])
    units += _units(room, wall, sink_low + 0.9, high, right_plan)
    return units


def _side_run(room: Room, wall: str) -> list[Piece]:
    """Continue round the corner for a part of the next wall."""
    if room.chance(0.25):
        return []
    half = room.length(wall) / 2
    main = room.windows[0].wall
    length = room.between(0.45, 0.62) * (2 * half - _RUN_DEPTH)
    low, high = (
        (half - _RUN_DEPTH - length, half - _RUN_DEPTH)
        if main in ("north", "east")
        else (-half + _RUN_DEPTH, -half + _RUN_DEPTH + length)
    )
    place = room.strip(wall, (low + high) / 2, high - low, 0.0, _RUN_DEPTH, 0.0, 0.9)
    if any(place.overlaps(other, -0.01) for other in room.taken):
        return []
    return _units(room, wall, low, high, [("units", 0.0), ("units", 0.0)])


def _backsplash(room: Room, wall: str, low: float, high: float) -> None:
    """Tiles on the wall above the worktop."""
    top = 1.5
    for opening in (*room.windows, *room.doors):
        if (
            opening.wall == wall
            and opening.centre + opening.width / 2 > low
            and opening.centre - opening.width / 2 < high
        ):
            top = min(top, opening.sill - 0.04)
    if top - cabinets.COUNTER_HEIGHT < 0.06:
        return
    height = top - cabinets.COUNTER_HEIGHT
    splash = next((mat for mat in room.shared if mat.name == "backsplash"), None)
    if splash is None:
        splash = m.Material(
            "backsplash", texture=swatch(room.style.backsplash, (1.2, 1.2), 192), metres=(1.2, 1.2), specular=0.3
        )
        room.shared.append(splash)
    piece = room.scene.piece(None, room.point(wall, (low + high) / 2, 0.0), WALLS[wall])
    piece.add(splash, sheet(high - low, height), (0, cabinets.COUNTER_HEIGHT + height / 2, 0.006))


def _wall_cupboards(room: Room, walls: list[str], side: list[Piece]) -> None:
    """Hang cupboards over the worktops: anywhere along the main run, near the units of the side run."""
    for wall in walls:
        width = room.pick([0.45, 0.8, 0.8, 0.9])
        near = None
        if wall != walls[0]:
            x, _, z = room.pick(side).origin
            near = x if wall in ("north", "south") else z
        spot = room.against((width, 0.75, 0.36), (wall,), base=1.5, near=near)
        if spot is not None:
            cabinets.wall_cabinet(room, *spot, width)


def _dining(room: Room) -> None:
    """A table with chairs in the free middle, or an island with stools."""
    round_table = room.chance(0.35)
    width, depth = (1.0, 1.0) if round_table else room.pick([(1.2, 0.8), (0.8, 1.2), (1.0, 0.7)])
    for _ in range(60):
        x = room.between(-1, 1) * (room.scene.size[0] - width) / 2 * 0.9
        z = room.between(-1, 1) * (room.scene.size[1] - depth) / 2 * 0.9
        if room.around((x, z), (width + 0.3, 1.2, depth + 0.3)):
            table = tables.dining_table(room, (x, 0, z), 0.0, width, depth)
            scatter(
                room,
                table,
                [room.pick([plants.flower_vase, t.bowl]), t.mug, t.plate, t.bread, t.apple, t.mug][
                    : 3 + int(room.rng.integers(4))
                ],
                turn=180,
            )
            _chairs(room, x, z, width, depth)
            return
    _breakfast_table(room)


def _breakfast_table(room: Room) -> None:
    """A small table against a wall, for kitchens without a free middle."""
    spot = room.against((0.8, 1.2, 0.62), aisle=0.5)
    if spot is not None:
        at = in_front(*spot, 0.31)
        table = tables.dining_table(room, at, spot[1], 0.8, 0.6)
        scatter(room, table, [t.bowl, t.mug, t.bread, t.apple], turn=90)
        seat = in_front(*spot, 0.72, room.between(-0.1, 0.1))
        seating.chair(room, seat, spot[1] + 180 + room.between(-15, 15))


def _chairs(room: Room, x: float, z: float, width: float, depth: float) -> None:
    for dx, dz, yaw in (
        (0, depth / 2 + 0.12, 180),
        (0, -depth / 2 - 0.12, 0),
        (width / 2 + 0.12, 0, 270),
        (-width / 2 - 0.12, 0, 90),
    ):
        at = (x + dx, z + dz)
        place = Footprint(at[0] - 0.22, at[1] - 0.22, at[0] + 0.22, at[1] + 0.22, 0, 1.0)
        inside = abs(at[0]) < room.scene.size[0] / 2 - 0.3 and abs(at[1]) < room.scene.size[1] / 2 - 0.3
        others = [p for p in room.floor_standing() if not (p.x0 < x < p.x1 and p.z0 < z < p.z1)]
        if inside and room.chance(0.8) and not any(place.overlaps(other) for other in others):
            seating.chair(room, (at[0], 0, at[1]), yaw + room.between(-12, 12))


def _cook(room: Room, stove: Piece) -> None:
    """Stand a pot, and often a pan, on two of the burners."""
    spots = [(x, z) for x in (-0.14, 0.14) for z in (0.17, 0.43)]
    order = room.rng.permutation(len(spots))
    for maker, number in zip((t.pot, t.pan), order[: 1 + int(room.chance(0.6))], strict=False):
        x, z = spots[int(number)]
        # A pan's handle points at the cook, not over the neighbouring worktop.
        maker(room, stove.local((x, a.HOB_HEIGHT, z)), stove.yaw - 90 + room.between(-20, 20))


def _stock(room: Room, counters: list[Piece]) -> None:
    """Put machines, pots and food on the worktops; the stove gets the pots."""
    machines = [a.microwave, a.coffee_machine, a.toaster, a.kettle]
    small = [
        t.mug,
        t.bread,
        t.utensils,
        t.bottle,
        t.canister,
        t.knife_block,
        t.plate,
        t.apple,
        t.bowl,
        soap_bottle,
        t.mug,
        t.bottle,
        t.canister,
        plants.house_plant,
        t.plate,
    ]
    counts = [room.rng.permutation(len(small))]
    queue = [small[i] for i in counts[0]]
    surfaces = [piece for piece in counters if piece.object_type != "Stove"]
    for piece in counters:
        if piece.object_type == "Stove":
            _cook(room, piece)
    for i, machine in enumerate(machines):
        for offset in range(len(surfaces)):
            if scatter(room, surfaces[(i + offset) % len(surfaces)], [machine], turn=8):
                break
    for i, item in enumerate(queue):
        if surfaces and (i < 9 or room.chance(0.5)):
            scatter(room, surfaces[i % len(surfaces)], [item], turn=40)
    if not any(piece.object_type in ("Pot", "Pan") for piece in room.scene.pieces) and surfaces:
        scatter(room, surfaces[0], [t.pot])
