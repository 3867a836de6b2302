"""What parts of a configuration ask of each other: checks that need more than one of its models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rlleak.configuration.defences import Composed, DefenceSettings, LocalSteps
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Experiment, Product
from rlleak.configuration.names import method
from rlleak.errors import ConfigurationError


def check_batch(attack: str, name: str, part: Product, where: str) -> None:
    """Raises ConfigurationError if the attack's method (`name`) takes single transitions and the product has more."""
    if max(part.batch) > 1 and not method(name).batches:
        raise ConfigurationError(
            f"{where}: attack '{attack}' takes updates over one transition, not batch {max(part.batch)}; put them into "
            "separate products"
        )


def check_policy(part: Product, where: str) -> None:
    """Raises ConfigurationError if the product asks for trained behaviour in rooms, whose agents move at random."""
    rooms = [setting for setting in part.setting if setting not in ENVIRONMENTS]
    if rooms and "trained" in part.policy:
        raise ConfigurationError(
            f"{where}: policy 'trained' is of environments, and setting '{rooms[0]}' is none; put them into separate "
            "products"
        )


def check_local_steps(part: Product, defences: Mapping[str, DefenceSettings], where: str) -> None:
    """Raises ConfigurationError if a batch of the product is smaller than a defence's number of local steps."""
    for name in part.defence:
        entry = defences[name]
        for step in entry.steps if isinstance(entry, Composed) else (entry,):
            if isinstance(step, LocalSteps) and step.steps > min(part.batch):
                raise ConfigurationError(
                    f"{where}: defence '{name}' takes {step.steps} local steps, more than batch {min(part.batch)} has "
                    "transitions; put larger batches into a product of their own"
                )


def check_publications(experiments: Sequence[Experiment], folder: Path) -> None:
    """Raises ConfigurationError if two tables, or two figures, would be the same file."""
    owners: dict[tuple[str, str], str] = {}
    for experiment in {each.id: each for each in experiments}.values():
        for publication in experiment.publishes:
            key = (publication.kind, publication.name)
            if key in owners:
                raise ConfigurationError(
                    f"{folder}/{experiment.id}.yaml: publishes {publication.kind} '{publication.name}', and "
                    f"{owners[key]}.yaml does already; give it another name"
                )
            owners[key] = experiment.id
