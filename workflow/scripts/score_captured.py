"""Scores what a server reconstructed of clients, from an update of each or from the mean of all, client by client."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.learners.specification import NetworkSpec
from rlleak.metrics.comparison import told_apart
from rlleak.metrics.scoring import score
from rlleak.scripting import job
from rlleak.sharing.private import PrivateSide


def score_clients(
    reconstruction: Path,
    private: Path,
    axes: Mapping[str, str | int],
    architecture: Mapping[str, Any],
    clients: int,
    defence: Mapping[str, Any],
) -> pd.DataFrame:
    """The long table of one reconstruction file, about the first clients of the private file, a transition of each.

    Claims about the transitions in a mean are laid beside the clients that they fit best; a client of whom nothing is
    claimed is a black image and an empty box. Raises CorruptArtefactError where the files do not fit each other.
    """
    found, truth = Reconstruction.load(reconstruction), PrivateSide.load(private).first(clients)
    if found.claimed is not None:
        found = told_apart(found, truth)
    return score(found, truth, axes, NetworkSpec.model_validate(architecture), defence=defence)


if __name__ == "__main__":
    with job(snakemake):
        files, params = snakemake.input, snakemake.params
        about = params.axes, params.architecture, params.clients, params.defence
        write_table(snakemake.output[0], score_clients(files.reconstruction, files.private, *about))
