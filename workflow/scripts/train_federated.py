"""Trains a policy by clients that defend what they share, several times, each with seeds of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.training import train
from rlleak.metrics.trainings import score_training
from rlleak.scripting import in_progress, job


def trained(
    training: Mapping[str, Any],
    defence: Mapping[str, Any],
    axes: Mapping[str, str | int],
    seed: int,
    checkpoint: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The learning curve of all runs, and the long table of what they came to.

    training: as `rlleak.configuration.federation.FederatedSettings`. axes: values of `rlleak.metrics.scoring.AXES`.
    """
    settings = FederatedSettings.model_validate(training)
    found = train(settings, defence, settings.size.runs, seed, checkpoint=checkpoint, progress=True)
    return found.curve, score_training(found, axes)


if __name__ == "__main__":
    with job(snakemake):
        output, params = snakemake.output, snakemake.params
        with in_progress(Path(output.metrics), snakemake.input.library) as checkpoint:
            made = trained(params.training, params.defence, params.axes, params.seed, checkpoint)
            for path, table in zip((output.curve, output.metrics), made, strict=True):
                write_table(path, table)
