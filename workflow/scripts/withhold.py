"""Writes what the gradients were made from: the truth, which the server must not see and only scoring reads."""

from dataclasses import replace
from pathlib import Path

from rlleak.devices import chosen_device
from rlleak.scripting import job
from rlleak.sharing.normalisation import as_seen, statistics_of
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import Training, load_parameters, prepare_training
from rlleak.simulators.recorded import Recorded, load_recorded
from rlleak.simulators.transitions import Transitions


def main(training: Training, experience: Recorded, depth_limit: float, output: Path) -> None:
    """Writes the private side; of environments whole transitions, which attacks on them are scored against.

    experience: in the environment's own units, whatever the training normalised it to.
    """
    whole = isinstance(experience, Transitions)
    about = experience.layout, experience.victim, depth_limit, experience.target
    private = withhold(*training, *about, whole=whole)
    if private.next_vector is not None:
        state, following = (experience.observations(next=after)["vector"] for after in (False, True))
        private = replace(private, vector=state, next_vector=following)
    private.save(output)


if __name__ == "__main__":
    with job(snakemake):
        chosen_device("cpu", snakemake.threads)
        network, axes = snakemake.params.network, snakemake.wildcards
        recorded = load_recorded(snakemake.input.experience, axes.setting)
        experience = seen = recorded.first(int(axes.batch))
        if normalised := snakemake.params.normalised:
            seen = as_seen(experience, statistics_of(experience, normalised, recorded))
        parameters = load_parameters(snakemake.input.parameters)
        training = prepare_training(seen, **network, parameters=parameters)
        main(training, experience, network["depth_limit"], Path(snakemake.output.private))
