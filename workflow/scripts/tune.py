"""What an attacker does at home: it lives in public rooms, computes its own gradients, and tunes its attack on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rlleak.artefacts import write_json
from rlleak.attacks.tuning import tune
from rlleak.configuration.attacks import AttackSettings
from rlleak.devices import chosen_device
from rlleak.learners.networks import Observation
from rlleak.scripting import job, origin
from rlleak.seeds import derive
from rlleak.sharing.defences import defend
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.private import PrivateSide, withhold
from rlleak.sharing.update import SharedUpdate, capture
from rlleak.sharing.victims import load_parameters, prepare_training
from rlleak.simulators.recorded import Recorded, load_recorded


def both_sides(
    experience: Recorded,
    network: Mapping[str, Any],
    parameters: Mapping[str, Tensor] | None,
    batch: int,
    defence: Mapping[str, Any],
    seed: int,
) -> tuple[SharedUpdate, PrivateSide]:
    """What the attacker would share from its own rooms, defended like its victims', and the truth about them."""
    experience = experience.first(batch)
    training = prepare_training(experience, **network, parameters=parameters)
    update = capture(*training, batch)
    truth = withhold(*training, experience.layout, experience.victim, network["depth_limit"])
    own = derive(seed, "defence"), experience.victims, training.batch.observation
    shared = defend(update, defence, *own, training_of(training.network, training.objective))
    return shared, truth


def main(
    settings: Mapping[str, Any],
    update: SharedUpdate,
    truth: Observation,
    output: Path,
    provenance: Mapping[str, Any],
    **search: Any,
) -> None:
    tuned, trace = tune(AttackSettings.model_validate(settings), update, truth, **search)
    write_json(output, {"settings": tuned.model_dump(mode="json"), "search": trace, "provenance": provenance})


if __name__ == "__main__":
    with job(snakemake):
        asked, axes = snakemake.params, snakemake.wildcards
        device = chosen_device(snakemake.config["device"], snakemake.threads)
        update, truth = both_sides(
            load_recorded(snakemake.input.experience, axes.setting),
            asked.network,
            load_parameters(snakemake.input.parameters),
            int(axes.batch),
            asked.defence,
            asked.seed,
        )
        main(
            asked.settings,
            update,
            {"image": truth.image, "vector": truth.vector},
            Path(snakemake.output.settings),
            origin(snakemake),
            iterations=asked.iterations,
            search_iterations=asked.search_iterations,
            seed=asked.seed,
            device=device,
            memory_limit=int(snakemake.config["memory_limit_gb"] * 1e9),
        )
