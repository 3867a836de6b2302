"""Lives through episodes of active perception and records one transition of each victim, or several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlleak.devices import chosen_device
from rlleak.scripting import job, origin
from rlleak.simulators import SIMULATORS
from rlleak.simulators.active_perception import TaskOptions
from rlleak.simulators.collector import CollectionOptions, collect_experience
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.detector import Detector
from rlleak.simulators.layouts import layout_of_victim
from rlleak.simulators.replay import collect_replay


def main(
    detector: Path,
    output: Path,
    simulator: str,
    simulation: Mapping[str, Any],
    perception: Mapping[str, Any],
    victims: Sequence[int],
    collection: CollectionOptions,
    seed: int,
    provenance: Mapping[str, Any],
    transitions: int = 1,
    actions: str = "any",
) -> None:
    """Writes the experience of some victims; with several transitions each, clients' replays."""
    task = TaskOptions(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in perception.items()}
    )
    options = SimulatorOptions(**simulation, first_layout=layout_of_victim(victims[0], collection.public, simulator))
    with SIMULATORS.load(simulator)(options) as controller:
        told = controller, Detector.load(detector), victims, seed
        if transitions == 1:
            experience = collect_experience(*told, collection, task)
        else:
            experience = collect_replay(*told, transitions, actions, collection, task)
    experience.metadata["provenance"] = provenance
    experience.save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked = snakemake.params
        perception = dict(asked.perception)
        collection = CollectionOptions(gamma=asked.gamma, warm_up=perception.pop("warm_up"), public=asked.public)
        main(
            Path(snakemake.input.detector),
            Path(snakemake.output.experience),
            asked.simulator,
            asked.simulation,
            perception,
            asked.victims,
            collection,
            asked.seed,
            origin(snakemake),
            asked.transitions,
            asked.actions,
        )
