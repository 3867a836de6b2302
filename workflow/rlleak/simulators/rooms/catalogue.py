"""Which objects of a room an agent may be asked to look at."""

from rlleak.errors import ConfigurationError
from rlleak.simulators.layouts import ROOM_TYPES, room_type_of

#: AI2-THOR object types that belong to each type of room. Every layout has most of its room type's.
TARGET_TYPES: dict[str, tuple[str, ...]] = {
    "kitchen": (
        "Fridge", "Microwave", "Mug", "Toaster", "CoffeeMachine", "Pot", "Pan", "Apple", "Bread", "Bowl", "Plate",
        "Kettle", "Sink", "GarbageCan", "Chair", "DiningTable", "HousePlant",
    ),
    "living_room": (
        "Sofa", "Television", "Laptop", "FloorLamp", "HousePlant", "ArmChair", "CoffeeTable", "Book",
        "RemoteControl", "Box", "Painting", "Vase", "DeskLamp", "SideTable",
    ),
    "bedroom": (
        "Bed", "Desk", "AlarmClock", "Pillow", "Book", "Dresser", "SideTable", "Laptop", "DeskLamp", "Chair",
        "CellPhone", "Painting", "Mirror", "GarbageCan", "TeddyBear", "BasketBall",
    ),
    "bathroom": (
        "Toilet", "Sink", "Towel", "SoapBottle", "Bathtub", "Mirror", "ToiletPaper", "Candle", "SprayBottle",
        "GarbageCan", "Plunger", "ScrubBrush", "HandTowel", "Cloth",
    ),
}  # fmt: skip


def type_of_room(layout: int) -> str:
    """Name the room type of a layout that this simulator can build.

    Raises:
        ConfigurationError: there is no such room (Unity's apartments are not built here).
    """
    room_type = room_type_of(layout)
    if room_type not in ROOM_TYPES:
        raise ConfigurationError(f"layout {layout} is one of Unity's apartments: the rooms player cannot build it")
    return room_type
