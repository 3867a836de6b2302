"""Gathers how good behaviour policies are and how well transition models foretell."""

from pathlib import Path

from rlleak.artefacts import write_table
from rlleak.publishing.environments import describe
from rlleak.scripting import job

if __name__ == "__main__":
    with job(snakemake):
        priors = zip(snakemake.params.policies, map(Path, snakemake.input.priors), strict=True)
        write_table(snakemake.output.environments, describe(priors, map(Path, snakemake.input.returns)))
