"""Runs an attack on what the server sees. Nothing private of a victim is within reach of this script."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlleak.artefacts import read_json, read_tensors
from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.devices import chosen_device
from rlleak.priors.denoiser import LearntPrior
from rlleak.scripting import in_progress, job, note, origin
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


if __name__ == "__main__":
    with job(snakemake):
        given, output = snakemake.input, Path(snakemake.output.reconstruction)
        with in_progress(output, given["library"]) as checkpoint:
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
