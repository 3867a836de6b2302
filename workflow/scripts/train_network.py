"""Trains a policy network on the attacker's public experience: its parameters know nothing of any victim."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlleak.devices import chosen_device
from rlleak.learners.training import train
from rlleak.scripting import job, origin
from rlleak.sharing.victims import Training, prepare_training, save_parameters
from rlleak.simulators.recorded import load_recorded


def main(training: Training, output: Path, provenance: Mapping[str, Any], **how: Any) -> None:
    """Trains the network in place and writes its parameters."""
    losses = train(*training, **how)
    save_parameters(output, training.network, {"provenance": provenance, "loss": losses})


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked = snakemake.params
        experience = load_recorded(snakemake.input.experience, snakemake.wildcards.setting)
        training, output = prepare_training(experience, **asked.network), Path(snakemake.output.parameters)
        main(training, output, origin(snakemake), updates=asked.updates, seed=asked.seed, **asked.training)
