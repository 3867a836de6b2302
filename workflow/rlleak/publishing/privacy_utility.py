"""Privacy against utility: every defence setting as one point, and whether any of them gives both."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Term
from rlleak.publishing.drawing import legend_below, style
from rlleak.publishing.labels import PALETTE, attack_label
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import failure_note, summary_cell
from rlleak.publishing.tradeoff import (
    CRYPTOGRAPHY,
    LARGER,
    TOLERANCE,
    Attack,
    Estimate,
    Point,
    answers,
    front,
    points,
)
from rlleak.publishing.views import Views

_MEASURES = {"whole": "transitions recovered whole (RA)", "known": "known of s: 1 − error / prior only's"}
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
_NEAR = 5.0
"""Printer's points: what lies nearer shares one number's place."""
# Where a number may stand beside its point: offset in printer's points, and which of its ends lies there.
_BESIDE = ((5, 3, 0), (-5, 3, 1), (5, -9, 0), (-5, -9, 1), (5, 11, 0), (-5, 11, 1), (5, -17, 0), (-5, -17, 1))
_ENDS = ("left", "right")
_LETTER = (2.9, 6.0)


def privacy_utility(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Recovery by the best attack over the return: RA, and what is known of s; open markers: the naive attacker."""
    found = points(metrics, experiment)
    with style():
        figure = Figure(figsize=(7.4, 3.9), layout="constrained")
        left, right, key = figure.subplots(1, 3, width_ratios=(1, 1, 0.52))
        key.axis("off")
        if not found:
            key.text(0, 0.5, "no setting was both trained and attacked", fontsize=7)
            return figure
        for axes, (measure, heading) in zip((left, right), _MEASURES.items(), strict=True):
            _panel(axes, found, measure)
            axes.set(xlabel="return / undefended", ylabel=heading)
        _key(key, found)
        legend_below(figure, _legend(found), _sizes(found))
        for axes, measure in zip((left, right), _MEASURES, strict=True):
            _number(axes, _places(found, measure))
    return figure


def _panel(axes: Axes, found: Sequence[Point], measure: str) -> None:
    axes.axvspan(1 - TOLERANCE, 1 + TOLERANCE, color=PALETTE["grey"], alpha=0.12, lw=0)
    places = _places(found, measure)
    for point, (x, y) in zip(found, places, strict=True):
        colour, marker = _LOOKS[point.kind]
        best = getattr(point.best(measure), measure)
        look = {"color": colour, "lw": 0.6, "alpha": 0.55, "zorder": 2}
        if np.isfinite([point.utility.low, point.utility.high]).all():
            axes.hlines(y, point.utility.low, point.utility.high, **look)
        if np.isfinite([best.low, best.high]).all():
            axes.vlines(x, best.low, best.high, **look)
        adaptation = point.adaptation(measure)
        if adaptation is not None:
            below, above = (getattr(attack, measure).value for attack in adaptation)
            axes.plot([x, x], [above, below], color=colour, lw=0.8, ls=":", zorder=2)
            axes.plot(x, above, "_", color=colour, ms=5, mew=0.8, zorder=3)
            axes.plot(x, below, marker, color=colour, ms=4.5, mfc="white", mew=0.8, zorder=3)
        axes.plot(x, y, marker, color=colour, ms=8 if marker == "*" else 5, mec="white", mew=0.4, zorder=4)
    first = sorted(place for place, is_first in zip(places, front(places), strict=True) if is_first)
    axes.plot(*zip(*first, strict=True), color="black", lw=0.9, drawstyle="steps-post", zorder=1)
    axes.axhline(0, color=PALETTE["grey"], lw=0.7, ls="--", zorder=0)
    _limits(axes, found, places)
    axes.grid(lw=0.3, alpha=0.4)


def _places(found: Sequence[Point], measure: str) -> list[tuple[float, float]]:
    return [(point.utility.value, getattr(point.best(measure), measure).value) for point in found]


