"""Trains the detector whose confidence is the robots' reward, and scores it on layouts that it has not seen."""

import math
from pathlib import Path
from typing import Any

from rlleak.artefacts import write_json
from rlleak.devices import chosen_device
from rlleak.scripting import job, origin
from rlleak.simulators.detector_training import train_detector
from rlleak.simulators.layouts import detector_layouts
from rlleak.simulators.views import Views


def without_nan(value: Any) -> Any:
    """JSON has no NaN: a type that no held-out view shows has no score."""
    if isinstance(value, dict):
        return {name: without_nan(part) for name, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def main(views: Path, simulator: str, epochs: int, seed: int, detector: Path, scores: Path, provenance: dict) -> None:
    training, held_out = detector_layouts(simulator)
    seen = Views.load(views)
    trained, measured = train_detector(seen.of_layouts(training), seen.of_layouts(held_out), epochs=epochs, seed=seed)
    trained.save(detector)
    write_json(scores, without_nan({**measured, "provenance": provenance}))


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        main(
            Path(snakemake.input.views),
            snakemake.params.simulator,
            snakemake.params.epochs,
            snakemake.params.seed,
            Path(snakemake.output.detector),
            Path(snakemake.output.scores),
            origin(snakemake),
        )
