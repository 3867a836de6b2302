"""Curves over levels: means over victims with their intervals, at places of an axis that stand side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rlleak.configuration.experiments import Selection
from rlleak.publishing.drawing import legend_below
from rlleak.publishing.statistics import mean_interval, rows_of

_APART = 0.025
"""Between lines at the same place of an axis, of its length: about a marker, so those that coincide stay visible."""
_WIDEST = 0.55
"""What all lines may take of the way from one place to the next."""
_SAMPLES = 2000
_LOGARITHMIC = ("mse", "nrmse_state", "te")


def draw_line(
    axes: Axes,
    metrics: pd.DataFrame,
    metric: str,
    places: Mapping[int, Selection],
    look: Mapping[str, Any],
    label: str | None,
    line: str = "-",
    aside: float = 0.0,
) -> None:
    """Means over victims with bars of their 95 % intervals, at places of the axis.

    look: colour and marker. line: its dashes, "none" where points are not joined. aside: how far all points stand from
    their places (`sideways`).
    """
    found = []
    for place, where in sorted(places.items()):
        victims = rows_of(metrics, where, metric).groupby(["victim", "room_type"])["value"].mean().reset_index()
        if len(victims):
            values = victims["value"].to_numpy(float)
            interval = mean_interval(values, victims["room_type"].to_numpy(str), _SAMPLES, seed=0)
            found.append((place + aside, values.mean(), *interval))
    if not found:
        return
    at, means, lows, highs = map(np.array, zip(*found, strict=True))
    axes.plot(at, means, **{"ms": 3.5, "lw": 1.1, "ls": line, "label": label, **look})
    known = np.isfinite(lows)
    axes.vlines(at[known], lows[known], highs[known], color=look["color"], lw=0.9, alpha=0.7)


def sideways(number: int, count: int, places: int) -> float:
    """How far from the places of an axis the numberth of `count` lines stands, so that none hides another."""
    return min(_APART * places, _WIDEST / count) * (number - (count - 1) / 2)


def finish(axes: Axes, metric: str, names: Sequence[str]) -> None:
    """Weights and amounts grow by factors, and may be 0: their places stand side by side."""
    axes.set_xticks(range(len(names)), names)
    drawn = [value for line in axes.lines for value in np.atleast_1d(line.get_ydata())]
    if metric in _LOGARITHMIC and drawn and min(drawn) > 0:
        _logarithmic(axes)
    axes.grid(axis="y", lw=0.3, alpha=0.6)


def _logarithmic(axes: Axes) -> None:
    """Powers of ten are named; over less than two of them, 1, 2 and 5 times each."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def legend_of(figure: Figure, panels: np.ndarray, metrics: pd.DataFrame) -> None:
    """What the panels' lines are, once, and how many updates they are means of."""
    labelled = {
        label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    counts = metrics.groupby("setting")["victim"].nunique()
    told = ", ".join(f"{count} in {setting}" for setting, count in counts.items())
    if labelled:
        legend_below(figure, labelled, f"updates: {told}")
