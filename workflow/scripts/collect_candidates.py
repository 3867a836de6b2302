"""Photographs homes from all sides: the private ones that come into question, or held-out public ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlleak.scripting import job, origin
from rlleak.simulators import SIMULATORS
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.layouts import detector_layouts
from rlleak.simulators.photographs import candidate_layouts, photograph


def main(
    output: Path,
    simulator: str,
    simulation: Mapping[str, Any],
    layouts: Sequence[int],
    per_room: int,
    seed: int,
    provenance: Mapping[str, Any],
) -> None:
    options = SimulatorOptions(**simulation, first_layout=layouts[0])
    with SIMULATORS.load(simulator)(options) as controller:
        photographs = photograph(controller, layouts, per_room, seed)
    photographs.metadata["provenance"] = provenance
    photographs.save(output)


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        _, held_out = detector_layouts(asked.simulator, asked.layouts, asked.held_out_layouts)
        candidates = candidate_layouts(asked.candidates)
        main(
            Path(snakemake.output.photographs),
            asked.simulator,
            asked.simulation,
            candidates if snakemake.wildcards.homes == "candidates" else held_out,
            asked.per_room,
            asked.seed,
            origin(snakemake),
        )
