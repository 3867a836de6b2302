"""Curves of what lies beyond the papers: images over noise, samples over batch size."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.beyond import in_common
from rlleak.publishing.drawing import legend_below, style
from rlleak.publishing.labels import PALETTE, attack_label, attack_look, head_label, noise_label
from rlleak.publishing.lines import draw_line, sideways
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.tables import methods
from rlleak.publishing.views import Views

_PRECISIONS = {"float32": PALETTE["sky"], "float64": "black"}
_SHARES = {"recall": {"ls": "-", "marker": "o"}, "precision": {"ls": "--", "marker": "x"}}
_APART = 0.14
"""Between curves that may coincide, in doublings of the batch."""
_IMAGES = {
    "batch_psnr_rgb": {"color": PALETTE["green"], "label": "RGB (Y)"},
    "batch_psnr_depth": {"color": PALETTE["purple"], "label": "depth"},
}


def beyond_noise(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """PSNR of Y and of depth over the noise, a line per attack with the 95 % interval of its mean."""
    metrics = in_common(metrics)
    levels = sorted(metrics["noise"].unique())
    attacks = list(dict.fromkeys(where.attack for _, where in methods(experiment)))
    with style():
        figure = Figure(figsize=(6.4, 3.1), layout="constrained")
        for axes, (metric, heading) in zip(
            figure.subplots(1, 2), (("psnr_rgb_read", "RGB (Y)"), ("psnr_depth_read", "depth")), strict=True
        ):
            for number, attack in enumerate(attacks):
                wheres = [where for _, where in methods(experiment) if where.attack == attack]
                beside = len(attacks) - attacks.count("prior_only")  # The last one, and dashed across.
                _over_noise(axes, metrics, metric, wheres, levels, sideways(number, beside, len(levels)))
            axes.set_title(heading)
            axes.set_xticks(range(len(levels)), [noise_label(level) for level in levels])
            axes.set_xlabel("length of the noise, relative to the gradient's")
            axes.grid(axis="y", lw=0.3, alpha=0.6)
        figure.axes[0].set_ylabel("PSNR of the pixels read [dB]")
        count = metrics["victim"].nunique()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        legend_below(figure, shown, f"{count} victim{'s' if count > 1 else ''}")
    return figure


def _over_noise(
    axes: Axes, metrics: pd.DataFrame, metric: str, wheres: list[Selection], levels: list[float], aside: float
) -> None:
    """One attack's line; a guess without a gradient, which no noise changes, is dashed across all levels."""
    look, label = attack_look(wheres[0].attack), attack_label(wheres[0].attack)
    found = [(rows, where) for where in wheres if len(rows := rows_of(metrics, where, metric))]
    if found and wheres[0].attack == "prior_only":
        axes.axhline(found[0][0]["value"].mean(), ls="--", lw=1.1, color=look["color"], label=label)
        return
    places = {levels.index(rows["noise"].iloc[0]): where for rows, where in found}
    draw_line(axes, metrics, metric, places, look, label, aside=aside)


def beyond_batch(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Over the size of the batch: recall and precision, a panel for what samples leave through, and PSNR of images."""
    heads: dict[str, list[Selection]] = {}
    for _, where in methods(experiment):
        if where.attack != "batch_images" and len(rows_of(metrics, where, "batch_recall")):
            heads.setdefault(head_label(where.network or "", where.actions), []).append(where)
    with style():
        figure = Figure(figsize=(2.3 * len(heads) + 2.9, 2.6), layout="constrained")
        panels = figure.subplots(1, len(heads) + 1, squeeze=False)[0]
        ran = {where.precision for wheres in heads.values() for where in wheres}
        colours = {name: colour for name, colour in _PRECISIONS.items() if name in ran}
        for axes, (head, wheres) in zip(panels, heads.items(), strict=False):
            kinds = list(product(colours.items(), _SHARES.items()))
            for number, ((precision, colour), (share, look)) in enumerate(kinds):
                own = [where for where in wheres if where.precision == precision]
                aside = _APART * (number - (len(kinds) - 1) / 2)
                _over_sizes(axes, metrics, own, f"batch_{share}", aside, color=colour, ms=3.5, **look)
            axes.set(title=head, ylim=(-0.05, 1.05))
            _sizes(axes, wheres)
        for axes in panels[1:-1]:
            axes.tick_params(labelleft=False)
        panels[0].set_ylabel("share of the samples")
        handles = [Line2D([], [], color=colour, lw=2.5, label=name) for name, colour in colours.items()]
        handles += [
            Line2D([], [], color="dimgrey", ms=3.5, lw=1.1, label=name, **look) for name, look in _SHARES.items()
        ]
        panels[0].legend(handles=handles, frameon=False, fontsize=7, loc="lower left")
        images = [where for _, where in methods(experiment) if where.attack == "batch_images"]
        images = [where for where in images if len(rows_of(metrics, where, "batch_psnr_depth"))]
        for metric, drawn in _IMAGES.items():
            _over_sizes(panels[-1], metrics, images, metric, marker="o", ms=3.5, **drawn)
        panels[-1].set(title="images", ylabel="PSNR of the pixels read [dB]")
        panels[-1].legend(frameon=False, fontsize=7)
        _sizes(panels[-1], images)
    return figure


def _over_sizes(
    axes: Axes, metrics: pd.DataFrame, wheres: list[Selection], metric: str, aside: float = 0.0, **drawn: object
) -> None:
    """Means at each size; aside: how far they stand from it, in doublings."""
    means = {where.batch: rows_of(metrics, where, metric)["value"].mean() for where in wheres}
    present = sorted(size for size, mean in means.items() if np.isfinite(mean))
    if present:
        axes.plot(np.array(present) * 2.0**aside, [means[size] for size in present], lw=1.1, **drawn)


def _sizes(axes: Axes, wheres: list[Selection]) -> None:
    axes.set_xlabel("transitions in an update")
    axes.set_xscale("log", base=2)
    sizes = sorted({where.batch for where in wheres})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    if sizes:
        axes.set_xlim(sizes[0] / 2**0.4, sizes[-1] * 2**0.4)
    axes.grid(axis="y", lw=0.3, alpha=0.6)
