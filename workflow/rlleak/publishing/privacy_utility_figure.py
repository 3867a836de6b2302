"""Privacy against utility as a picture: points and their front, and a row per setting for what they hide."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlleak.configuration.experiments import Experiment
from rlleak.publishing.drawing import legend_below, style
from rlleak.publishing.labels import PALETTE
from rlleak.publishing.tradeoff import CRYPTOGRAPHY, LARGER, TOLERANCE, Estimate, Point, front, points
from rlleak.publishing.views import Views

_WHOLE, _KNOWN = "whole", "known"
_MEASURES = {_WHOLE: "transitions recovered whole (RA)", _KNOWN: "known of s: 1 − error / prior only's"}
_RETURN = "return / undefended"
_LOOKS = {
    "undefended": ("black", "*"),
    "noise of a variance": (PALETTE["vermillion"], "o"),
    "noise relative to the update": ("#8B2500", "o"),
    "clipping": (PALETTE["orange"], "s"),
    "fewer bits": (PALETTE["blue"], "^"),
    "fewer numbers": (PALETTE["sky"], "v"),
    "pruned or withheld": (PALETTE["green"], "D"),
    "local steps": (PALETTE["purple"], "P"),
    LARGER: (PALETTE["grey"], "X"),
    "combined": ("#5E3C99", "h"),
    CRYPTOGRAPHY: ("#8C6D31", "p"),
}
_ROW = 0.165
"""Inches."""
_WORST = -0.35
"""What is further below a guess stands at the panel's edge."""


