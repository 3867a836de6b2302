"""Runs an attack on what the server sees. Nothing private of a victim is within reach of this script."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlleak.artefacts import read_json, read_tensors
from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.devices import chosen_device
from rlleak.priors.denoiser import LearntPrior
from rlleak.scripting import job, origin
from rlleak.sharing.update import SharedUpdate

READS: dict[str, Callable[[str], Any]] = {
    "public": lambda file: read_tensors(file, "public rooms")[0],
    "prior": LearntPrior.load,
}
"""How each kind of knowledge is read from the rule's input of that name."""


def invert(
    shared: SharedUpdate, settings: AttackSettings, given: Mapping[str, Any], **arguments: Any
) -> Reconstruction:
    """The reconstruction. An attack is told what `METHODS` names for it, from the attacker's own files, and no more."""
    # Games have no public rooms to learn a prior from: then there is no file, and the attack is not told.
    told = {name: given[name] for name in METHODS[settings.method].knows}
    knowledge = {name: READS[name](file) for name, file in told.items() if file}
    return ATTACKS.load(settings.method)(shared, settings, knowledge=knowledge, **arguments)


def digest(code: Iterable[str]) -> str:
    """A short name for what is in the files of a script's code."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in sorted(code))).hexdigest()[:12]


def note(stage: str, done: int, total: int, loss: float) -> None:
    """One line of progress in the log."""
    print(f"{stage}: {done} of {total}, mean matching loss {loss:.3g}", flush=True)


if __name__ == "__main__":
    with job(snakemake):
        given, output = snakemake.input, Path(snakemake.output.reconstruction)
        # Not among the outputs: a job that was killed goes on where it was.
        # Named by the code that wrote it: what another version of the attack had finished is not taken over.
        checkpoint = output.with_suffix(f".{digest(given['library'])}.checkpoint.safetensors")
        reconstruction = invert(
            SharedUpdate.load(given["shared"]),
            AttackSettings.model_validate(snakemake.params.settings or read_json(given["settings"])["settings"]),
            given,
            seed=snakemake.params.seed,
            device=chosen_device(snakemake.config["device"], snakemake.threads),
            memory_limit=int(snakemake.config["memory_limit_gb"] * 1e9),
            checkpoint=checkpoint,
            progress=note,
        )
        metadata = {**reconstruction.metadata, "provenance": origin(snakemake)}
        replace(reconstruction, metadata=metadata).save(output)
        for left in output.parent.glob(f"{output.stem}.*.checkpoint.safetensors"):
            left.unlink()
