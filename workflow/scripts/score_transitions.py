"""Scores reconstructed transitions against the truth and the simulator; reads both sides, as `score.py` does."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.attacks.transitions.reconstruction import load_all
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.metrics.transition_comparison import Units
from rlleak.metrics.transition_scoring import score_transitions
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.scripting import job
from rlleak.sharing.private import PrivateSide
from rlleak.simulators.environments import successor
from rlleak.simulators.transitions import Transitions


def score_files(
    reconstruction: Path,
    private: Path,
    units: Path,
    public: Path,
    axes: Mapping[str, str | int],
    updates: int,
    thresholds: Mapping[str, float],
    defence: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The long table of all attacks of one file, about the first `updates` of the private file.

    units: the file of a prior learnt from public transitions; its deviations are the units of errors, the same for all
    attacks whatever they know. public: the file of those transitions. Raises CorruptArtefactError where the files do
    not fit each other.
    """
    return score_transitions(
        load_all(reconstruction),
        PrivateSide.load(private).first(updates * int(axes["batch"])),
        axes,
        Units.of(TransitionPrior.load(units)),
        public=Transitions.load(public),
        thresholds=TransitionThresholds.model_validate(thresholds),
        successor=partial(successor, str(axes["setting"])),
        defence=defence,
    )


if __name__ == "__main__":
    with job(snakemake):
        files, params = snakemake.input, snakemake.params
        about = params.axes, params.updates, params.thresholds, params.defence
        sides = files.reconstruction, files.private, files.units, files.public
        write_table(snakemake.output[0], score_files(*sides, *about))
