"""Where a person fits: collisions of a disc with the room's walls and furniture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RADIUS = 0.2
GRID = 0.25


def clear(points: np.ndarray, size: tuple[float, float], obstacles: np.ndarray) -> np.ndarray:
    """Say for each point (n, 2) whether a disc of 0.2 m lies inside the room and off all rectangles (m, 4)."""
    inside = np.all(np.abs(points) <= np.asarray(size) / 2 - RADIUS, axis=1)
    nearest = np.clip(points[:, None], obstacles[None, :, :2], obstacles[None, :, 2:])
    distance = np.linalg.norm(points[:, None] - nearest, axis=2)
    return inside & np.all(distance >= RADIUS, axis=1)


def reachable_positions(size: tuple[float, float], obstacles: np.ndarray) -> np.ndarray:
    """List the largest set of grid positions (n, 2) joined by free steps of 0.25 m along x or z."""
    # Every other node of a grid twice as fine is a position; those between them are the middles of steps.
    reach = [int(np.floor(extent / 2 / GRID)) for extent in size]
    axes = [np.arange(-2 * n, 2 * n + 1) * (GRID / 2) for n in reach]
    x, z = np.meshgrid(*axes, indexing="ij")
    free = clear(np.stack([x.ravel(), z.ravel()], 1), size, obstacles).reshape(x.shape)
    odd_x, odd_z = (np.arange(n) % 2 == 1 for n in free.shape)
    free[np.ix_(odd_x, odd_z)] = False
    labels = np.asarray(ndimage.label(free)[0])
    nodes = labels[::2, ::2]
    sizes = np.bincount(nodes.ravel())
    sizes[0] = 0
    chosen = nodes == int(sizes.argmax())
    return np.stack([x[::2, ::2][chosen], z[::2, ::2][chosen]], 1)
