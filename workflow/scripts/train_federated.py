"""Trains a policy by clients that defend what they share, several times, each with seeds of its own.

The networks of the first run are kept, for attacks on what clients share later.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.training import Trained, train
from rlleak.metrics.trainings import score_training
from rlleak.scripting import in_progress, job, origin
from rlleak.sharing.victims import save_networks


def trained(
    training: Mapping[str, Any],
    defence: Mapping[str, Any],
    axes: Mapping[str, str | int],
    seed: int,
    checkpoint: Path | None = None,
    detector: str | None = None,
) -> tuple[Trained, pd.DataFrame]:
    """What all runs came to, and the same as a long table.

    training: as `rlleak.configuration.federation.FederatedSettings`. axes: values of `rlleak.metrics.scoring.AXES`.
    detector: of clients in rooms, the file of what rewards them.
    """
    homes = {"homes": {**training["homes"], "detector": detector}} if detector else {}
    settings = FederatedSettings.model_validate({**training, **homes})
    found = train(settings, defence, settings.size.runs, seed, checkpoint=checkpoint, progress=True)
    return found, score_training(found, axes)


if __name__ == "__main__":
    with job(snakemake):
        given, output, params = snakemake.input, snakemake.output, snakemake.params
        detector = given.get("detector")
        # What went before was rewarded by the same one.
        with in_progress(Path(output.metrics), [*given["library"], *([detector] if detector else [])]) as checkpoint:
            made, scores = trained(params.training, params.defence, params.axes, params.seed, checkpoint, detector)
            write_table(output.curve, made.curve)
            first = {name: value[0] for name, value in made.parameters.items()}
            save_networks(output.parameters, first, {**params.axes, "provenance": origin(snakemake)})
            write_table(output.metrics, scores)
