"""What clients saw, and what the server that they trained with made of their updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.metrics.comparison import told_apart
from rlleak.publishing.drawing import draw_box, show_depth, show_rgb, style
from rlleak.sharing.private import PrivateSide

_PANEL = 1.5


class Seen(NamedTuple):
    """Images (N, C, H, W) and boxes (N, 4) of N clients, and a line on each image's quality by what it shows.

    box: None where none is reconstructed. own: whether this is what clients saw themselves.
    """

    heading: str
    image: np.ndarray
    box: np.ndarray | None
    rgb: Sequence[str]
    depth: Sequence[str]
    own: bool = False


def federated_demo(
    private: PrivateSide,
    updates: tuple[Reconstruction, pd.DataFrame],
    mean: tuple[Reconstruction, pd.DataFrame],
) -> Figure:
    """One row per client: RGB and depth as it saw them, as its own update tells them, and as the sum of all does.

    updates, mean: what was reconstructed, and its metrics by client. private: the truth, whose first rows are these
    clients'. Under each image how good it is: PSNR of the pixels that the network reads, and the box's IoU.
    """
    clients = len(updates[0])
    truth = private.first(clients)
    nothing = [""] * clients
    columns = [
        Seen("on the client", truth.image.numpy(), truth.vector.numpy(), nothing, nothing, own=True),
        _seen("from its plain update", *updates),
        _seen(f"from the secure sum of {clients}", told_apart(mean[0], truth), mean[1]),
    ]
    shown = [kind for kind in ("rgb", "depth") if kind == "depth" or len(truth.image[0]) > 1]
    with style():
        size = (_PANEL * len(columns) * len(shown), (_PANEL + 0.1) * clients + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(clients, len(columns) * len(shown), squeeze=False)
        for row in range(clients):
            for place, kind in enumerate(shown):
                for offset, seen in enumerate(columns):
                    _panel(axes[row, place * len(columns) + offset], seen, kind, row, float(truth.image[row, -1].max()))
            axes[row, 0].set_ylabel(f"client {row}")
        for column, axis in enumerate(axes[0]):
            kind = "depth" if shown[column // len(columns)] == "depth" else "RGB"
            axis.set_title(f"{kind}\n{columns[column % len(columns)].heading}")
    return figure


def _panel(axis: Axes, seen: Seen, kind: str, row: int, farthest: float) -> None:
    image = np.clip(np.nan_to_num(seen.image[row]), 0, 1)
    if kind == "rgb":
        show_rgb(axis, np.moveaxis(image[:3], 0, -1))
    else:
        show_depth(axis, image[-1], farthest)
    draw_box(axis, None if seen.box is None else seen.box[row], image.shape[-2:], true=seen.own)
    axis.set_xlabel((seen.rgb if kind == "rgb" else seen.depth)[row], fontsize=7)


def _seen(heading: str, found: Reconstruction, metrics: pd.DataFrame) -> Seen:
    victims = metrics["victim"].drop_duplicates()
    rgb, depth = (
        [_value(metrics, f"psnr_{kind}_read", victim, "{:.1f} dB") for victim in victims] for kind in ("rgb", "depth")
    )
    overlap = [_value(metrics, "iou", victim, "box IoU {:.3f}") for victim in victims]
    told = [", ".join(filter(None, both)) for both in zip(rgb, overlap, strict=True)]
    box = None if found.vector is None else found.vector.numpy()
    return Seen(heading, found.image.numpy(), box, told, depth)


def _value(metrics: pd.DataFrame, metric: str, victim: int, shown: str) -> str:
    values = metrics.loc[(metrics["metric"] == metric) & (metrics["victim"] == victim), "value"]
    return shown.format(values.iloc[0]) if len(values) else ""
