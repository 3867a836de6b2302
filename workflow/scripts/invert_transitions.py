"""Inverts shared gradients: whole transitions, by all attacks that are asked of the same updates."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlleak.attacks.transitions.reconstruction import TransitionReconstruction, save_all
from rlleak.attacks.transitions.running import run_together
from rlleak.configuration.attacks import TransitionSettings
from rlleak.devices import chosen_device
from rlleak.priors.from_weights import prior_from_weights
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.scripting import in_progress, job, note, origin
from rlleak.sharing.update import SharedUpdate


def main(
    shared: SharedUpdate, setting: str, attacks: Mapping[str, Any], priors: Iterable[Path], **arguments: Any
) -> dict[str, TransitionReconstruction]:
    """What each attack makes of the updates, by name; each is told the prior of the amount that its settings name."""
    settings = {name: TransitionSettings.model_validate(asked) for name, asked in attacks.items()}
    known = {prior.amount: prior for prior in map(TransitionPrior.load, priors)}
    # No transitions stand behind it: who has the update has this.
    known["weights"] = prior_from_weights(setting, shared.parameters)
    return run_together(shared, settings, known, **arguments)


if __name__ == "__main__":
    with job(snakemake):
        given, output = snakemake.input, Path(snakemake.output.reconstruction)
        with in_progress(output, given["library"]) as checkpoint:
            found = main(
                SharedUpdate.load(given["shared"]),
                snakemake.wildcards.setting,
                snakemake.params.attacks,
                given["priors"],
                seed=snakemake.params.seed,
                device=chosen_device(snakemake.config["device"], snakemake.threads),
                memory_limit=int(snakemake.config["memory_limit_gb"] * 1e9),
                checkpoint=checkpoint,
                progress=note,
            )
            made = {"provenance": origin(snakemake)}
            save_all(output, {name: replace(own, metadata={**own.metadata, **made}) for name, own in found.items()})
