"""Takes in rooms what a rule asks for: labelled views of public ones, or photographs of homes from all sides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlleak.scripting import job, origin
from rlleak.simulators import COLLECTIONS, SIMULATORS
from rlleak.simulators.controller import SimulatorOptions


def main(
    output: Path,
    kind: str,
    simulator: str,
    simulation: Mapping[str, Any],
    layouts: Sequence[int],
    per_layout: int,
    seed: int,
    provenance: Mapping[str, Any],
) -> None:
    """Writes what a kind of collection (`rlleak.simulators.COLLECTIONS`) gives, `per_layout` in each layout."""
    options = SimulatorOptions(**simulation, first_layout=layouts[0])
    with SIMULATORS.load(simulator)(options) as controller:
        collected = COLLECTIONS.load(kind)(controller, layouts, per_layout, seed)
    collected.metadata["provenance"] = provenance
    collected.save(output)


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        main(
            Path(snakemake.output[0]),
            asked.kind,
            asked.simulator,
            asked.simulation,
            asked.layouts,
            asked.per_layout,
            asked.seed,
            origin(snakemake),
        )
