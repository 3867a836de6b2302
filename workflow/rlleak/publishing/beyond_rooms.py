"""Papers, ours, truth: the same rooms as two attacks give them back."""

import pandas as pd
from matplotlib.figure import Figure

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.drawing import show_depth, show_rgb, style
from rlleak.publishing.labels import ROOM_TYPES, attack_label, room_label
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.tables import methods
from rlleak.publishing.views import Views, median_victim, value_of

_PANEL = 1.25
_CHOSEN_BY = "psnr_rgb_read"


def beyond_rooms(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """One row per room type: RGB, then depth: by the experiment's first and last attack with images, and as it was.

    The victim is the one whose RGB PSNR under the last attack (ours) is the median of its room type's. Images as they
    are, without the paper's rescaling.
    """
    shown = [where for _, where in methods(experiment) if where.setting == "S1" and where.attack != "prior_only"]
    shown = [where for where in shown if not rows_of(metrics, where, _CHOSEN_BY).empty]
    shown = [where for where in shown if where.learner == shown[0].learner]
    pair = [shown[0], shown[-1]] if shown else []
    chosen = {kind: _victim(metrics, pair[-1], kind) for kind in ROOM_TYPES} if pair else {}
    chosen = {kind: victim for kind, victim in chosen.items() if victim is not None}
    with style():
        if not chosen:
            figure = Figure(figsize=(3, 1))
            figure.text(0.5, 0.5, "nothing was attacked with RGB", ha="center")
            return figure
        figure = Figure(figsize=(_PANEL * 6, (_PANEL + 0.22) * len(chosen) + 0.4), layout="constrained")
        axes = figure.subplots(len(chosen), 6, squeeze=False)
        for row, (kind, victim) in zip(axes, chosen.items(), strict=True):
            _row(row, pair, victim, metrics, views)
            row[0].set_ylabel(room_label(kind))
        for column, heading in enumerate([*(attack_label(where.attack) for where in pair), "truth"] * 2):
            axes[0, column].set_title(f"{'RGB' if column < 3 else 'depth'}: {heading}")
    return figure


def _victim(metrics: pd.DataFrame, where: Selection, kind: str) -> int | None:
    return median_victim(metrics, where.model_copy(update={"room_type": kind}), _CHOSEN_BY)


def _row(axes, pair: list[Selection], victim: int, metrics: pd.DataFrame, views: Views) -> None:
    truth = views.truth(pair[0], victim)
    farthest = float(truth.depth.max())
    for column, where in enumerate(pair):
        attempt = views.reconstruction(where, victim, as_scored=False)
        show_rgb(axes[column], attempt.rgb)
        show_depth(axes[3 + column], attempt.depth, farthest)
        for place, state in ((column, "rgb"), (3 + column, "depth")):
            psnr = value_of(metrics, where, f"psnr_{state}_read", victim)
            if psnr is not None:
                axes[place].set_xlabel(f"{psnr:.1f} dB", fontsize=7)
    show_rgb(axes[2], truth.rgb)
    show_depth(axes[5], truth.depth, farthest)
    axes[2].set_xlabel(f"victim {victim}", fontsize=7)
