"""Curves over levels: means over victims with their intervals, at places of an axis that stand side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlleak.configuration.experiments import Selection
from rlleak.publishing.drawing import legend_below
from rlleak.publishing.statistics import mean_interval, rows_of

COLOURS = ("grey", "blue", "orange", "green", "vermillion", "purple", "sky")
_SAMPLES = 2000
_LOGARITHMIC = ("mse", "nrmse_state", "te")


def draw_line(
    axes: Axes,
    metrics: pd.DataFrame,
    metric: str,
    places: Mapping[int, Selection],
    colour: str,
    label: str | None,
    joined: bool = True,
    line: str = "-",
) -> None:
    """Means over victims with their 95 % intervals, at places of the axis; open circles if they are not joined."""
    found = []
    for place, where in sorted(places.items()):
        values = rows_of(metrics, where, metric).groupby("victim")["value"].mean().to_numpy(float)
        if len(values):
            found.append((place, values.mean(), *mean_interval(values, np.full(len(values), ""), _SAMPLES, seed=0)))
    if not found:
        return
    at, means, lows, highs = map(np.array, zip(*found, strict=True))
    look = {"color": colour, "ms": 3.5, "lw": 1.2, "label": label, "mfc": None if joined else "none"}
    axes.plot(at, means, "o", ls=line if joined else "none", **look)
    if not np.isfinite(lows).all():
        return
    if joined:
        axes.fill_between(at, lows, highs, color=colour, alpha=0.15, lw=0)
    else:
        axes.vlines(at, lows, highs, color=colour, lw=0.8)


def finish(axes: Axes, metric: str, names: Sequence[str]) -> None:
    """Weights and amounts grow by factors, and may be 0: their places stand side by side."""
    axes.set_xticks(range(len(names)), names)
    drawn = [value for line in axes.lines for value in np.atleast_1d(line.get_ydata())]
    if metric in _LOGARITHMIC and drawn and min(drawn) > 0:
        axes.set_yscale("log")
    axes.grid(axis="y", lw=0.3, alpha=0.6)


def legend_of(figure: Figure, panels: np.ndarray, metrics: pd.DataFrame) -> None:
    """What the panels' lines are, once, and how many updates they are means of."""
    labelled = {
        label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    counts = metrics.groupby("setting")["victim"].nunique()
    told = ", ".join(f"{count} in {setting}" for setting, count in counts.items())
    if labelled:
        legend_below(figure, labelled, f"updates: {told}")
