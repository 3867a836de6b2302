"""Puts the verdicts of all configured experiments into one table."""

from pathlib import Path

from rlleak.artefacts import write_table
from rlleak.publishing.verdicts import read_verdicts
from rlleak.scripting import job

if __name__ == "__main__":
    with job(snakemake):
        write_table(Path(snakemake.output.verdicts), read_verdicts(snakemake.input.verdicts))
