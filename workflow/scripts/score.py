"""Scores a reconstruction against the truth: the only script that reads both sides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.learners.specification import NetworkSpec
from rlleak.metrics.scoring import score
from rlleak.scripting import job
from rlleak.sharing.private import PrivateSide


def score_files(
    reconstruction: Path,
    private: Path,
    axes: Mapping[str, str | int],
    architecture: Mapping[str, Any],
    updates: int,
    noise: float = 0.0,
) -> pd.DataFrame:
    """The long table of one reconstruction file, about the first `updates` of the private file.

    Raises CorruptArtefactError where the files do not fit each other.
    """
    network = NetworkSpec.model_validate(architecture)
    truth = PrivateSide.load(private).first(updates * int(axes["batch"]))
    return score(Reconstruction.load(reconstruction), truth, axes, network, noise)


if __name__ == "__main__":
    with job(snakemake):
        files, params = snakemake.input, snakemake.params
        noise = params.defence.get("relative_deviation") or 0.0
        about = params.axes, params.architecture, params.updates, noise
        write_table(snakemake.output[0], score_files(files.reconstruction, files.private, *about))
