"""What clients saw, and what the server that they trained with made of their updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.metrics.batches import samples_of_claims
from rlleak.publishing.drawing import draw_box, show_depth, show_rgb, style
from rlleak.sharing.private import PrivateSide

_PANEL = 1.5


class Seen(NamedTuple):
    """Images (N, C, H, W) and boxes (N, 4) of N clients, and a line on each image's quality by what it shows."""

    heading: str
    image: np.ndarray
    box: np.ndarray
    rgb: Sequence[str]
    depth: Sequence[str]


def federated_demo(
    private: PrivateSide,
    updates: tuple[Reconstruction, pd.DataFrame],
    mean: tuple[Reconstruction, pd.DataFrame],
) -> Figure:
    """One row per client: RGB and depth as it saw them, as its own update tells them, and as the mean of all does.

    updates, mean: what was reconstructed, and its metrics. private: the truth, whose first rows are these clients'.
    """
    clients = len(updates[0])
    truth = private.first(clients)
    columns = [
        Seen("on the client", truth.image.numpy(), truth.vector.numpy(), [""] * clients, [""] * clients),
        _of_each(*updates),
        _of_all(*mean, truth),
    ]
    shown = [kind for kind in ("rgb", "depth") if kind == "depth" or len(truth.image[0]) > 1]
    with style():
        size = (_PANEL * len(columns) * len(shown), (_PANEL + 0.1) * clients + 0.2)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(clients, len(columns) * len(shown), squeeze=False)
        for row in range(clients):
            for place, kind in enumerate(shown):
                for offset, seen in enumerate(columns):
                    _panel(axes[row, place * len(columns) + offset], seen, kind, row, float(truth.image[row, -1].max()))
            axes[row, 0].set_ylabel(f"client {row}")
        for column, axis in enumerate(axes[0]):
            kind = "depth" if shown[column // len(columns)] == "depth" else "RGB"
            axis.set_title(f"{kind} {columns[column % len(columns)].heading}")
    return figure


def _panel(axis: Axes, seen: Seen, kind: str, row: int, farthest: float) -> None:
    image = np.clip(np.nan_to_num(seen.image[row]), 0, 1)
    if kind == "rgb":
        show_rgb(axis, np.moveaxis(image[:3], 0, -1))
    else:
        show_depth(axis, image[-1], farthest)
    draw_box(axis, seen.box[row], image.shape[-2:], true=not any(seen.rgb))
    axis.set_xlabel((seen.rgb if kind == "rgb" else seen.depth)[row], fontsize=7)


def _of_each(found: Reconstruction, metrics: pd.DataFrame) -> Seen:
    victims = metrics["victim"].drop_duplicates()
    rgb, depth = ([_value(metrics, f"psnr_{kind}_read", victim) for victim in victims] for kind in ("rgb", "depth"))
    overlap = [_value(metrics, "iou", victim, ", IoU {:.3f}") for victim in victims]
    lines = [both + beside for both, beside in zip(rgb, overlap, strict=True)]
    return Seen("from its update", found.image.numpy(), found.vector.numpy(), lines, depth)


def _of_all(found: Reconstruction, metrics: pd.DataFrame, truth: PrivateSide) -> Seen:
    """Claims about samples in the order of the clients that they are assigned to; black where nothing is claimed."""
    image, box = np.zeros_like(truth.image.numpy()), np.full(truth.vector.shape, np.nan)
    lines = ["not told apart"] * len(truth)
    depths = list(lines)
    if found.claimed is not None and found.linear_input is not None and truth.linear_input is not None:
        sides = (side.numpy() for side in (found.claimed, found.linear_input, truth.linear_input))
        claims, clients = samples_of_claims(*sides)[0]
        victim = metrics["victim"].iloc[0]
        for claim, client in zip(claims, clients, strict=True):
            if found.image is not None:
                image[client] = found.image[0, claim].numpy()
                lines[client] = _value(metrics, "batch_psnr_rgb", victim, "mean {:.1f} dB")
                depths[client] = _value(metrics, "batch_psnr_depth", victim, "mean {:.1f} dB")
            if found.vector is not None:
                box[client] = found.vector[0, claim].numpy()
    return Seen(f"from the mean of {len(truth)}", image, box, lines, depths)


def _value(metrics: pd.DataFrame, metric: str, victim: int, shown: str = "{:.1f} dB") -> str:
    values = metrics.loc[(metrics["metric"] == metric) & (metrics["victim"] == victim), "value"]
    return shown.format(values.iloc[0]) if len(values) else ""
