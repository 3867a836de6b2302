"""Learns on public rooms what an onlooker needs, and writes how it does on public rooms that it has not seen."""

from pathlib import Path

from rlleak.artefacts import write_json
from rlleak.devices import chosen_device
from rlleak.metrics.matcher_training import train_matcher
from rlleak.scripting import job, origin
from rlleak.simulators.collector import VIEW_HORIZONS
from rlleak.simulators.layouts import detector_layouts
from rlleak.simulators.photographs import Photographs
from rlleak.simulators.views import Views

if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        asked = snakemake.params
        training, held_out = detector_layouts(asked.simulator)
        views = Views.load(snakemake.input.views)
        matcher = train_matcher(
            views.of_layouts(training),
            views.of_layouts(held_out),
            Photographs.load(snakemake.input.photographs),
            setting=snakemake.wildcards.setting,
            depth_limit=asked.depth_limit,
            tilts=VIEW_HORIZONS,
            epochs=asked.epochs,
            seed=asked.seed,
        )
        matcher.save(Path(snakemake.output.matcher))
        description = {"weights": matcher.weights, **matcher.scores, "provenance": origin(snakemake)}
        write_json(snakemake.output.scores, description)
