"""The long table that everything published is made from, and how captions name where it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import read_table
from rlleak.configuration.experiments import measures
from rlleak.errors import CorruptArtefactError
from rlleak.metrics.scoring import COLUMNS
from rlleak.publishing.labels import provenance_line


def read_metrics(paths: Iterable[str | Path], only: Sequence[str] | None = None) -> pd.DataFrame:
    """The metrics of many shards as one table, or some metrics of it by name.

    Raises CorruptArtefactError for a file that lacks a column.
    """
    tables = []
    for path in paths:
        table = read_table(path)
        missing = [column for column in COLUMNS if column not in table]
        if missing:
            raise CorruptArtefactError(f"{path} lacks the columns {', '.join(missing)}; delete it and score again")
        if only is not None:
            wanted = [metric for metric in table["metric"].unique() if measures(only, metric)]
            table = table[table["metric"].isin(wanted)]
        tables.append(table[list(COLUMNS)])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def caption_of(experiment: Mapping[str, Any], name: str, scale: str, simulator: str) -> str:
    """The caption of a published thing, with the scale and simulator that its numbers come from."""
    caption = next((thing["caption"] for thing in experiment["publishes"] if thing["name"] == name), name)
    return f"{' '.join(caption.split())} ({provenance_line(scale, simulator)})"
