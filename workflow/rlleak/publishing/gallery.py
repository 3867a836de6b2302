"""Fig. 3 of QGI / RGI: truth beside reconstruction, both methods, both settings."""

import pandas as pd
from matplotlib.figure import Figure

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.drawing import show_depth, show_rgb, style
from rlleak.publishing.labels import ROOM_TYPES, attack_label, room_label
from rlleak.publishing.tables import methods
from rlleak.publishing.views import Views, median_victim, value_of

_PANEL = 1.12
_COLUMNS = {
    "S1": (("rgb", "RGB"), ("depth", "depth")),
    "S2": (("depth", "depth"),),
}
# What picks the victims: the setting's first image.
_CHOSEN_BY = {"S1": "psnr_rgb", "S2": "psnr_depth"}


def fig3(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """One row per method and room type; left S1 (RGB, depth), right S2 (depth); truth beside reconstruction.

    Each pair shows the victim whose PSNR (RGB in S1, depth in S2) is the median of its room type.
    """
    attacks = list(dict.fromkeys(where.attack for _, where in methods(experiment)))
    selections = {(where.attack, where.setting): where for _, where in reversed(list(methods(experiment)))}
    widths = [1, 1, 0.12, 1, 1, 0.3, 1, 1]
    with style():
        rows = len(attacks) * len(ROOM_TYPES)
        heights = ([1] * len(ROOM_TYPES) + [0.06]) * len(attacks)
        figure = Figure(figsize=(_PANEL * sum(widths), (_PANEL + 0.17) * rows + 0.75))
        grid = figure.add_gridspec(
            len(heights) - 1, len(widths), width_ratios=widths, height_ratios=heights[:-1], wspace=0.04, hspace=0.15,
            left=0.075, right=0.995, top=0.94, bottom=0.02,
        )  # fmt: skip
        for block, attack in enumerate(attacks):
            for line, room_type in enumerate(ROOM_TYPES):
                row = block * (len(ROOM_TYPES) + 1) + line
                for setting, first in (("S1", 0), ("S2", 6)):
                    where = selections.get((attack, setting))
                    if where is not None:
                        inside = where.model_copy(update={"room_type": room_type})
                        _pairs(figure, grid, row, first, inside, metrics, views)
                _row_heading(figure, grid, row, room_type, attack_label(attack) if line == 0 else "")
        _column_headings(figure, grid)
    return figure


def _pairs(figure, grid, row: int, first: int, where: Selection, metrics: pd.DataFrame, views: Views) -> None:
    victim = median_victim(metrics, where, _CHOSEN_BY[where.setting])
    if victim is None:
        return
    truth, attempt = views.truth(where, victim), views.reconstruction(where, victim)
    for index, (state, _) in enumerate(_COLUMNS[where.setting]):
        column = first + 3 * index
        for offset, view in enumerate((truth, attempt)):
            axes = figure.add_subplot(grid[row, column + offset])
            if state == "rgb":
                show_rgb(axes, view.rgb)
            else:
                show_depth(axes, view.depth, float(truth.depth.max()))
            if offset == 0:
                axes.set_xlabel(f"victim {victim}", fontsize=6, labelpad=1.5)
        psnr, ssim = (value_of(metrics, where, f"{name}_{state}", victim) for name in ("psnr", "ssim"))
        if psnr is not None and ssim is not None:
            axes.set_xlabel(f"{psnr:.1f} dB, {ssim:.2f}", fontsize=6, labelpad=1.5)


def _row_heading(figure, grid, row: int, room_type: str, attack: str) -> None:
    box = grid[row, 0].get_position(figure)
    figure.text(0.062, (box.y0 + box.y1) / 2, room_label(room_type), rotation=90, ha="right", va="center", fontsize=7)
    if attack:
        figure.text(0.005, box.y1, attack, fontsize=9, fontweight="bold", va="top", rotation=90)


def _column_headings(figure, grid) -> None:
    for setting, columns in (("S1: RGB and depth camera", (0, 4)), ("S2: depth camera only", (6, 7))):
        left, right = (grid[0, column].get_position(figure) for column in columns)
        figure.text((left.x0 + right.x1) / 2, left.y1 + 0.027, setting, ha="center", fontsize=9, fontweight="bold")
    for column, heading in enumerate(
        ("RGB", "reconstructed", "", "depth", "reconstructed", "", "depth", "reconstructed")
    ):
        box = grid[0, column].get_position(figure)
        figure.text((box.x0 + box.x1) / 2, box.y1 + 0.006, heading, ha="center", fontsize=7)
