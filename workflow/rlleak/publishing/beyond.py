"""Tables of what lies beyond the papers: ours beside theirs, under noise, by network, over batches."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rlleak.auditing.levels import convolution_level, linear_level
from rlleak.configuration.axes import AXES
from rlleak.configuration.experiments import TRUST, Experiment, Selection, Term
from rlleak.publishing.labels import attack_label, head_label, noise_label
from rlleak.publishing.statistics import STATISTICS, rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import count_cell, failure_note, methods, summary_cell

_COMPARED = (
    ("Y, read [dB]", "psnr_rgb_read", 2),
    ("Y [dB]", "psnr_rgb_raw", 2),
    ("SSIM of Y", "ssim_rgb_raw", 3),
    ("depth, read [dB]", "psnr_depth_read", 2),
    ("depth [dB]", "psnr_depth_raw", 2),
    ("SSIM of depth", "ssim_depth_raw", 3),
    ("IoU", "iou", 4),
    ("ε(Q̂) [%]", "predicted_q_error", 4),
    ("ε(Q) [%]", "target_q_error", 4),
    ("reward error", "reward_error", 6),
    ("seconds", "seconds", 1),
)
_STATES = (("Y, read [dB]", "psnr_rgb_read"), ("depth, read [dB]", "psnr_depth_read"))
_REACHED = (("image, read [dB]", "psnr_image_read"), *_STATES)
_COUNTS = (("unknowns", 0), ("equations", 0), ("rank", 0), ("condition", 1), ("residual", 8))


def in_common(metrics: pd.DataFrame, by: Sequence[str] = ("learner", "setting")) -> pd.DataFrame:
    """The rows of the victims that every attack met, among those that agree in `by`: slow attacks meet fewer."""
    parts = []
    for _, rows in metrics.groupby(list(by), sort=False):
        met = [set(own["victim"]) for _, own in rows.groupby(list(AXES))]
        parts.append(rows[rows["victim"].isin(set.intersection(*met))])
    return pd.concat(parts) if parts else metrics


def beyond_table1(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """The papers' attacks and ours on the same victims: images, boxes, values and time, means and medians."""
    metrics = in_common(metrics)
    table = Table(("setting", "method", "over victims"), (*(heading for heading, *_ in _COMPARED), "n"), groups=1)
    for setting in sorted({setting for part in experiment.grid for setting in part.setting}):
        for label, where in methods(experiment):
            if where.setting != setting or rows_of(metrics, where, "failed").empty:
                continue
            for statistic in ("mean", "median"):
                cells = {}
                for heading, metric, digits in _COMPARED:
                    term = Term(metric=metric, where=where, statistic=statistic)
                    if cell := summary_cell(metrics, experiment, term, digits, spread=statistic == "mean"):
                        cells[heading] = cell
                if statistic == "mean":
                    cells["n"] = count_cell(metrics, where)
                table.rows.append(Row((setting, label, statistic), cells))
    table.notes = [
        "Mean ± standard deviation, and median, over the victims that all methods of a learner and setting met. "
        "read: the pixels that reach the network.",
        *failure_note(metrics),
    ]
    return table


