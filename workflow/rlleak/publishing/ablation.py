"""Fig. 4 of QGI / RGI: image and box in separate stages against both at once."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from rlleak.configuration.experiments import Experiment
from rlleak.publishing.drawing import style
from rlleak.publishing.labels import METRICS, attack_label, attack_look
from rlleak.publishing.statistics import mean_interval, rows_of
from rlleak.publishing.tables import methods
from rlleak.publishing.views import Views

_PANELS = ("psnr_rgb", "ssim_rgb", "psnr_depth", "ssim_depth", "iou", "predicted_q_error", "target_q_error")
_LOGARITHMIC = ("predicted_q_error", "target_q_error")
_FLOOR = 1e-6  # percent: an exact value has no place on a logarithmic axis
_SAMPLES = 2000
_GOLDEN_RATIO = 0.618  # spreads points evenly sideways, the same way each time


def fig4(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Seven panels, one per metric: every victim a point, the mean and its 95 % bootstrap interval beside it."""
    shown = [where for _, where in methods(experiment)]
    with style():
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        axes = figure.subplots(2, 4).ravel()
        for panel, metric in zip(axes, _PANELS, strict=False):
            columns = [rows_of(metrics, where, metric) for where in shown]
            _draw(panel, metric, [(where.attack, rows) for where, rows in zip(shown, columns, strict=True)])
        _explain(axes[len(_PANELS)], shown, metrics)
    return figure


def _draw(axes: Axes, metric: str, columns: list[tuple[str, pd.DataFrame]]) -> None:
    logarithmic = metric in _LOGARITHMIC
    axes.set_title(METRICS[metric])
    for position, (attack, rows) in enumerate(columns):
        if rows.empty:
            continue
        victims = rows.groupby(["victim", "room_type"])["value"].mean().reset_index()
        values = victims["value"].to_numpy(float)
        colour = attack_look(attack)["color"]
        points = np.maximum(values, _FLOOR) if logarithmic else values
        sideways = position - 0.05 + 0.4 * (np.arange(len(points)) * _GOLDEN_RATIO % 1 - 0.5)
        axes.scatter(sideways, points, s=6, color=colour, alpha=0.45, linewidths=0)
        mean = values.mean()
        low, high = mean_interval(values, victims["room_type"].to_numpy(str), _SAMPLES, seed=0)
        place = position + 0.34
        if np.isfinite([low, high]).all():
            bottom = max(low, _FLOOR) if logarithmic else low
            axes.plot([place, place], [bottom, high], color=colour, lw=1.6, solid_capstyle="butt")
        axes.plot(place, mean, "o", ms=4.2, mfc="white", mec=colour, mew=1.3)
    axes.set(xlabel="", ylabel="", xlim=(-0.5, len(columns) - 0.4), xticks=range(len(columns)))
    names = ["separate" if attack == "qgi" else attack_label(attack).replace(" ", "\n") for attack, _ in columns]
    axes.set_xticklabels(names, fontsize=7)
    axes.grid(axis="y", lw=0.3, alpha=0.6)
    axes.set_axisbelow(True)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))


def _explain(axes: Axes, shown: list, metrics: pd.DataFrame) -> None:
    """The last panel says how to read the others."""
    axes.axis("off")
    lines = ["separate: QGI, box first", "joint: box and image at once", "prior only: no gradient", ""]
    lines += ["points: victims", "ring, bar: mean, 95 %", "", f"n = {metrics['victim'].nunique()}"]
    axes.text(0.02, 0.95, "\n".join(lines), va="top", fontsize=7, linespacing=1.4, transform=axes.transAxes)
