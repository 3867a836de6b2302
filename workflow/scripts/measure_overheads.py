"""Measures what protecting one network's updates costs: defences, secure aggregation, encryption."""

import pandas as pd

from rlleak.artefacts import write_table
from rlleak.benchmarks.overheads import DISTINCT, measure
from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.victims import prepare_training
from rlleak.simulators.recorded import load_recorded

if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        params, place = snakemake.params, snakemake.wildcards
        experience = load_recorded(snakemake.input.experience, place.setting)
        met = experience.select(range(min(DISTINCT * params.transitions, len(experience))))
        training = prepare_training(met, **params.network)
        rows = measure(training, params.transitions, params.defences, params.clients)
        names = {axis: place[axis] for axis in ("learner", "network", "setting")}
        write_table(snakemake.output.overheads, pd.DataFrame([{**names, **row} for row in rows]))
