"""What each defence leaves of each attack, what it costs on the wire and what it guarantees."""

from collections.abc import Iterator

import pandas as pd

from rlleak.configuration.experiments import Experiment, Selection, Term
from rlleak.publishing.beyond import in_common
from rlleak.publishing.labels import attack_label
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import count_cell, failure_note, methods, summary_cell

_REACHED = (
    ("Y, read [dB]", "psnr_rgb_read", 2),
    ("depth, read [dB]", "psnr_depth_read", 2),
    ("IoU", "iou", 3),
    ("action correct", "action_correct", 2),
    ("ε(Q̂) [%]", "predicted_q_error", 2),
    ("ε(Q) [%]", "target_q_error", 2),
)


def defences_rooms(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Defence by attack: images, box, action and Q-values; and what the defence costs and guarantees."""
    metrics = in_common(metrics)
    columns = ("bytes", "ε of DP", *(heading for heading, *_ in _REACHED), "n")
    table = Table(("defence", "method"), columns, groups=1)
    for defence, wheres in _by_defence(experiment):
        first = True
        for where in wheres:
            cells = {}
            for heading, metric, digits in _REACHED:
                cell = summary_cell(metrics, experiment, Term(metric=metric, where=where), digits)
                if cell is not None:
                    cells[heading] = cell
            if not cells:
                continue
            cells["n"] = count_cell(metrics, where)
            if first:
                cells |= _costs(metrics, where)
            table.rows.append(Row((defence.replace("_", " "), attack_label(where.attack)), cells))
            first = False
    table.notes = [
        "Mean ± standard deviation over the victims that all attacks met, on the pixels that the network reads. Bytes "
        "of one update without framing or entropy coding. ε by Opacus' accountant, ∞ where nothing is clipped.",
        "Methods know the defence; naive ones take what did not arrive for 0.",
        *failure_note(metrics),
    ]
    return table


def _by_defence(experiment: Experiment) -> Iterator[tuple[str, list[Selection]]]:
    wheres = [where for _, where in methods(experiment)]
    for defence in dict.fromkeys(where.defence for where in wheres):
        yield defence, [where for where in wheres if where.defence == defence]


def _costs(metrics: pd.DataFrame, where: Selection) -> dict[str, Cell]:
    cells = {}
    size = rows_of(metrics, where, "message_bytes")["value"]
    if len(size):
        cells["bytes"] = Cell(float(size.iloc[0]), digits=0, text=f"{size.iloc[0]:,.0f}")
    guaranteed = rows_of(metrics, where, "epsilon")["value"]
    cells["ε of DP"] = Cell(float(guaranteed.iloc[0]), digits=2) if len(guaranteed) else Cell(text="∞")
    return cells
