"""Which layouts exist, whose they are, and in which order victims live in them.

Layouts carry AI2-THOR's numbers. The 120 of AI2-THOR are private: victims live there, and no attacker and no detector
is ever trained in one. The rooms player continues each room type's numbers up to ..99: these are public. Unity has no
further rooms of these types, so with `thor` the public layouts are RoboTHOR's 60 training apartments, numbered here
1011-1125 (1000 + 10 * walls + furniture: FloorPlan_Train12_5 is 1125).
"""

from collections.abc import Sequence
from itertools import islice, zip_longest
from math import gcd
from random import Random

from rlleak.errors import ConfigurationError

ROOM_TYPES = ("kitchen", "living_room", "bedroom", "bathroom")
APARTMENT = "apartment"
_FIRST = {"kitchen": 1, "living_room": 201, "bedroom": 301, "bathroom": 401}
_PRIVATE_PER_TYPE = 30
_PUBLIC_PER_TYPE = 69
_DETECTOR_TRAINING_PER_TYPE = 45
_GOLDEN_RATIO = 0.618

# Object types that a robot may be asked to look at, by room type.
_ROOMS_TARGETS = {
    "kitchen": ("Fridge", "Microwave", "Toaster", "GarbageCan"),
    "living_room": ("Sofa", "Television", "FloorLamp", "HousePlant"),
    "bedroom": ("Bed", "Dresser", "Laptop", "Pillow"),
    "bathroom": ("Toilet", "Sink", "Towel", "Bathtub"),
}
# RoboTHOR's own target objects: only these can be learnt in its public apartments and are met again in private rooms.
_THOR_TARGETS = {
    "kitchen": ("Apple", "Bowl", "GarbageCan", "Mug"),
    "living_room": ("GarbageCan", "HousePlant", "Laptop", "Television"),
    "bedroom": ("AlarmClock", "BasketBall", "GarbageCan", "Laptop"),
    "bathroom": ("GarbageCan", "SprayBottle"),
}
_TARGETS = {"rooms": _ROOMS_TARGETS, "thor": _THOR_TARGETS}


def target_types(simulator: str) -> tuple[str, ...]:
    """All target types of a simulator, sorted: the detector's classes. Raises ConfigurationError for an unknown one."""
    if simulator not in _TARGETS:
        raise ConfigurationError(f"simulator '{simulator}' has no rooms; there is: {', '.join(_TARGETS)}")
    return tuple(sorted({kind for kinds in _TARGETS[simulator].values() for kind in kinds}))


def targets_of(simulator: str) -> dict[str, tuple[str, ...]]:
    """The target types of a simulator by room type; an apartment holds any. Raises ConfigurationError for an unknown
    one."""
    return {APARTMENT: target_types(simulator), **_TARGETS[simulator]}


def _numbers(room_type: str, skip: int, count: int) -> tuple[int, ...]:
    if room_type not in _FIRST:
        raise ConfigurationError(f"unknown room type '{room_type}'; there is: {', '.join(ROOM_TYPES)}")
    first = _FIRST[room_type] + skip
    return tuple(range(first, first + count))


def private_layouts(room_type: str) -> tuple[int, ...]:
    """The 30 private layouts of a room type. Raises ConfigurationError for an unknown type."""
    return _numbers(room_type, 0, _PRIVATE_PER_TYPE)


def public_layouts(room_type: str) -> tuple[int, ...]:
    """The 69 public layouts of a room type (rooms player only). Raises ConfigurationError for an unknown type."""
    return _numbers(room_type, _PRIVATE_PER_TYPE, _PUBLIC_PER_TYPE)


PRIVATE_LAYOUTS = tuple(layout for room_type in ROOM_TYPES for layout in private_layouts(room_type))
PUBLIC_LAYOUTS = tuple(layout for room_type in ROOM_TYPES for layout in public_layouts(room_type))
APARTMENTS = tuple(1000 + 10 * walls + furniture for walls in range(1, 13) for furniture in range(1, 6))


