"""Judges the claims of one experiment."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.configuration.experiments import Experiment
from rlleak.publishing.metrics_table import read_metrics
from rlleak.publishing.verdicts import judge
from rlleak.scripting import job


def judge_files(
    metrics: Iterable[Path], experiment: Mapping[str, Any], scale: str, simulator: str, samples: int, seed: int
) -> pd.DataFrame:
    """One row per claim of the experiment."""
    claims = Experiment.model_validate(experiment)
    table = read_metrics(metrics, claims)
    return judge(table, claims, scale=scale, simulator=simulator, samples=samples, seed=seed)


if __name__ == "__main__":
    with job(snakemake):
        params = snakemake.params
        verdicts = judge_files(
            snakemake.input.metrics,
            params.experiment,
            params.scale,
            params.simulator,
            params.bootstrap_samples,
            params.seed,
        )
        write_table(snakemake.output[0], verdicts)
