"""Keeps what a finished run says where git keeps it: tables, figures, verdicts, and the machine that made them."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rlleak.artefacts import provenance, read_json, write_bytes, write_json
from rlleak.errors import CorruptArtefactError, RlleakError

KEPT = ("verdicts.csv", "tables/*.csv", "figures/*.png", "*/detector.json", "*/environments.csv")


def keep(run: Path, into: Path) -> list[Path]:
    """Copies the small files of a run (results/<scale>) to into/<scale>, beside `machine.json`; gives the copies.

    Raises CorruptArtefactError if the run is not finished.
    """
    if not (run / "report.html").is_file():
        raise CorruptArtefactError(f"{run} holds no finished run; make reproduce SCALE={run.name} first")
    # Before the copies, which change the working tree.
    origin = provenance()
    copies = []
    for source in sorted(path for pattern in KEPT for path in run.glob(pattern)):
        copies.append(into / run.name / source.relative_to(run).name)
        write_bytes(copies[-1], source.read_bytes())
    finished = datetime.fromtimestamp((run / "report.html").stat().st_mtime, UTC)
    # Some say what happened and not where they come from: the rounds of a federation, a list.
    told = [read_json(path) for path in sorted(run.glob("*/**/*.json"))]
    origins = [origin, *(each["provenance"] for each in told if isinstance(each, dict) and "provenance" in each)]
    description = {
        "command": f"make reproduce SCALE={run.name}",
        "finished": finished.strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        # A partial rerun leaves files of several revisions; the first made these copies.
        "revisions": list(dict.fromkeys(each["revision"] for each in origins)),
        "versions": origins[0]["versions"],
    }
    write_json(into / run.name / "machine.json", description)
    return copies


if __name__ == "__main__":
    try:
        for copy in keep(Path(sys.argv[1]), Path(sys.argv[2])):
            print(copy)
    except RlleakError as error:
        sys.exit(f"Error: {error}")
