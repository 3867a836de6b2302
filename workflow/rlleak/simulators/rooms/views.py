"""Where to look from: one telling view of each room."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np

View = tuple[float, float, float, float]
_HORIZON = 30.0


class _World(Protocol):
    reachable: np.ndarray
    size: tuple[float, float]
    objects: list


def default_view(world: _World) -> View:
    """Choose a view across the room: (x, z, yaw, horizon), yaw a multiple of 15 degrees, looking 30 degrees down.

    Of all reachable positions and directions, the one that has most kinds of the room's targets before it at a
    comfortable distance.
    """
    wanted = [thing for thing in world.objects if thing.is_target]
    alike = Counter(thing.object_type for thing in wanted)
    targets = np.array([[thing.center[0], thing.center[2]] for thing in wanted])
    # Four chairs are worth little more than one: what counts is how many kinds of things are seen.
    value = np.array([(0.3 + min(1.0, max(thing.size))) / alike[thing.object_type] for thing in wanted])
    yaws = np.arange(0, 360, 15.0)
    headings = np.stack([np.sin(np.radians(yaws)), np.cos(np.radians(yaws))], 1)
    offsets = targets[None] - world.reachable[:, None]
    distance = np.linalg.norm(offsets, axis=2)
    ahead = np.einsum("pti,yi->pyt", offsets, headings)
    seen = (ahead > 0.75 * distance[:, None]) & (ahead > 0.7)
    worth = value * np.exp(-((distance - 1.45) ** 2) / 0.6)
    score = np.einsum("pyt,pt->py", seen, worth)
    position, direction = np.unravel_index(int(score.argmax()), score.shape)
    x, z = world.reachable[position]
    return float(x), float(z), float(yaws[direction]), _HORIZON
