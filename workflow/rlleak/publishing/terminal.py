"""The verdict table on a terminal: what a run ends with."""

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from rlleak.artefacts import read_table
from rlleak.errors import RlleakError
from rlleak.publishing.statements import number
from rlleak.publishing.verdicts import INCONCLUSIVE, NOT_COMPARABLE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, VERDICTS

_STYLES = {
    REPRODUCED: "green",
    NOT_REPRODUCED: "red",
    INCONCLUSIVE: "yellow",
    NOT_COMPARABLE: "dim",
    NOT_RUN: "magenta",
}


def print_verdicts(
    verdicts: pd.DataFrame | str | Path, report: str | Path | None = None, everything: bool = False
) -> None:
    """Prints the verdicts (a table or its file), their counts, and where the report is.

    Claims that cannot be compared on this simulator or scale are counted and left out, unless `everything` is asked for
    or there is nothing else.
    """
    table = verdicts if isinstance(verdicts, pd.DataFrame) else read_table(verdicts)
    console = Console(width=None if sys.stdout.isatty() else 150)
    judged = table[~table["verdict"].isin([NOT_COMPARABLE])]
    shown = table if everything or judged.empty else judged
    lines = Table(title="What the papers say, and what was measured", show_lines=False)
    for heading, justify in (("where", "left"), ("statement", "left"), ("measured", "right"), ("95 %", "right")):
        lines.add_column(heading, justify=justify, overflow="fold")
    lines.add_column("n", justify="right")
    lines.add_column("verdict", no_wrap=True)
    for row in shown.itertuples():
        style = _STYLES.get(row.verdict, "")
        measured = "–" if pd.isna(row.measured) else number(row.measured)
        interval = "–" if pd.isna(row.low) else f"{number(row.low)} … {number(row.high)}"
        lines.add_row(row.where, row.statement, measured, interval, str(row.n), f"[{style}]{row.verdict}[/{style}]")
    console.print(lines)
    counts = table["verdict"].value_counts()
    parts = [f"[{_STYLES[verdict]}]{verdict}[/]: {counts[verdict]}" for verdict in VERDICTS if verdict in counts]
    console.print(", ".join(parts) + f", of {len(table)} claims")
    if len(shown) < len(table):
        console.print(
            f"{len(table) - len(shown)} claims are not comparable here; verdicts.csv and the report list them."
        )
    if report is not None:
        console.print(f"Report: {report}", soft_wrap=True)


def main(arguments: list[str]) -> None:
    """Prints a run's verdicts: `python -m rlleak.publishing.terminal results/<scale>`."""
    folder = Path(arguments[0])
    print_verdicts(folder / "verdicts.csv", folder / "report.html", everything="--all" in arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RlleakError as error:
        sys.exit(f"Error: {error}")
