"""Writes what the gradients were made from: the truth, which the server must not see and only scoring reads."""

from pathlib import Path

from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import Training, load_parameters, prepare_training
from rlleak.simulators.recorded import Recorded, load_recorded


def main(training: Training, experience: Recorded, depth_limit: float, output: Path) -> None:
    withhold(*training, experience.layout, experience.victim, depth_limit, experience.target).save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        network, axes = snakemake.params.network, snakemake.wildcards
        experience = load_recorded(snakemake.input.experience, axes.setting).first(int(axes.batch))
        parameters = load_parameters(snakemake.input.parameters)
        training = prepare_training(experience, **network, parameters=parameters)
        main(training, experience, network["depth_limit"], Path(snakemake.output.private))
