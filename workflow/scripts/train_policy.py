"""Trains a behaviour policy in an environment, and says how good it is beside a random one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlleak.artefacts import write_json
from rlleak.devices import chosen_device
from rlleak.learners.acting import policy_of
from rlleak.scripting import job, origin
from rlleak.seeds import derive
from rlleak.simulators.behaviour import Behaviour
from rlleak.simulators.behaviour_training import train
from rlleak.simulators.environments import random_policy, returns_of


def main(
    policy: Path,
    returns: Path,
    setting: str,
    provenance: dict[str, Any],
    *,
    seed: int,
    exploration: float,
    episodes: int,
    horizon: int | None,
    **how: Any,
) -> Behaviour:
    """Writes the policy's networks, and both policies' returns in the same episodes; `how` says how it is trained."""
    checkpoint = policy.with_suffix(".checkpoint")
    trained = train(setting, seed=seed, checkpoint=checkpoint, **how)
    trained = replace(trained, metadata={**trained.metadata, "provenance": provenance})
    acting = {"trained": policy_of(trained, exploration), "random": random_policy(setting)}
    earned = {
        name: returns_of(setting, act, episodes, derive(seed, "returns"), horizon) for name, act in acting.items()
    }
    trained.save(policy)
    described = {"environment": setting, "episodes": episodes, "horizon": horizon, "exploration": exploration}
    described["returns"] = {name: summary(each) for name, each in earned.items()}
    write_json(returns, {**trained.metadata, **described})
    checkpoint.unlink(missing_ok=True)
    return trained


def summary(returns: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation over episodes, and each episode's."""
    return {"mean": float(returns.mean()), "std": float(returns.std()), "episodes": returns.tolist()}


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        main(
            Path(snakemake.output.policy),
            Path(snakemake.output.returns),
            snakemake.wildcards.environment,
            origin(snakemake),
            device=chosen_device(asked.device, snakemake.threads),
            seed=asked.seed,
            exploration=asked.exploration,
            episodes=asked.episodes,
            horizon=asked.horizon,
            **asked.training,
        )
