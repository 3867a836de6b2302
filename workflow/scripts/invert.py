"""Runs an attack on what the server sees. Nothing private of a victim is within reach of this script."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rlleak.artefacts import read_json
from rlleak.attacks import ATTACKS
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.update import SharedUpdate
from rlleak.simulators.experience import Experience


def public_knowledge(path: Path, setting: str, depth_limit: float) -> Mapping[str, Tensor]:
    """The attacker's own observations, in public rooms."""
    return Experience.load(path).observations(setting, depth_limit)


def attack(
    shared: SharedUpdate,
    settings: AttackSettings,
    public: Callable[[], Mapping[str, Tensor]],
    **arguments: Any,
) -> Reconstruction:
    """The reconstruction; `public` is asked only by an attack that has a prior."""
    if settings.method == "prior_only":
        arguments["public"] = public()
    return ATTACKS.load(settings.method)(shared, settings, **arguments)


if __name__ == "__main__":
    with job(snakemake):
        files, output = snakemake.input, Path(snakemake.output.reconstruction)
        # Not among the outputs: a job that was killed goes on where it was.
        checkpoint = output.with_suffix(".checkpoint.safetensors")
        reconstruction = attack(
            SharedUpdate.load(files.shared),
            AttackSettings.model_validate(read_json(files.settings)["settings"]),
            lambda: public_knowledge(files.public, snakemake.wildcards.setting, snakemake.params.depth_limit),
            seed=snakemake.params.seed,
            device=chosen_device(snakemake.config["device"], snakemake.threads),
            memory_limit=int(snakemake.config["memory_limit_gb"] * 1e9),
            checkpoint=checkpoint,
        )
        reconstruction.save(output)
        checkpoint.unlink(missing_ok=True)