def privacy_utility(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Left: recovery by the best attack over the return, with the front. Right: the same by setting, the most private
    first, with 95 % intervals and what the naive attacker makes of it (open)."""
    found = sorted(points(metrics, experiment), key=_leaks)
    with style():
        figure = Figure(figsize=(7.4, max(4.4, 0.9 + _ROW * len(found))), layout="constrained")
        if not found:
            axes = figure.subplots()
            axes.axis("off")
            axes.text(0, 0.5, "no setting was both trained and attacked", fontsize=7)
            return figure
        grid = figure.add_gridspec(2, 4, width_ratios=(1.25, 0.62, 0.62, 0.62))
        for row, (measure, heading) in enumerate(_MEASURES.items()):
            axes = figure.add_subplot(grid[row, 0])
            _scattered(axes, found, measure)
            axes.set(xlabel=_RETURN if row else "", ylabel=heading)
        returns, known, whole = (figure.add_subplot(grid[:, column]) for column in (1, 2, 3))
        _rows(returns, found, lambda point: point.utility)
        _within(returns, 1 - TOLERANCE, 1 + TOLERANCE)
        returns.set_yticks(range(len(found)), [_title(index, found) for index in range(len(found))], fontsize=5.6)
        for axes, measure in ((known, _KNOWN), (whole, _WHOLE)):
            _rows(axes, found, _best(measure))
            _adapted(axes, found, measure)
            axes.axvline(0, color=PALETTE["grey"], lw=0.7, ls="--", zorder=0)
            axes.set_yticks(range(len(found)), [])
        returns.set_title(_RETURN)
        known.set_title("known of s")
        known.set_xlim(_WORST, 1.08)
        whole.set_title("RA")
        whole.set_xlim(-0.08, 1.08)
        legend_below(figure, _legend(found), _sizes(found))
    return figure


def _leaks(point: Point) -> tuple[float, float]:
    """What stands first: of which least is known; of alike ones the better return."""
    return round(point.best(_KNOWN).known.value, 2), -point.utility.value


def _best(measure: str) -> Callable[[Point], Estimate]:
    return lambda point: getattr(point.best(measure), measure)


def _title(index: int, found: Sequence[Point]) -> str:
    return f"{found[index].label}  {index + 1}"


def _scattered(axes: Axes, found: Sequence[Point], measure: str) -> None:
    _within(axes, 1 - TOLERANCE, 1 + TOLERANCE)
    places = [(point.utility.value, _best(measure)(point).value) for point in found]
    first = front(places)
    for number, (point, (x, y), unbeaten) in enumerate(zip(found, places, first, strict=True), start=1):
        colour, marker = _LOOKS[point.kind]
        best, size = _best(measure)(point), 8 if marker == "*" else 5
        for line, at, ends in ((axes.hlines, y, point.utility), (axes.vlines, x, best)):
            if np.isfinite([ends.low, ends.high]).all():
                line(at, ends.low, ends.high, color=colour, lw=0.5, alpha=0.4, zorder=2)
        axes.plot(x, y, marker, color=colour, ms=size, mec="white", mew=0.4, zorder=3)
        if unbeaten:
            look = {"textcoords": "offset points", "fontsize": 6, "fontweight": "bold", "zorder": 4}
            axes.annotate(str(number), (x, y), xytext=(4, 4), **look)
    best_of_all = sorted(place for place, unbeaten in zip(places, first, strict=True) if unbeaten)
    axes.plot(*zip(*best_of_all, strict=True), color="black", lw=0.9, drawstyle="steps-post", zorder=1)
    axes.axhline(0, color=PALETTE["grey"], lw=0.7, ls="--", zorder=0)
    axes.set_xlim(min(0.0, *(x for x, _ in places)) - 0.05, max(x for x, _ in places) + 0.15)
    axes.set_ylim(max(min(0.0, *(y for _, y in places)), -1.0) - 0.08, 1.09)
    axes.grid(lw=0.3, alpha=0.4)


def _rows(axes: Axes, found: Sequence[Point], quantity: Callable[[Point], Estimate]) -> None:
    for row, point in enumerate(found):
        (colour, marker), estimate = _LOOKS[point.kind], quantity(point)
        if np.isfinite([estimate.low, estimate.high]).all():
            axes.hlines(row, estimate.low, estimate.high, color=colour, lw=0.9, alpha=0.7, zorder=2)
        axes.plot(estimate.value, row, marker, color=colour, ms=4, mec="white", mew=0.3, zorder=4)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.grid(axis="x", lw=0.3, alpha=0.4)
    axes.tick_params(axis="y", length=0)
    for row in range(1, len(found), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=PALETTE["grey"], alpha=0.07, lw=0, zorder=0)


def _adapted(axes: Axes, found: Sequence[Point], measure: str) -> None:
    """What who does not know the defence makes of it, and who does of the same updates."""
    for row, point in enumerate(found):
        adaptation = point.adaptation(measure)
        if adaptation is None:
            continue
        colour, marker = _LOOKS[point.kind]
        naive, knowing = (max(getattr(attack, measure).value, _WORST) for attack in adaptation)
        axes.plot([naive, knowing], [row, row], color=colour, lw=0.8, ls=":", zorder=2)
        axes.plot(knowing, row, "|", color=colour, ms=5, mew=0.8, zorder=3)
        axes.plot(naive, row, marker, color=colour, ms=3.5, mfc="white", mew=0.8, zorder=3, clip_on=False)


def _within(axes: Axes, low: float, high: float) -> None:
    axes.axvspan(low, high, color=PALETTE["grey"], alpha=0.18, lw=0)


def _legend(found: Sequence[Point]) -> dict[str, Line2D]:
    shown = {"Pareto front, numbered as its settings": Line2D([], [], color="black", lw=0.9)}
    if any(point.naive for point in found):
        look = {"color": "black", "ms": 4.5, "ls": ":", "lw": 0.8}
        shown["who does not know the defence"] = Line2D([], [], marker="o", mfc="white", **look)
        shown["who knows it, same updates"] = Line2D([], [], marker="|", **look)
    return shown


def _sizes(found: Sequence[Point]) -> str:
    updates = sorted({point.attacks[0].whole.n for point in found})
    runs = sorted({point.utility.n for point in found})
    return f"{_span(runs)} runs of training, {_span(updates)} updates attacked; grey: within 5 % of the return"


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
