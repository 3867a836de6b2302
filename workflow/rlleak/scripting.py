"""What every workflow script does around its work: log to its rule's file, end in one line where a person can help."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlleak.errors import RlleakError


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Runs a script's body. What it prints goes to the rule's log; an RlleakError ends it with one line and status 1.

    The line stands in the log and on the workflow's own standard error. Any other exception is a bug and keeps its
    traceback, in the log.
    """
    terminal = os.dup(2)
    with open(snakemake.log[0], "w") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)  # descriptors, not sys.stdout: what a player or a C library prints belongs there, too
        os.dup2(log.fileno(), 2)
        try:
            yield
        except RlleakError as error:
            line = f"{snakemake.rule}: {error}\n"
            sys.stderr.write(line)
            os.write(terminal, line.encode())
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
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
