"""The long table that everything published is made from, and how captions name where it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlleak.artefacts import read_table
from rlleak.configuration.axes import AXES, Cell
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Experiment, measures
from rlleak.errors import CorruptArtefactError
from rlleak.metrics.long_table import COLUMNS
from rlleak.publishing.labels import provenance_line


def read_metrics(paths: Iterable[str | Path], experiment: Experiment | None = None) -> pd.DataFrame:
    """The metrics of many shards as one table; with an experiment, its own: its metrics, in its cells.

    A file of attacks that ran side by side holds what other experiments asked of the same updates, too. Raises
    CorruptArtefactError for a file that lacks a column.
    """
    cells = None if experiment is None else set(experiment.cells(1))
    tables = []
    for path in paths:
        table = read_table(path)
        missing = [column for column in COLUMNS if column not in table]
        if missing:
            raise CorruptArtefactError(f"{path} lacks the columns {', '.join(missing)}; delete it and score again")
        if experiment is not None:
            wanted = [metric for metric in table["metric"].unique() if measures(experiment.metrics, metric)]
            table = table[table["metric"].isin(wanted)]
            asked = [rows.index for cell, rows in by_cell(table) if replace(cell, seed=0) in cells]
            # By a mask: text that is pieced together of many frames is slow to compare.
            table = table[table.index.isin(np.concatenate(asked) if asked else [])]
        tables.append(table[list(COLUMNS)])
    return joined(tables)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Long tables as one, its text as categories: tables and verdicts look for some rows in it thousands of times."""
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat(tables, ignore_index=True)
    return table.astype(dict.fromkeys(table.select_dtypes(["str", "object"]).columns, "category"))


def by_cell(table: pd.DataFrame) -> list[tuple[Cell, pd.DataFrame]]:
    """The rows of each cell that a table holds, in the table's order."""
    return [(Cell(**rows.iloc[0][list(AXES)]), rows) for _, rows in table.groupby(list(AXES), sort=False)]


def caption_of(experiment: Mapping[str, Any], name: str, scale: str, simulator: str, kind: str = "table") -> str:
    """The caption of a published table or figure, with the scale and simulator that its numbers come from."""
    wanted = (thing["caption"] for thing in experiment["publishes"] if (thing["kind"], thing["name"]) == (kind, name))
    caption = next(wanted, name)
    settings = {setting for part in experiment["grid"] for setting in part["setting"]}
    place = provenance_line(scale, "gymnasium" if settings <= set(ENVIRONMENTS) else simulator)
    return f"{' '.join(caption.split())} ({place})"
