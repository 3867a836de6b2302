"""Writes what the gradients were made from: the truth, which the server must not see and only scoring reads."""

from pathlib import Path

import torch

from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import Training, load_parameters, prepare_training
from rlleak.simulators.recorded import Recorded, load_recorded


def main(training: Training, experience: Recorded, depth_limit: float, output: Path) -> None:
    layout = None if experience.layout is None else torch.from_numpy(experience.layout)
    victim = torch.from_numpy(experience.victim)
    looked_for = getattr(experience, "target", None)  # a game has none
    target = None if looked_for is None else torch.from_numpy(looked_for)
    withhold(*training, layout, victim, depth_limit, target).save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked, axes = snakemake.params, snakemake.wildcards
        experience = load_recorded(snakemake.input.experience, axes.setting).first(int(axes.batch))
        training = prepare_training(
            experience,
            learner=axes.learner,
            setting=axes.setting,
            architecture=asked.architecture,
            constants=asked.loss,
            network_seed=asked.network_seed,
            depth_limit=asked.depth_limit,
            precision=axes.precision,
            parameters=load_parameters(snakemake.input.parameters),
        )
        main(training, experience, asked.depth_limit, Path(snakemake.output.private))
