"""Prints the verdicts of a run and where its report is: `python -m rlleak.summary results/reduced/verdicts.csv`."""

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

_COLOURS = {"REPRODUCED": "green", "NOT REPRODUCED": "red", "INCONCLUSIVE": "yellow"}
_COLUMNS = ("claim", "where", "expected", "measured", "n", "verdict")


def verdict_table(verdicts: pd.DataFrame) -> Table:
    """The verdicts for a terminal; the interval stands beside the measured value."""
    table = Table(*_COLUMNS, title="Verdicts")
    for row in verdicts.to_dict("records"):
        measured = _number(row["measured"])
        if pd.notna(row["low"]) and pd.notna(row["high"]):
            measured += f" [{_number(row['low'])}, {_number(row['high'])}]"
        cells = {**{name: _number(row[name]) for name in _COLUMNS}, "measured": measured}
        colour = _COLOURS.get(row["verdict"], "dim")
        cells["verdict"] = f"[{colour}]{row['verdict']}[/{colour}]"
        table.add_row(*cells.values())
    return table


def _number(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return str(value).replace("[", r"\[")


def main(files: list[Path]) -> None:
    verdicts = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(verdict_table(verdicts))
    counts = verdicts["verdict"].value_counts()
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    report = files[0].parent / "report.html"
    if report.exists():
        console.print(f"report: {report}", highlight=False)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
