"""Computes the gradients that victims share and writes what the server sees: no seed, no layout, no observation."""

from pathlib import Path

from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.update import capture
from rlleak.sharing.victims import Training, prepare_training
from rlleak.simulators.experience import Experience


def main(training: Training, output: Path) -> None:
    capture(training.network, training.loss, training.batch).check().save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked = snakemake.params
        training = prepare_training(
            Experience.load(snakemake.input.experience),
            learner=snakemake.wildcards.learner,
            setting=snakemake.wildcards.setting,
            architecture=asked.architecture,
            constants=asked.loss,
            network_seed=asked.network_seed,
            depth_limit=asked.depth_limit,
        )
        main(training, Path(snakemake.output.shared))
