"""Makes a table: CSV for programs, LaTeX for papers, HTML for the report."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlleak.artefacts import write_text
from rlleak.configuration.experiments import Experiment
from rlleak.publishing import TABLES
from rlleak.publishing.metrics_table import caption_of, read_metrics
from rlleak.publishing.table import Table
from rlleak.scripting import job


def build(metrics: Iterable[Path], experiment: Mapping[str, Any], builder: str) -> Table:
    """The table that an experiment's metrics give."""
    asked = Experiment.model_validate(experiment)
    return TABLES.load(builder)(read_metrics(metrics, asked), asked)


if __name__ == "__main__":
    with job(snakemake):
        params, output = snakemake.params, snakemake.output
        table = build(snakemake.input.metrics, params.experiment, params.builder)
        caption = caption_of(params.experiment, params.name, params.scale, params.simulator)
        write_text(output.csv, table.to_csv())
        write_text(output.tex, table.to_latex(caption, params.name))
        write_text(output.html, table.to_html(caption))
