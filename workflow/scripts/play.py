"""Plays Atari games at random and records one transition of each victim."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rlleak.devices import chosen_device
from rlleak.scripting import job, origin
from rlleak.simulators import atari
from rlleak.simulators.transitions import Transitions


def main(output: Path, provenance: dict[str, Any], **how: Any) -> Transitions:
    """Writes the transitions; `how` says which game, victims, seed and discount."""
    played = replace(atari.collect(**how), metadata={"provenance": provenance})
    played.save(output)
    return played


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked = snakemake.params
        main(
            Path(snakemake.output.experience),
            origin(snakemake),
            game=snakemake.wildcards.environment,
            victims=asked.victims,
            seed=asked.seed,
            gamma=asked.gamma,
        )
