"""Where to look from: one telling view of each room."""

from __future__ import annotations

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

    Of all reachable positions and directions, the one that has most of the room's targets before it at a
    comfortable distance.
    """
    targets = np.array([[o.center[0], o.center[2]] for o in world.objects if o.is_target])
    bulk = np.array([min(1.0, max(o.size)) for o in world.objects if o.is_target])
    yaws = np.arange(0, 360, 15.0)
    headings = np.stack([np.sin(np.radians(yaws)), np.cos(np.radians(yaws))], 1)
    offsets = targets[None] - world.reachable[:, None]
    distance = np.linalg.norm(offsets, axis=2)
    ahead = np.einsum("pti,yi->pyt", offsets, headings)
    seen = (ahead > 0.75 * distance[:, None]) & (ahead > 0.7)
    worth = (0.3 + bulk) * np.exp(-((distance - 1.35) ** 2) / 0.5)
    score = np.einsum("pyt,pt->py", seen, worth)
    position, direction = np.unravel_index(int(score.argmax()), score.shape)
    x, z = world.reachable[position]
    return float(x), float(z), float(yaws[direction]), _HORIZON
