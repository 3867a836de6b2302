"""What an attacker remembers of its own public rooms: what it saw there, did, and what the network's values were."""

from pathlib import Path

from rlleak.artefacts import write_tensors
from rlleak.devices import chosen_device
from rlleak.scripting import job, origin
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import Training, load_parameters, prepare_training
from rlleak.simulators.recorded import Recorded, load_recorded


def main(training: Training, experience: Recorded, depth_limit: float, output: Path, provenance: dict) -> None:
    """Writes the attacker's own rooms by component, each (P, ...)."""
    own = withhold(*training, experience.layout, experience.victim, depth_limit)
    write_tensors(output, "public rooms", own.components, {"provenance": provenance})


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        network, axes = snakemake.params.network, snakemake.wildcards
        experience = load_recorded(snakemake.input.experience, axes.setting).first(int(axes.batch))
        training = prepare_training(experience, **network, parameters=load_parameters(snakemake.input.parameters))
        main(training, experience, network["depth_limit"], Path(snakemake.output.public), origin(snakemake))
