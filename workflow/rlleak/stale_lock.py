"""Removes the lock of a workflow run that was killed: `python -m rlleak.stale_lock` before a new one.

Snakemake locks its working folder and unlocks it at its end; after kill -9 or a power cut the lock stays. If no other
Snakemake works in the folder on this machine, the lock is stale.
"""

import os
import sys
from pathlib import Path

import psutil

from rlleak.errors import ResourceError, RlleakError


def holders(folder: Path) -> list[int]:
    """Processes of Snakemake, other than this one and its parents, that work in the folder."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            snakemake = any(Path(word).name == "snakemake" for word in words[:3])
            if snakemake and process.pid not in mine and Path(process.cwd()) == folder:
                found.append(process.pid)
        except psutil.Error:  # it ended meanwhile, or belongs to somebody else
            continue
    return found


def remove_stale_lock(folder: Path) -> bool:
    """Whether a stale lock was there and is gone. Raises ResourceError for one that somebody else left."""
    locks = [path for path in folder.joinpath(".snakemake", "locks").glob("*") if path.is_file()]
    if not locks or holders(folder):
        return False
    for path in locks:
        try:
            path.unlink()
        except OSError as error:
            raise ResourceError(
                f"the lock {path} of a run that was killed cannot be removed ({error.strerror}); make it yours (sudo "
                f"chown -R $USER {folder / '.snakemake'}) and run again"
            ) from error
    return True


if __name__ == "__main__":
    here = Path.cwd().resolve()
    try:
        removed = remove_stale_lock(here)
    except RlleakError as error:
        sys.exit(f"Error: {error}")
    if removed:
        print("removed the lock of a run that was killed; it will be resumed", file=sys.stderr)
    elif running := holders(here):
        sys.exit(f"another run works in this folder (process {running[0]}): wait for it, or end it")
