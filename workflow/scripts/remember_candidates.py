"""Shows the matcher the photographs of the candidate homes."""

from rlleak.devices import chosen_device
from rlleak.metrics.onlooker import Matcher, remember
from rlleak.scripting import job, origin
from rlleak.simulators.photographs import Photographs

if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        matcher, photographs = Matcher.load(snakemake.input.matcher), Photographs.load(snakemake.input.photographs)
        onlooker = remember(matcher, photographs, snakemake.params.tilts)
        onlooker.save(snakemake.output.onlooker, provenance=origin(snakemake))
