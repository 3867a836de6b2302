"""Collects labelled views of public rooms, for the detector to learn from and to be scored on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlleak.scripting import job
from rlleak.simulators import SIMULATORS
from rlleak.simulators.collector import collect_views
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.layouts import detector_layouts, spread


def chosen_layouts(simulator: str, training: int, held_out: int) -> list[int]:
    """The first `training` and `held_out` of the simulator's public layouts, each spread over room types."""
    chosen = []
    for layouts, count in zip(detector_layouts(simulator), (training, held_out), strict=True):
        chosen += [layouts[spread(len(layouts), index)] for index in range(min(count, len(layouts)))]
    return chosen


def main(
    output: Path, simulator: str, simulation: Mapping[str, Any], layouts: list[int], views_per_layout: int, seed: int
) -> None:
    options = SimulatorOptions(**simulation, first_layout=layouts[0])
    with SIMULATORS.load(simulator)(options) as controller:
        collect_views(controller, layouts, views_per_layout, seed).save(output)


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        main(
            Path(snakemake.output.views),
            asked.simulator,
            asked.simulation,
            chosen_layouts(asked.simulator, asked.layouts, asked.held_out_layouts),
            asked.views_per_layout,
            asked.seed,
        )
