"""Writes what the gradients were made from: the truth, which the server must not see and only scoring reads."""

from pathlib import Path

from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import Training, load_parameters, prepare_training
from rlleak.simulators.recorded import Recorded, load_recorded
from rlleak.simulators.transitions import Transitions


def main(training: Training, experience: Recorded, depth_limit: float, output: Path) -> None:
    """Writes the private side; of environments whole transitions, which attacks on them are scored against."""
    whole = isinstance(experience, Transitions)
    about = experience.layout, experience.victim, depth_limit, experience.target
    withhold(*training, *about, whole=whole).save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        network, axes = snakemake.params.network, snakemake.wildcards
        experience = load_recorded(snakemake.input.experience, axes.setting).first(int(axes.batch))
        parameters = load_parameters(snakemake.input.parameters)
        training = prepare_training(experience, **network, parameters=parameters)
        main(training, experience, network["depth_limit"], Path(snakemake.output.private))
