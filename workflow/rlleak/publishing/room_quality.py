"""How lifelike the rooms are and how good the detector is, as the report shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlleak.artefacts import read_json, read_table
from rlleak.errors import CorruptArtefactError
from rlleak.publishing.labels import room_label
from rlleak.publishing.statements import number

Rows = list[list[str]]


def statistics_rows(path: str | Path) -> Rows:
    """Headings, then one row per room type and statistic: ours, AI2-THOR's, and whether ours lies within."""
    table = read_table(path)
    rows = [["room type", "statistic", "here: median (10–90 %)", "AI2-THOR: median (10–90 %)", "within"]]
    try:
        for row in table.to_dict("records"):
            ours, theirs = (
                f"{number(row[f'{side}_median'])} ({number(row[f'{side}_p10'])} – {number(row[f'{side}_p90'])})"
                for side in ("rooms", "thor")
            )
            name = str(row["statistic"]).replace("_", " ")
            rows.append([room_label(row["room_type"]), name, ours, theirs, "yes" if row["inside"] else "no"])
    except KeyError as error:
        raise CorruptArtefactError(f"{path} lacks the column {error}; delete it and run again") from error
    return rows


def detector_scores(path: str | Path) -> tuple[list[tuple[str, str]], Rows]:
    """(name, value) of the detector's overall scores, and a table of its scores per object type."""
    scores: Mapping[str, Any] = read_json(path)
    by_type = {name: value for name, value in scores.items() if isinstance(value, dict) and name != "provenance"}
    overall = [(name.replace("_", " "), _shown(value)) for name, value in scores.items() if not isinstance(value, dict)]
    kinds = sorted({kind for values in by_type.values() for kind in values})
    rows = [["object type", *(name.replace("_", " ") for name in by_type)]]
    rows += [[kind, *(_shown(values.get(kind)) for values in by_type.values())] for kind in kinds]
    return overall, rows if kinds else []


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)
