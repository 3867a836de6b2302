"""Learning curves of federated training: return over environment steps, with and without each defence."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.drawing import style
from rlleak.publishing.labels import PALETTE, defence_kind, defence_label, variance_of
from rlleak.publishing.statistics import mean_interval, rows_of
from rlleak.publishing.tables import methods
from rlleak.publishing.views import Views

_COLOURS = ("blue", "vermillion", "green", "orange", "purple", "sky")
_COLUMNS = 3
_TOGETHER = 3
"""Lines in a panel, at most, beside the undefended one: more of them hide each other."""
_SAMPLES = 2000


def federated_curves(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Panels by environment and kind of defence; the undefended curve is in each of them, in grey, if there is one."""
    panels = _panels(metrics, experiment)
    rows = -(-len(panels) // _COLUMNS)
    with style():
        figure = Figure(figsize=(7.2, 1.9 * max(rows, 1) + 0.3), layout="constrained")
        grid = figure.subplots(max(rows, 1), _COLUMNS, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        first: dict[str, Axes] = {}
        for axes, panel in zip(grid.flat, panels, strict=False):
            if first.setdefault(panel.setting, axes) is not axes:
                axes.sharey(first[panel.setting])
            if panel.plain is not None:
                _curve(axes, views.curve(panel.plain), PALETTE["grey"], "undefended")
            for where, colour in zip(panel.wheres, _colours(panel.wheres), strict=True):
                _curve(axes, views.curve(where), colour, _label(where, panel.plain))
            axes.set_title(panel.title)
            look = {"handlelength": 1.2, "labelspacing": 0.2, "columnspacing": 0.8, "borderaxespad": 0.1}
            axes.legend(fontsize=6, loc="best", framealpha=0.6, edgecolor="none", **look)
            axes.grid(lw=0.3, alpha=0.5)
        for axes in grid[:, 0]:
            axes.set_ylabel("return")
        runs = metrics[metrics["attack"] == TRAINING].groupby("setting", sort=False)["victim"].nunique()
        told = ", ".join(f"{count} in {setting}" for setting, count in runs.items())
        figure.supxlabel(f"steps of the environment, all clients together (runs: {told})", fontsize=8)
    return figure


@dataclass(frozen=True)
class _Panel:
    """What stands beside an undefended training, or alone where none was run; the title is no other panel's."""

    title: str
    setting: str
    plain: Selection | None
    wheres: list[Selection]


def _panels(metrics: pd.DataFrame, experiment: Experiment) -> list[_Panel]:
    wheres = [where for _, where in methods(experiment) if where.attack == TRAINING]
    wheres = [where for where in wheres if not rows_of(metrics, where, "return").empty]
    bare = sorted((where for where in wheres if where.defence == "none"), key=lambda where: where.batch)
    # Over the fewest transitions; a larger batch without a defence is one.
    least = {where.setting: where for where in reversed(bare)}
    same = {(where.setting, where.batch): where for where in bare}
    groups: dict[tuple[str, Selection | None, str], list[Selection]] = {}
    for where in wheres:
        smallest = least.get(where.setting)
        if where != smallest:
            plain = smallest if where.defence == "none" else same.get((where.setting, where.batch), smallest)
            groups.setdefault((where.setting, plain, _kind(where)), []).append(where)
    defended = {setting for setting, *_ in groups}
    groups |= {(setting, plain, "undefended"): [] for setting, plain in least.items() if setting not in defended}
    panels = []
    for (setting, plain, kind), own in groups.items():
        parts = _parts(own)
        for part in parts:
            apart = ["no undefended training"] if plain is None else []
            apart += [f"batch {plain.batch}"] if plain not in (None, least.get(setting)) else []
            apart += ["; ".join(defence_label(where.defence) for where in part)] if len(parts) > 1 else []
            title = "\n".join([f"{setting}: {kind}", *([": ".join(apart)] if apart else [])])
            panels.append(_Panel(title, setting, plain, part))
    return panels


def _parts(wheres: list[Selection]) -> list[list[Selection]]:
    """What panels hold: as few parts as can be told apart, of nearly the same size, variances ascending."""
    ordered = sorted(wheres, key=lambda where: variance_of(where.defence) or 0.0)
    count = max(-(-len(ordered) // _TOGETHER), 1)
    ends = [len(ordered) * number // count for number in range(count + 1)]
    return [ordered[start:end] for start, end in pairwise(ends)]


def _colours(wheres: list[Selection]) -> list[str]:
    """Of different things, different colours; of a variance that grows, ever darker ones."""
    if wheres and all(variance_of(where.defence) for where in wheres):
        return [to_hex(shade) for shade in colormaps["YlOrRd"](np.linspace(1, 0.4, len(wheres))[::-1])]
    return [PALETTE[_COLOURS[number % len(_COLOURS)]] for number in range(len(wheres))]


def _kind(where: Selection) -> str:
    if where.defence == "none":
        return "larger batches"
    return "clipping and noise" if where.defence.startswith("dp_") else defence_kind(where.defence)


def _label(where: Selection, plain: Selection | None) -> str:
    """The defence; with the batch where the undefended one's is another, or there is none."""
    batch = [f"batch {where.batch}"] if plain is None or where.batch != plain.batch else []
    return ", ".join([*([] if where.defence == "none" else [defence_label(where.defence)]), *batch])


def _curve(axes: Axes, curve: pd.DataFrame, colour: str, label: str) -> None:
    """Means over runs at the same steps, and the band of their 95 % intervals where the runs are enough for one."""
    table = curve.pivot(index="environment_steps", columns="run", values="return").dropna()
    steps, values = table.index.to_numpy(), table.to_numpy(float)
    axes.plot(steps, values.mean(axis=1), color=colour, lw=1.1, label=label)
    ends = [mean_interval(row, np.full(len(row), ""), _SAMPLES, seed=0) for row in values]
    lows, highs = np.array(ends).T
    if np.isfinite(lows).all():
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.13, lw=0)