def _limits(axes: Axes, found: Sequence[Point], places: Sequence[tuple[float, float]]) -> None:
    """All points are inside; an interval, or an attack that is far worse than a guess, may run out of the panel."""
    right = max(x for x, _ in places)
    left = min(0.0, *(x for x, _ in places))
    ends = [end for point in found for end in (point.utility.high,) if np.isfinite(end)]
    axes.set_xlim(left - 0.05, min(max([right, *ends]), right + 0.25) + 0.06)
    axes.set_ylim(max(min(0.0, *(y for _, y in places)), -1.0) - 0.08, 1.09)


def _number(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """Numbers beside the points, in the order of the key; points that nearly coincide are numbered together."""
    # After the layout is known: how far points lie apart on paper.
    axes.figure.draw_without_rendering()
    inches = 72 / axes.figure.dpi
    scaled = axes.transData.transform(np.clip(places, *np.transpose([axes.get_xlim(), axes.get_ylim()]))) * inches
    groups: list[list[int]] = []
    for index, place in enumerate(scaled):
        near = next((group for group in groups if np.hypot(*(place - scaled[group[0]])) < _NEAR), None)
        groups.append([index]) if near is None else near.append(index)
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in scaled]
    left, _, right, _ = np.array(axes.get_window_extent().extents) * inches
    taken += [(right, -1e4, 1e4, 1e4), (-1e4, -1e4, left, 1e4)]
    for group in groups:
        words, place = _runs(group), scaled[group[0]]
        boxes = [_box(place, words, *offset) for offset in _BESIDE]
        costs = [
            sum(_overlap(box, other) for other in [*taken, (right, -1e4, 1e4, 1e4), (-1e4, -1e4, left, 1e4)])
            for box in boxes
        ]
        across, up, end = _BESIDE[int(np.argmin(costs))]
        taken.append(boxes[int(np.argmin(costs))])
        look = {"textcoords": "offset points", "fontsize": 5.5, "ha": _ENDS[end], "zorder": 5}
        axes.annotate(words, places[group[0]], xytext=(across, up), annotation_clip=False, **look)


def _box(place: np.ndarray, words: str, across: int, up: int, end: int) -> tuple[float, float, float, float]:
    width = _LETTER[0] * len(words)
    x, y = place[0] + across - end * width, place[1] + up
    return x, y, x + width, y + _LETTER[1]


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(
        0.0, min(one[3], other[3]) - max(one[1], other[1])
    )


def _runs(group: Sequence[int]) -> str:
    """'1-3, 7' of the places 0, 1, 2 and 6."""
    runs: list[list[int]] = []
    for index in group:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0] + 1}–{run[-1] + 1}" if len(run) > 1 else f"{run[0] + 1}" for run in runs)


def _key(axes: Axes, found: Sequence[Point]) -> None:
    """What the numbers stand for, beside the points' markers."""
    step = 1 / max(len(found), 26)
    for index, point in enumerate(found):
        (colour, marker), height = _LOOKS[point.kind], 1 - (index + 0.5) * step
        axes.plot(0.03, height, marker, color=colour, ms=4, mec="white", mew=0.3)
        axes.text(0.09, height, f"{index + 1}  {point.label}", fontsize=5.6, va="center")
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _legend(found: Sequence[Point]) -> dict[str, Line2D]:
    shown = {"Pareto front": Line2D([], [], color="black", lw=0.9)}
    if any(point.naive for point in found):
        look = {"color": "black", "ms": 4.5, "ls": ":", "lw": 0.8}
        shown["who does not know the defence"] = Line2D([], [], marker="o", mfc="white", **look)
        shown["who knows it, same updates"] = Line2D([], [], marker="_", **look)
    return shown