def room_type_of(layout: int) -> str:
    """'kitchen', 'living_room', 'bedroom', 'bathroom' or 'apartment'. Raises ConfigurationError if there is no such
    layout."""
    for room_type, first in _FIRST.items():
        if first <= layout < first + _PRIVATE_PER_TYPE + _PUBLIC_PER_TYPE:
            return room_type
    if layout in APARTMENTS:
        return APARTMENT
    raise ConfigurationError(
        f"there is no layout {layout}; kitchens are 1-99, living rooms 201-299, bedrooms 301-399, bathrooms 401-499"
    )


def scene_of(layout: int) -> str:
    """AI2-THOR's name of a layout, e.g. FloorPlan215_physics. Raises ConfigurationError if there is no such layout."""
    if room_type_of(layout) == APARTMENT:
        return f"FloorPlan_Train{(layout - 1000) // 10}_{layout % 10}"
    return f"FloorPlan{layout}_physics"


def spread(count: int, index: int) -> int:
    """The index-th of `count` things in an order whose every beginning is spread over all of them.

    Steps of about the golden ratio, coprime with `count`: each block of `count` visits everything once.
    """
    step = max(1, round(count * _GOLDEN_RATIO))
    while gcd(step, count) != 1:
        step += 1
    return index * step % count


def shuffled(count: int, seed: int) -> list[int]:
    """Victims 0 .. count - 1 in an order that only the seed tells.

    Where a victim stands says nothing about its room: any room type is as likely as the others. Each four in a row are
    of the four room types, in any order, so that a beginning of the order is spread over them.
    """
    draw = Random(seed)
    by_type = [list(range(kind, count, len(ROOM_TYPES))) for kind in range(len(ROOM_TYPES))]
    for victims in by_type:
        draw.shuffle(victims)
    order: list[int] = []
    for row in zip_longest(*by_type):
        four = [victim for victim in row if victim is not None]
        draw.shuffle(four)
        order += four
    return order


def detector_layouts(
    simulator: str, training: int | None = None, held_out: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(training, held out) layouts for the detector: all public, disjoint, each room type in both.

    With `training` and `held_out`, at most so many of them, evenly spread and evenly from each room type.
    """
    if simulator == "thor":
        pools = [[n for n in APARTMENTS if n < 1100]], [[n for n in APARTMENTS if n >= 1100]]
    else:
        by_type = [public_layouts(room_type) for room_type in ROOM_TYPES]
        cut = _DETECTOR_TRAINING_PER_TYPE
        pools = [layouts[:cut] for layouts in by_type], [layouts[cut:] for layouts in by_type]
    return _take(pools[0], training), _take(pools[1], held_out)


def _take(pools: Sequence[Sequence[int]], count: int | None) -> tuple[int, ...]:
    total = sum(map(len, pools))
    order = (pools[i % len(pools)][spread(len(pools[i % len(pools)]), i // len(pools))] for i in range(total))
    return tuple(sorted(islice(order, count)))


def layout_of_victim(index: int, public: bool = False, simulator: str = "rooms") -> int:
    """The layout that victim `index` lives in: room type `index % 4`, layouts of that type evenly spread.

    Depends on the index alone, so victim 7 is the same victim at every scale; 240 victims visit each of the 120 private
    layouts exactly twice. With `public`, the attacker's own layouts: in the same order in `rooms`, apartments in
    `thor`.
    """
    if public and simulator == "thor":
        return APARTMENTS[spread(len(APARTMENTS), index)]
    room_type = ROOM_TYPES[index % len(ROOM_TYPES)]
    layouts = public_layouts(room_type) if public else private_layouts(room_type)
    return layouts[spread(len(layouts), index // len(ROOM_TYPES))]


def candidate_layouts(count: int) -> tuple[int, ...]:
    """The first `count` private layouts in the order in which victims live in them: those of victims 0 ... count - 1.

    So a few candidates hold the rooms of a few victims, and 120 are all. Raises ConfigurationError for another number.
    """
    if not 0 < count <= len(PRIVATE_LAYOUTS):
        raise ConfigurationError(f"there are {len(PRIVATE_LAYOUTS)} private layouts to choose from, not {count}")
    return tuple(layout_of_victim(index) for index in range(count))
