"""Which room, which target: how often an onlooker is right about a reconstruction, the truth and by chance."""

import pandas as pd

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.beyond import in_common
from rlleak.publishing.statistics import exact_proportion, rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import count_cell, failure_note, methods

_COLUMNS = {
    "room, first guess": "room_top1",
    "room, among 5": "room_top5",
    "target, first guess": "target_top1",
    "target, among 5": "target_top5",
}


def reidentification(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Shares of victims whose room and target the onlooker finds, with exact 95 % intervals, by setting and method.

    Below each setting's attacks stand the same onlooker on true images, which bounds them, and blind guessing.
    """
    metrics = in_common(metrics)
    table = Table(("setting", "what the onlooker sees"), (*_COLUMNS, "n"), groups=1)
    for setting in sorted({setting for part in experiment.grid for setting in part.setting}):
        seen = [(label, where) for label, where in methods(experiment) if where.setting == setting]
        seen = [(label, where) for label, where in seen if not rows_of(metrics, where, "room_top1").empty]
        for label, where in seen:
            cells = {heading: _share(metrics, where, metric) for heading, metric in _COLUMNS.items()}
            table.rows.append(Row((setting, label), {**_present(cells), "n": count_cell(metrics, where)}))
        if seen:
            where = seen[0][1]
            truth = {heading: _share(metrics, where, f"{metric}_truth") for heading, metric in _COLUMNS.items()}
            chance = {heading: _chance(metrics, where, f"{metric}_chance") for heading, metric in _COLUMNS.items()}
            table.rows.append(Row((setting, "the true image"), {**_present(truth), "n": count_cell(metrics, where)}))
            table.rows.append(Row((setting, "nothing (chance)"), _present(chance)))
    table.notes = [
        "Share of victims [exact (Clopper-Pearson) 95 % interval], over the victims that all methods met. The onlooker "
        "holds photographs with depth of every candidate home, from other poses than any victim's, and has learnt on "
        "public rooms what makes two views the same room and what targets look like; no victim's transition is among "
        "that.",
        *failure_note(metrics),
    ]
    return table


def _share(metrics: pd.DataFrame, where: Selection, metric: str) -> Cell | None:
    values = rows_of(metrics, where, metric)["value"].to_numpy(float)
    if not len(values):
        return None
    low, high = exact_proportion(int(values.sum()), len(values))
    return Cell(float(values.mean()), digits=3, text=f"{values.mean():.2f} [{low:.2f}, {high:.2f}]")


def _chance(metrics: pd.DataFrame, where: Selection, metric: str) -> Cell | None:
    values = rows_of(metrics, where, metric)["value"]
    return None if values.empty else Cell(float(values.iloc[0]), digits=3)


def _present(cells: dict[str, Cell | None]) -> dict[str, Cell]:
    return {heading: cell for heading, cell in cells.items() if cell is not None}
