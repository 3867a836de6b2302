"""Learns what the attacker knows of an environment's transitions from its own, and says how well f foretells them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlleak.devices import chosen_device
from rlleak.priors.transition_learning import learn
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.scripting import job, origin
from rlleak.simulators.transitions import Transitions


def note(done: int, total: int, error: float) -> None:
    """One line of progress in the log."""
    print(f"epoch {done} of {total}, error {error:.4g}", flush=True)


def verdict(prior: TransitionPrior) -> str:
    """One line: how good f is, and whether attacks will use it."""
    errors = f"error {prior.held_out_error:.4g}, of no change {prior.no_change_error:.4g}"
    if prior.learnt:
        return f"{prior.environment}, {prior.amount}: f foretells transitions not seen ({errors})"
    return f"{prior.environment}, {prior.amount}: f is no better than no change ({errors}); R_f stays off"


def main(
    experience: Path,
    prior: Path,
    provenance: Mapping[str, Any],
    *,
    setting: str,
    amount: str,
    epochs: int,
    seed: int,
    device: str | torch.device = "cpu",
) -> None:
    own = Transitions.load(experience)
    learnt = learn(setting, own, amount, epochs=epochs, seed=seed, device=device, progress=note)
    learnt.metadata["provenance"] = dict(provenance)
    learnt.save(prior)
    print(verdict(learnt))


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        main(
            Path(snakemake.input.experience),
            Path(snakemake.output.prior),
            origin(snakemake),
            setting=snakemake.wildcards.environment,
            amount=snakemake.wildcards.amount,
            epochs=asked.epochs,
            seed=asked.seed,
            device=chosen_device(snakemake.config["device"], snakemake.threads),
        )