def _sizes(found: Sequence[Point]) -> str:
    updates = sorted({point.attacks[0].whole.n for point in found})
    runs = sorted({point.utility.n for point in found})
    return f"{_span(runs)} runs of training, {_span(updates)} updates attacked; grey: within 5 % of the return"


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def privacy_utility_table(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """A row per setting: its return, the best attacks on it, and whether both are as one would wish."""
    found = points(metrics, experiment)
    columns = (
        *("return", "of undefended [%]", "within 5 %", "RA", "by", "known of s [%]", "by ", "a right"),
        *("no better than prior only", "both", "RA, naive", "RA, same updates"),
        *("known of s, naive [%]", "known of s, same updates [%]", "bytes"),
        *("ε, client", "ε, transition", "runs", "n"),
    )
    table = Table(("kind", "defence"), columns)
    for point in found:
        table.rows.append(Row((point.kind, point.label), _cells(metrics, experiment, point)))
    table.notes = [
        *answers(found),
        "Return: mean ± standard deviation over runs of each one's last two fifths of rounds. Known of s: 1 − median "
        "error of s over that of prior only. RA, known and a: of the attack that recovers most; in brackets 95 % "
        "intervals (paired bootstrap over runs or victims; exact for RA and a of single transitions). Sums of clients: "
        "with secure aggregation a server sees the mean that it would compute anyway, so the policy is the undefended "
        "one.",
        "Bytes: of one client's message. ε over the whole training by Opacus' accountant, ∞ where none is given: of "
        "all that one client sends, against updates of zero; of a transition of its replay, replaced by any other.",
        *_met_trained(found),
        "Naive: the best attack by who does not know the defence; same updates: the best by who does, on updates of "
        "the networks that the naive met. Of more than one transition, and where no simulation of several local steps "
        "explains what arrived, those who know the defence have nothing better than to match.",
        *failure_note(metrics),
    ]
    return table


def _met_trained(found: Sequence[Point]) -> list[str]:
    """Which settings were attacked on a trained network, too."""
    both = [point.label for point in found if len({attack.where.network for attack in point.attacks}) > 1]
    if not both:
        return []
    return [f"Attacked on updates of a trained network, too: {', '.join(both)}; all others on a fresh one's alone."]


def _cells(metrics: pd.DataFrame, experiment: Experiment, point: Point) -> dict[str, Cell]:
    training = point.where.model_copy(
        update={"attack": TRAINING, "batch": 1 if point.cryptographic else point.where.batch}
    )
    whole, known = point.best("whole"), point.best("known")
    cells = {
        "return": summary_cell(metrics, experiment, Term(metric="return", where=training), 1),
        "of undefended [%]": _interval(point.utility, 1, 100),
        "within 5 %": Cell(text=point.keeps),
        "RA": _interval(whole.whole, 2),
        "by": Cell(text=_named(whole, point)),
        "known of s [%]": _interval(known.known, 1, 100),
        "by ": Cell(text=_named(known, point)),
        "a right": _action(point.attacks),
        "no better than prior only": Cell(text=point.hides),
        "both": Cell(text=point.both),
        "runs": Cell(float(point.utility.n), digits=0),
        "n": Cell(float(whole.whole.n), digits=0),
    }
    for measure, name, unit, digits, scale in (("whole", "RA", "", 2, 1), ("known", "known of s", " [%]", 1, 100)):
        adaptation = point.adaptation(measure)
        if adaptation is not None:
            naive, knowing = (_interval(getattr(attack, measure), digits, scale) for attack in adaptation)
            cells |= {f"{name}, naive{unit}": naive, f"{name}, same updates{unit}": knowing}
    size = rows_of(metrics, training, "message_bytes")["value"]
    if len(size):
        cells["bytes"] = Cell(float(size.iloc[0]), digits=0, text=f"{size.iloc[0]:,.0f}")
    for unit, metric in (("client", "epsilon"), ("transition", "epsilon_transition")):
        found = rows_of(metrics, training, metric)["value"]
        cells[f"ε, {unit}"] = Cell(float(found.iloc[0]), digits=2) if len(found) else Cell(text="∞")
    return {name: cell for name, cell in cells.items() if cell is not None}


def _named(attack: Attack, point: Point) -> str:
    fresh = attack.where.network == point.where.network
    return attack_label(attack.name) + ("" if fresh else ", trained network")


def _action(attacks: Iterable[Attack]) -> Cell | None:
    best = max((attack.action for attack in attacks if attack.action), key=lambda share: share.value, default=None)
    return None if best is None else _interval(best, 2)


def _interval(estimate: Estimate, digits: int, scale: float = 1.0) -> Cell:
    ends = (scale * estimate.low, scale * estimate.high)
    return Cell(scale * estimate.value, digits=digits, interval=ends)
