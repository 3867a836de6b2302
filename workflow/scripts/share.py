"""Computes the gradients that victims share and writes what the server sees: no seed, no layout, no observation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlleak.devices import chosen_device
from rlleak.learners.normalisation import Normalised, Statistics
from rlleak.scripting import job
from rlleak.sharing.defences import defend
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.normalisation import announced, as_seen, statistics_of
from rlleak.sharing.update import capture
from rlleak.sharing.victims import Training, load_parameters, prepare_training
from rlleak.simulators.recorded import load_recorded


def main(
    training: Training,
    victims: list[int],
    output: Path,
    batch: int,
    defence: Mapping[str, Any],
    seed: int,
    normalisation: tuple[Normalised, Statistics] | None = None,
) -> None:
    """Writes the updates of some victims, `batch` transitions each, defended with noise that only the seed tells."""
    update = capture(training.network, training.loss, training.batch, batch)
    if normalisation is not None:
        update = announced(update, *normalisation)
    train = training_of(training.network, training.objective)
    defend(update, defence, seed, victims, training.batch.observation, train).check().save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked, axes = snakemake.params, snakemake.wildcards
        recorded = load_recorded(snakemake.input.experience, axes.setting)
        experience = recorded.first(int(axes.batch), asked.updates)
        normalisation = None
        if normalised := asked.get("normalised"):
            normalisation = normalised, statistics_of(experience, normalised, recorded)
            experience = as_seen(experience, normalisation[1])
        parameters = load_parameters(snakemake.input.parameters)
        training = prepare_training(experience, **asked.network, parameters=parameters)
        output = Path(snakemake.output.shared)
        about = int(axes.batch), asked.defence, asked.defence_seed, normalisation
        main(training, experience.victims, output, *about)
