"""Collects labelled views of public rooms, for the detector to learn from and to be scored on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlleak.scripting import job, origin
from rlleak.simulators import SIMULATORS
from rlleak.simulators.collector import collect_views
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.layouts import detector_layouts


def main(
    output: Path,
    simulator: str,
    simulation: Mapping[str, Any],
    layouts: list[int],
    views_per_layout: int,
    seed: int,
    provenance: Mapping[str, Any],
) -> None:
    options = SimulatorOptions(**simulation, first_layout=layouts[0])
    with SIMULATORS.load(simulator)(options) as controller:
        views = collect_views(controller, layouts, views_per_layout, seed)
    views.metadata["provenance"] = provenance
    views.save(output)


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        training, held_out = detector_layouts(asked.simulator, asked.layouts, asked.held_out_layouts)
        main(
            Path(snakemake.output.views),
            asked.simulator,
            asked.simulation,
            [*training, *held_out],
            asked.views_per_layout,
            asked.seed,
            origin(snakemake),
        )
