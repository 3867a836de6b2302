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
    onlooker: Path | None = None,
    defence: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The long table of one reconstruction file, about the first `updates` of the private file.

    onlooker: the file of who says which room and target an image shows; without it those metrics are absent. defence:
    what the victims did to their updates.
    Raises CorruptArtefactError where the files do not fit each other.
    """
    network = NetworkSpec.model_validate(architecture)
    truth = PrivateSide.load(private).first(updates * int(axes["batch"]))
    identifier = None
    if onlooker:
        # Few studies ask; what it needs takes a second to import, in each of a hundred jobs.
        from rlleak.metrics.onlooker import Onlooker

        identifier = Onlooker.load(onlooker)
    return score(Reconstruction.load(reconstruction), truth, axes, network, identifier, defence)


if __name__ == "__main__":
    with job(snakemake):
        files, params = snakemake.input, snakemake.params
        about = params.axes, params.architecture, params.updates, files.get("onlooker"), params.defence
        write_table(snakemake.output[0], score_files(files.reconstruction, files.private, *about))
