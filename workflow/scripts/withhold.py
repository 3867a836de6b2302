"""Writes what the gradients were made from: the truth, which the server must not see and only scoring reads."""

from pathlib import Path

import torch

from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import Training, prepare_training
from rlleak.simulators.experience import Experience


def main(training: Training, experience: Experience, depth_limit: float, output: Path) -> None:
    layout, victim = torch.from_numpy(experience.layout), torch.from_numpy(experience.victim)
    withhold(training.network, training.loss, training.batch, layout, victim, depth_limit).save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked = snakemake.params
        experience = Experience.load(snakemake.input.experience)
        training = prepare_training(
            experience,
            learner=snakemake.wildcards.learner,
            setting=snakemake.wildcards.setting,
            architecture=asked.architecture,
            constants=asked.loss,
            network_seed=asked.network_seed,
            depth_limit=asked.depth_limit,
        )
        main(training, experience, asked.depth_limit, Path(snakemake.output.private))
