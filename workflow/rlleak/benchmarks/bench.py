"""`make bench`: all cases, results/bench.json, and the table.  python -m rlleak.benchmarks.bench [--quick] [FILE]"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlleak.artefacts import provenance, write_json
from rlleak.attacks import ATTACKS
from rlleak.benchmarks.cases import Case
from rlleak.devices import has_gpu
from rlleak.errors import RlleakError

WHOLE_ATTACKS = ("closed_form", "peel", "best", "batch_heads")
LONGEST = 180
"""Seconds after which a case is given up."""
PAPER_VICTIMS = 240


def cases(quick: bool = False) -> Iterator[Case]:
    """What is measured, in order."""
    if quick:
        yield Case("matching", "S2", 2, 1, quick=True)
        yield Case("matching", "S1", 2, 1, "noisy", quick=True)
        yield Case("breaching", "S2", 1, 1, quick=True)
        yield Case("closed_form", "S2", 2, 1, quick=True)
        yield Case("transitions", "Hopper", 2, 1, quick=True)
        return
    for scene in ("S1", "S2"):
        for target in ("exact", "noisy"):
            for threads in (1, 2):
                yield from (Case("matching", scene, victims, threads, target) for victims in (1, 8, 32))
    yield from (Case("matching", "S1", victims, 1) for victims in (2, 4, 16, 64))
    yield from (Case("breaching", scene, 1, threads) for scene in ("S1", "S2") for threads in (1, 2))
    for target in ("exact", "residual"):
        yield from (
            Case("transitions", "Hopper", victims, threads, target) for threads in (1, 2) for victims in (1, 64)
        )
    for name in WHOLE_ATTACKS:
        if name in ATTACKS:
            several = name == "batch_heads"
            yield Case(name, "S1", 1 if name in ("peel", "best") else 4, 1, batch=8 if several else 1)
    if has_gpu():
        yield Case("paper_scale", "S1", PAPER_VICTIMS, 1, device="cuda")


def run(case: Case) -> dict[str, Any]:
    """A case in its own process, with its own number of threads; a case that fails has a row that says so."""
    environment = os.environ | {"OMP_NUM_THREADS": str(case.threads), "MKL_NUM_THREADS": str(case.threads)}
    command = [sys.executable, "-m", "rlleak.benchmarks.measure", json.dumps(asdict(case))]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST, check=True)
    except subprocess.TimeoutExpired:
        return {**asdict(case), "note": f"not done after {LONGEST} s"}
    except subprocess.CalledProcessError as failure:
        return {**asdict(case), "note": f"failed: {(failure.stderr.strip() or 'no message').splitlines()[-1]}"}
    return json.loads(done.stdout.splitlines()[-1])


def bench(path: Path, quick: bool = False, console: Console | None = None) -> list[dict[str, Any]]:
    """Measures all cases, writes them to path (JSON, a list of rows) after each, and prints the table."""
    console = console or Console(width=None if sys.stdout.isatty() else 150)
    origin = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **provenance(),
    }
    rows, begin, todo = [], time.monotonic(), list(cases(quick))
    for number, case in enumerate(todo, 1):
        load = os.getloadavg()[0]
        rows.append({**run(case), "load_before": load, **origin})
        write_json(path, rows)
        if console.is_terminal:
            console.print(f"{number} of {len(todo)}: {case.what} {case.scene} {case.victims} × {case.threads}")
    console.print(as_table(rows))
    for note in dict.fromkeys(f"{row['what']}: {row['note']}" for row in rows if "note" in row):
        console.print(note)
    console.print(f"{path}: {len(rows)} rows in {time.monotonic() - begin:.0f} s")
    return rows


def as_table(rows: list[dict[str, Any]]) -> Table:
    """The rows as a person reads them."""
    table = Table(
        title="Milliseconds per victim (matching, breaching: and iteration; transitions: restart and iteration)"
    )
    table.add_column("what")
    table.add_column("scene")
    table.add_column("target")
    for heading in ("victims", "threads", "ms", "autograd ms", "times as fast", "GFLOP/s", "of peak", "memory MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["what"],
            row["scene"],
            row["target"],
            str(row["victims"]) + (f" × {row['batch']}" if row["batch"] > 1 else ""),
            str(row["threads"]),
            _number(row, "ms", "{:.2f}"),
            _number(row, "reference_ms", "{:.1f}"),
            _number(row, "speedup", "{:.1f}"),
            _number(row, "gflops", "{:.0f}"),
            _number(row, "share_of_machine", "{:.0%}"),
            _number(row, "peak_mb", "{:.0f}"),
        )
    return table


def _number(row: dict[str, Any], key: str, form: str) -> str:
    return form.format(row[key]) if key in row else "–"


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m rlleak.benchmarks.bench", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=Path("results/bench.json"))
    parser.add_argument("--quick", action="store_true", help="a few small cases")
    asked = parser.parse_args()
    try:
        measured = bench(asked.file, asked.quick)
    except RlleakError as error:
        sys.exit(f"Error: {error}")
    sys.exit(any("ms" not in row for row in measured if row["what"] == "matching"))
