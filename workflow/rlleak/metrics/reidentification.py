"""What an image gives away of a person: which of the candidate homes it shows, and what the robot was looking for.

The threat model stands in `rlleak.metrics.onlooker`. `_truth` is the same onlooker shown the true image and box: no
reconstruction that an onlooker of this skill sees can be expected to do better. `_chance` is who guesses blindly.
"""

from functools import partial

import numpy as np

from rlleak.metrics.comparison import Comparison


def _among_first(comparison: Comparison, *, rank: str, first: int) -> np.ndarray | None:
    """1 where the true one is among the first few, else 0; None without an onlooker or an image."""
    found = comparison.identified.get(rank)
    return None if found is None else (found <= first).astype(float)


def _chance(comparison: Comparison, *, choices: str, first: int) -> np.ndarray | None:
    """The chance of a blind guess, the same for every victim: a few of all choices."""
    count = comparison.identified.get(choices)
    return None if count is None else np.minimum(first / count, 1.0)


room_top1 = partial(_among_first, rank="room", first=1)
room_top5 = partial(_among_first, rank="room", first=5)
room_top1_truth = partial(_among_first, rank="room_truth", first=1)
room_top5_truth = partial(_among_first, rank="room_truth", first=5)
room_top1_chance = partial(_chance, choices="rooms", first=1)
room_top5_chance = partial(_chance, choices="rooms", first=5)

target_top1 = partial(_among_first, rank="target", first=1)
target_top5 = partial(_among_first, rank="target", first=5)
target_top1_truth = partial(_among_first, rank="target_truth", first=1)
target_top5_truth = partial(_among_first, rank="target_truth", first=5)
target_top1_chance = partial(_chance, choices="targets", first=1)
target_top5_chance = partial(_chance, choices="targets", first=5)