def beyond_noise(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """PSNR of each attack over the noise that victims add."""
    metrics = in_common(metrics)
    levels = sorted(metrics["noise"].unique())
    table = Table(("method", "setting", "state"), (*map(noise_label, levels), "n"), groups=1)
    for attack, setting in _pairs(experiment):
        for state, metric in _STATES:
            cells = {}
            for where in (
                where for _, where in methods(experiment) if (where.attack, where.setting) == (attack, setting)
            ):
                cell = summary_cell(metrics, experiment, Term(metric=metric, where=where), 2)
                if cell is not None:
                    cells[noise_label(rows_of(metrics, where, metric)["noise"].iloc[0])] = cell
                    cells["n"] = count_cell(metrics, where)
            if cells:
                table.rows.append(Row((attack_label(attack), setting, state), cells))
    table.notes = ["Mean ± standard deviation over the victims that all attacks met.", *failure_note(metrics)]
    return table


def _pairs(experiment: Experiment) -> list[tuple[str, str]]:
    return list(dict.fromkeys((where.attack, where.setting) for _, where in methods(experiment)))


def beyond_architectures(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Per network and layer what the attack counted, and in the network's first row what it reached.

    Of cells that ran at this scale: a grid may leave some to a larger one.
    """
    columns = [*(name for name, _ in _COUNTS), "equations per unknown", "foretold"]
    columns += [*(heading for heading, _ in _REACHED), "n"]
    ran = [where for _, where in methods(experiment) if not rows_of(metrics, where, "failed").empty]
    several = len({where.attack for where in ran}) > 1
    table = Table(("network", "setting", "gradient", "layer"), tuple(columns), groups=3)
    for where in ran:
        # What sees no gradient counts nothing; it is what the others are held against.
        layers = _layers(metrics, where) or ["–"]
        name = f"{where.network}, {attack_label(where.attack)}" if several else where.network or ""
        for layer in layers:
            cells = _counted(metrics, where, layer)
            if layer == layers[0]:
                for heading, metric in _REACHED:
                    if cell := summary_cell(metrics, experiment, Term(metric=metric, where=where), 2):
                        cells[heading] = cell
                cells["n"] = count_cell(metrics, where)
            if cells:
                table.rows.append(Row((name, where.setting, where.precision, layer), cells))
    table.notes = [
        "Counts, conditions and residuals: medians over victims, by the attack itself, without the truth. Rank: of a "
        "convolution an upper bound: its active outputs count as if they were independent of its gradient's equations "
        "and of each other. Condition: of the gradient's alone. Foretold, by the audit's rules: exact, a quotient; "
        "likely, enough equations; prior, too few; direction, up to a factor. PSNR: mean ± standard deviation.",
        *failure_note(metrics),
    ]
    return table


def _counted(metrics: pd.DataFrame, where: Selection, layer: str) -> dict[str, Cell]:
    """What the attack says of a layer."""
    found = {name: _median(metrics, where, f"{TRUST}{name}_{layer}") for name, _ in _COUNTS}
    cells = {name: Cell(found[name], digits=digits) for name, digits in _COUNTS if found[name] is not None}
    if found["unknowns"] and found["equations"] is not None:
        ratio = found["equations"] / found["unknowns"]
        cells["equations per unknown"] = Cell(ratio, digits=2)
        if layer.startswith("convolutions"):
            cells["foretold"] = Cell(text=convolution_level(ratio, nonnegative=layer != "convolutions.0"))
        else:
            cells["foretold"] = Cell(text=linear_level(not _median(metrics, where, f"{TRUST}no_bias")))
    return cells


def _layers(metrics: pd.DataFrame, where: Selection) -> list[str]:
    """The layers that the attack counted for, from the image on."""
    beginning = f"{TRUST}unknowns_"
    named = [name.removeprefix(beginning) for name in metrics["metric"].unique() if name.startswith(beginning)]
    found = [name for name in named if not rows_of(metrics, where, beginning + name).empty]
    order = {kind: place for place, kind in enumerate(("image", "convolutions", "vector", "hidden", "head"))}
    return sorted(found, key=lambda name: (order.get(name.partition(".")[0], len(order)), name))


def _median(metrics: pd.DataFrame, where: Selection, metric: str) -> float | None:
    values = rows_of(metrics, where, metric)["value"].to_numpy(float)
    return float(np.median(values)) if len(values) else None


_SHARES_OF = {"batch_recall": ("recall", 3), "batch_precision": ("precision", 3)}
_IMAGES_OF = {"batch_claimed": ("images, claimed", 3), "batch_recall": ("images, recall", 3)}
_IMAGES_OF |= {"batch_psnr_rgb": ("images, Y [dB]", 1), "batch_psnr_depth": ("images, depth [dB]", 1)}


def beyond_batch(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """What is claimed of a batch over its size, by what samples leave through: recall, precision, PSNR of images."""
    sizes = sorted(metrics["batch"].unique())
    table = Table(("output", "gradient", "measure"), tuple(f"batch {size}" for size in sizes), groups=1)
    rows: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for _, where in methods(experiment):
        head = head_label(where.network or "", where.actions)
        measured = not rows_of(metrics, where, "failed").empty
        for metric, (heading, digits) in (_IMAGES_OF if where.attack == "batch_images" else _SHARES_OF).items():
            values = rows_of(metrics, where, metric)["value"].to_numpy(float)
            cells = rows.setdefault((head, where.precision, heading), {})
            if len(values):
                mean = float(STATISTICS["mean"](values, None))
                cells[f"batch {where.batch}"] = Cell(mean, digits=digits)
            elif measured:
                cells[f"batch {where.batch}"] = Cell(text="no claim")
        if where.attack == "batch_images" and measured:
            rows.setdefault((head, where.precision, "images, n"), {})[f"batch {where.batch}"] = count_cell(
                metrics, where
            )
    table.rows = [Row(labels, cells) for labels, cells in sorted(rows.items(), key=lambda item: item[0][:2]) if cells]
    clients = {size: metrics.loc[metrics["batch"] == size, "victim"].nunique() for size in sizes}
    table.notes = [
        "Means over updates; precision over the updates of which anything is claimed; PSNR over all samples, "
        "black where they are not claimed. Claims come in no order: each is laid beside the sample that it fits best, "
        "one to one. Updates (n): " + ", ".join(f"{count} at batch {size}" for size, count in clients.items()) + "."
    ]
    return table
