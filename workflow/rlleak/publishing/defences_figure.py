"""What attacks reconstruct in rooms under each defence: who does not know it, who does, and the best of ours."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.beyond import in_common
from rlleak.publishing.defences import GUESS, by_defence
from rlleak.publishing.drawing import legend_below, style
from rlleak.publishing.labels import attack_label, attack_look, defence_label
from rlleak.publishing.statistics import mean_interval, rows_of
from rlleak.publishing.views import Views

_PANELS = (("psnr_depth_read", "depth, PSNR of the pixels read [dB]"), ("iou", "box, IoU"))
_SAMPLES = 2000
_APART = 0.22
"""Between the attacks of one defence, in rows."""


def defences_rooms(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Depth and box by defence, means with 95 % intervals, beside a guess without a gradient; a row of panels each
    setting. Defences stand in the order of what they leave of the best attack."""
    metrics = in_common(metrics)
    settings: dict[str, list[tuple[str, list[Selection]]]] = {}
    for setting, defence, wheres in by_defence(experiment):
        present = [where for where in wheres if len(rows_of(metrics, where, _PANELS[0][0]))]
        if present:
            settings.setdefault(setting, []).append((defence, present))
    attacks = _attacks(settings)
    drawn = {name: {"ms": 4, **attack_look(name)} for name in attacks}
    with style():
        rows = [max(2, sum(wheres[0].attack != GUESS for _, wheres in groups)) for groups in settings.values()]
        figure = Figure(figsize=(6.8, 1.2 + 0.26 * sum(rows)), layout="constrained")
        panels = figure.subplots(len(settings), 2, squeeze=False, sharey="row", height_ratios=rows)
        for own, (setting, groups) in zip(panels, settings.items(), strict=True):
            attacked = [group for group in groups if group[1][0].attack != GUESS]
            attacked.sort(key=lambda group: _order(metrics, group[1]))
            for axes, (metric, heading) in zip(own, _PANELS, strict=True):
                for where in (where for _, wheres in groups for where in wheres if where.attack == GUESS):
                    _band(axes, metrics, where, metric)
                for row, (_, wheres) in enumerate(attacked):
                    for where in wheres:
                        place = row + _APART * (attacks.index(where.attack) - (len(attacks) - 1) / 2)
                        _point(axes, metrics, where, metric, place, drawn[where.attack])
                axes.grid(axis="x", lw=0.3, alpha=0.6)
                axes.set_xlabel(heading)
            own[0].set_yticks(range(len(attacked)), [defence_label(defence) for defence, _ in attacked])
            own[0].set_ylim(len(attacked) - 0.4, -0.6)
            own[0].set_title(setting if len(settings) > 1 else "", loc="left")
        handles = {attack_label(name): Line2D([], [], ls="", **drawn[name]) for name in attacks}
        handles["no gradient"] = Patch(color=attack_look(GUESS)["color"], alpha=0.35)
        count = metrics["victim"].nunique()
        legend_below(figure, handles, f"{count} victim{'s' if count > 1 else ''}")
    return figure


def _attacks(settings: dict[str, list[tuple[str, list[Selection]]]]) -> list[str]:
    """The attacks that were run, ours first, naive ones behind those who know."""
    found = {where.attack for groups in settings.values() for _, wheres in groups for where in wheres} - {GUESS}
    return sorted(found, key=lambda name: (not name.startswith("best"), name.startswith("closed"), name))


def _order(metrics: pd.DataFrame, wheres: list[Selection]) -> float:
    """Minus what the best attack has of depth; undefended updates stand above all."""
    if wheres[0].defence == "none":
        return -np.inf
    return -max(rows_of(metrics, where, _PANELS[0][0])["value"].mean() for where in wheres)


def _mean(metrics: pd.DataFrame, where: Selection, metric: str) -> tuple[float, float, float] | None:
    rows = rows_of(metrics, where, metric)
    if not len(rows):
        return None
    victims = rows.groupby(["victim", "room_type"])["value"].mean().reset_index()
    values = victims["value"].to_numpy(float)
    low, high = mean_interval(values, victims["room_type"].to_numpy(str), _SAMPLES, seed=0)
    return float(values.mean()), low, high


def _point(axes: Axes, metrics: pd.DataFrame, where: Selection, metric: str, place: float, look: dict) -> None:
    found = _mean(metrics, where, metric)
    if found is None:
        return
    mean, low, high = found
    if np.isfinite([low, high]).all():
        axes.plot([low, high], [place, place], color=look["color"], lw=0.9)
    axes.plot([mean], [place], ls="", mew=0.9, **look)


def _band(axes: Axes, metrics: pd.DataFrame, where: Selection, metric: str) -> None:
    found = _mean(metrics, where, metric)
    if found is not None:
        mean, low, high = found
        colour = attack_look(GUESS)["color"]
        axes.axvline(mean, color=colour, lw=0.9)
        if np.isfinite([low, high]).all():
            axes.axvspan(low, high, color=colour, alpha=0.2, lw=0)
