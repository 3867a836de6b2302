"""All 120 rooms at a glance: contact sheets, and image statistics beside those of real AI2-THOR frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from rlleak.simulators.image_statistics import THOR_DEPTH, THOR_IMAGES, depth_statistics, image_statistics
from rlleak.simulators.layouts import PRIVATE_LAYOUTS, ROOM_TYPES
from rlleak.simulators.rooms.catalogue import type_of_room
from rlleak.simulators.rooms.views import default_view
from rlleak.simulators.rooms.world import Frame, RoomWorld

_MARGIN = 3
_PAPER = 255


def default_frames(layouts: Iterable[int] = PRIVATE_LAYOUTS, size: int = 150) -> dict[int, Frame]:
    """Render each layout's default view at size x size. The 120 take about half a minute on one core.

    Raises:
        ConfigurationError: a layout does not exist.
        SimulatorError: OpenGL cannot start.
    """
    frames: dict[int, Frame] = {}
    world: RoomWorld | None = None
    try:
        for layout in layouts:
            if world is None:
                world = RoomWorld(layout, size, size)
            else:
                world.load(layout)
            frames[layout] = world.render(*default_view(world))
    finally:
        if world is not None:
            world.close()
    return frames


def contact_sheet(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Lay out equal images (H, W, 3) uint8 in rows of `columns` with white gaps between them."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + _MARGIN) + _MARGIN, columns * (width + _MARGIN) + _MARGIN, 3), _PAPER, np.uint8)
    for number, image in enumerate(images):
        top = _MARGIN + number // columns * (height + _MARGIN)
        left = _MARGIN + number % columns * (width + _MARGIN)
        sheet[top : top + height, left : left + width] = image
    return sheet


def all_rooms(frames: dict[int, Frame], columns: int = 15) -> np.ndarray:
    """The RGB views of all given layouts, in their order."""
    return contact_sheet([frame.rgb for frame in frames.values()], columns)


def measure(frames: dict[int, Frame]) -> pd.DataFrame:
    """Statistics of each frame: one row per layout, columns layout, room_type and the statistics by name."""
    return pd.DataFrame(
        [
            {
                "layout": layout,
                "room_type": type_of_room(layout),
                **image_statistics(frame.rgb),
                **depth_statistics(frame.depth),
            }
            for layout, frame in frames.items()
        ]
    )


def statistics_table(frames: dict[int, Frame] | None = None) -> pd.DataFrame:
    """Compare the rooms with real AI2-THOR frames.

    Args:
        frames: default views by layout; rendered (all 120) if not given.

    Returns:
        One row per room type and statistic, with columns room_type, statistic, rooms_median, rooms_p10, rooms_p90,
        thor_median, thor_p10, thor_p90, inside (the rooms' median lies within AI2-THOR's 10-90 % range).
    """
    measured = measure(default_frames() if frames is None else frames)
    rows = []
    for room_type in ROOM_TYPES:
        values = measured[measured.room_type == room_type]
        for statistic, (median, low, high) in {**THOR_IMAGES[room_type], **THOR_DEPTH}.items():
            p10, middle, p90 = np.percentile(values[statistic], [10, 50, 90]) if len(values) else (np.nan,) * 3
            rows.append(
                {
                    "room_type": room_type, "statistic": statistic,
                    "rooms_median": middle, "rooms_p10": p10, "rooms_p90": p90,
                    "thor_median": median, "thor_p10": low, "thor_p90": high,
                    "inside": bool(low <= middle <= high),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
