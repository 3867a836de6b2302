"""Binds verdicts, tables, figures, rooms and provenance into one page that needs nothing else."""

from pathlib import Path

from rlleak.artefacts import write_text
from rlleak.publishing.report import Sources, Study, render
from rlleak.publishing.verdicts import read_verdicts
from rlleak.scripting import job

if __name__ == "__main__":
    with job(snakemake):
        files, params = snakemake.input, snakemake.params
        verdicts = read_verdicts([files.verdicts])
        sources = Sources(
            tables=list(files.tables),
            figures=list(files.figures),
            contact_sheet=files.contact_sheet,
            statistics=files.statistics,
            detector=files.detector,
            environments=files.get("environments") or None,
            benchmarks=Path(files.detector).parent / "benchmarks",
        )
        study = Study(
            params.configuration, params.get("sizes", {}), params.get("captions", {}), params.get("experiments", ())
        )
        write_text(snakemake.output.report, render(verdicts, sources, study))
