"""What parts of a configuration ask of each other: checks that need more than one of its models."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rlleak.configuration.attacks import PRIOR_SIZES, AttackSettings, TransitionSettings
from rlleak.configuration.axes import TRAINING
from rlleak.configuration.defences import Composed, DefenceSettings, LocalSteps
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import TRUST, Experiment, Product
from rlleak.configuration.general import Configuration
from rlleak.configuration.names import is_blind, method, registry
from rlleak.configuration.study import Study
from rlleak.errors import ConfigurationError
from rlleak.registry import unknown_name

_KINDS_OF_METRICS = ("metric", "metric of transitions", "metric of trainings")


def check_stages(attack: str, settings: AttackSettings, origin: Path) -> None:
    """Raises ConfigurationError if a stage that the attack's method has is not described."""
    for stage in method(settings.method).stages:
        described = getattr(settings, stage)
        if described is None:
            raise ConfigurationError(f"{origin}: {attack}: method '{settings.method}' needs a stage '{stage}'; add it")
        if described.step_size is None and not described.candidates:
            raise ConfigurationError(
                f"{origin}: {attack}.{stage}: neither step_size nor candidates is set; give one or several"
            )


def check_learner(attack: str, name: str, learner: str, where: str) -> None:
    """Raises ConfigurationError if the attack's method (`name`) does not take the learner's updates."""
    taken = method(name).learners
    if learner not in taken:
        raise ConfigurationError(
            f"{where}: attack '{attack}' does not take learner '{learner}' (it takes {', '.join(taken)}); "
            "put them into separate products"
        )


def check_bias(attack: str, name: str, network: str, configuration: Configuration, where: str, origin: str) -> None:
    """Raises ConfigurationError if the attack's method (`name`) reads a bias that the network lacks."""
    if method(name).reads_last_bias and not configuration.networks[network].bias:
        raise ConfigurationError(
            f"{where}: attack '{attack}' reads the last layer's bias and network '{network}' has none; "
            f"set networks.{network}.bias to true in {origin} or put them into separate products"
        )


def check_batch(attack: str, name: str, part: Product, where: str) -> None:
    """Raises ConfigurationError if the attack's method (`name`) takes single transitions and the product has more."""
    if max(part.batch) > 1 and not method(name).batches:
        raise ConfigurationError(
            f"{where}: attack '{attack}' takes updates over one transition, not batch {max(part.batch)}; put them into "
            "separate products"
        )


def check_prior(attack: str, settings: TransitionSettings, part: Product, where: str) -> None:
    """Raises ConfigurationError if an attack that guesses by the attacker's own transitions has fewer than a batch."""
    if is_blind(settings.method) and PRIOR_SIZES[settings.prior] < max(part.batch):
        raise ConfigurationError(
            f"{where}: attack '{attack}' guesses batch {max(part.batch)} by transitions of its own, and prior "
            f"'{settings.prior}' holds {PRIOR_SIZES[settings.prior]}; give it a larger one in transition_attacks.yaml"
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
    owners = {
        **dict.fromkeys((("table", "defences_overheads"), ("figure", "defences_overheads")), "rule publish_overheads"),
        ("figure", "federated_demo"): "rule plot_federated_demo",
    }
    for experiment in {each.id: each for each in experiments}.values():
        for publication in experiment.publishes:
            key = (publication.kind, publication.name)
            if key in owners:
                raise ConfigurationError(
                    f"{folder}/{experiment.id}.yaml: publishes {publication.kind} '{publication.name}', and "
                    f"{owners[key]} does already; give it another name"
                )
            owners[key] = f"{experiment.id}.yaml"


def _measured_by(attack: str, on_transitions: Collection[str]) -> str:
    """The kind of metrics that are measured of an attack, or of a training, as `registry` knows it."""
    if attack == TRAINING:
        return "metric of trainings"
    return "metric of transitions" if attack in on_transitions else "metric"


def check_metrics(experiment: Experiment, on_transitions: Collection[str], where: str | Path) -> None:
    """Raises ConfigurationError if a metric is listed that is unknown, or that is measured of no attack in the grid."""
    kinds = {_measured_by(attack, on_transitions) for part in experiment.grid for attack in part.attack}
    measured = sorted(set().union(*map(registry, kinds)))
    for metric in experiment.metrics:
        # What an attack says of itself has a name of the attack's own.
        if metric in measured or metric.startswith(TRUST):
            continue
        if any(metric in registry(kind) for kind in _KINDS_OF_METRICS):
            raise ConfigurationError(
                f"{where}: metric '{metric}' is measured of no attack in the grid; leave it out of metrics, or add an "
                "attack that it is about"
            )
        raise ConfigurationError(f"{where}: {unknown_name('metric', metric, measured)}")


def check_claims(experiment: Experiment, on_transitions: Collection[str], where: str | Path) -> None:
    """Raises ConfigurationError if a claim is about what is never measured of its attack, or of a training."""
    for claim in experiment.claims:
        for term in claim.terms:
            attack = term.where.attack
            kind = _measured_by(attack, on_transitions)
            if term.metric not in registry(kind) and not term.metric.startswith(TRUST):
                said = unknown_name(kind, term.metric, registry(kind).names)
                raise ConfigurationError(f"{where}: claim '{claim.id}' about {attack}: {said}")


def check_runs(study: Study, folder: Path) -> None:
    """Raises ConfigurationError if a scale runs nothing of an experiment, so that there is nothing to publish."""
    scale = study.configuration.scale
    for experiment in study.experiments:
        if not study.cells(experiment.id):
            raise ConfigurationError(
                f"{folder}/{experiment.id}.yaml: scale {scale} runs nothing of its grid (see `scales` there, and sizes "
                f"in scales/{scale}.yaml); change one of them, or leave it out of experiments in config.yaml"
            )
