"""Plays an environment and records some transitions of each victim."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rlleak.devices import chosen_device
from rlleak.scripting import job, origin
from rlleak.simulators import POLICIES
from rlleak.simulators.environments import collect
from rlleak.simulators.transitions import Transitions


def main(output: Path, provenance: dict[str, Any], setting: str, **how: Any) -> Transitions:
    """Writes the transitions; `how` says which victims, how many of each, seed, discount and policy."""
    played = replace(collect(setting, **how), metadata={"provenance": provenance})
    played.save(output)
    return played


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked, setting = snakemake.params, snakemake.wildcards.environment
        policy = snakemake.wildcards.get("policy", "random")
        trained = {"file": snakemake.input.policy, "exploration": asked.exploration} if policy == "trained" else {}
        main(
            Path(snakemake.output.experience),
            origin(snakemake),
            setting,
            victims=asked.victims,
            transitions=asked.transitions,
            seed=asked.seed,
            gamma=asked.gamma,
            policy=POLICIES.load(policy)(setting, **trained),
        )
