"""The long table that everything published is made from: one row per victim and metric.

Apart from what computes it, so that jobs which only read it need nothing that computes.
"""

from collections.abc import Mapping
from typing import Any

from rlleak.configuration import axes

AXES = ("simulator", "scale", *axes.AXES)
COLUMNS = (*AXES, "method", "noise", "victim", "layout", "room_type", "metric", "value")


def relative_noise(defence: Mapping[str, Any] | None) -> float:
    """The length of the noise that a victim added, over its gradient's, where its defence says so; else 0."""
    return (defence or {}).get("relative_deviation") or 0.0
