"""What every workflow script does around its work: log to its rule's file, end in one line where a person can help."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rlleak.errors import RlleakError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Runs a script's body. What it prints goes to the rule's log; an RlleakError ends it with one line and status 1.

    The line stands in the log and on the workflow's own standard error. So does one for a full disk, on which the log
    itself may not be written. Any other exception is a bug and keeps its traceback, in the log.
    """
    terminal = os.dup(2)
    with open(snakemake.log[0], "w") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)  # descriptors, not sys.stdout: what a player or a C library prints belongs there, too
        os.dup2(log.fileno(), 2)
        try:
            yield
            sys.stdout.flush()
        except (RlleakError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _FULL:
                raise
            full = "the disk is full; free some and run again: what is finished is kept"
            line = f"{snakemake.rule}: {error if isinstance(error, RlleakError) else full}\n"
            os.write(terminal, line.encode())
            with suppress(OSError):
                sys.stderr.write(line)
            sys.exit(1)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            os.close(terminal)


def origin(snakemake: Any) -> dict[str, Any]:
    """Provenance of what a job makes: revision, versions, rule, seed if it has one, and a digest of its parameters.

    Not for the file that the server sees, which carries no seed.
    """
    import hashlib
    import json

    from rlleak.artefacts import provenance

    parameters = json.dumps(dict(snakemake.params.items()), sort_keys=True, default=str)
    digest = hashlib.sha256(parameters.encode()).hexdigest()[:16]
    return provenance(rule=snakemake.rule, seed=snakemake.params.get("seed"), parameters=digest)


@contextmanager
def in_progress(output: Path, code: Iterable[str]) -> Iterator[Path]:
    """Where an attack keeps its work in progress, beside its output; gone once the output is written.

    It is not among a rule's outputs: a job that was killed goes on where it was. It is named by the code that wrote it:
    what another version of the attack had finished is not taken over.
    """
    import hashlib

    digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in sorted(code))).hexdigest()[:12]
    yield output.with_suffix(f".{digest}.checkpoint.safetensors")
    for left in output.parent.glob(f"{output.stem}.*.checkpoint.safetensors"):
        left.unlink()


def note(stage: str, done: int, total: int, loss: float) -> None:
    """One line of an attack's progress in the log."""
    print(f"{stage}: {done} of {total}, mean matching loss {loss:.3g}", flush=True)
