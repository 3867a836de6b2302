"""Draws a figure, as PNG for the screen and as PDF for print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rlleak.configuration.experiments import Experiment
from rlleak.publishing import FIGURES
from rlleak.publishing.drawing import save
from rlleak.publishing.metrics_table import read_metrics
from rlleak.publishing.views import Views
from rlleak.scripting import job


def draw(
    metrics: Sequence[Path],
    reconstructions: Sequence[Path],
    private: Sequence[Path],
    experiment: Mapping[str, Any],
    builder: str,
    trained: Sequence[Path] = (),
    curves: Sequence[Path] = (),
) -> Figure:
    """The figure; the first three lists of paths belong together item by item, and metrics of trainings and curves."""
    views = Views(metrics, reconstructions, private, trained, curves)
    asked = Experiment.model_validate(experiment)
    return FIGURES.load(builder)(read_metrics([*metrics, *trained], asked), asked, views)


if __name__ == "__main__":
    with job(snakemake):
        files, params = snakemake.input, snakemake.params
        attacked = (files.metrics, files.reconstructions, files.private)
        figure = draw(*attacked, params.experiment, params.builder, files.trained, files.curves)
        save(figure, snakemake.output.png)
        save(figure, snakemake.output.pdf)
