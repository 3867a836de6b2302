"""Reads and validates everything that a run is configured by; each mistake becomes one line with its file and mend."""

from collections.abc import Mapping
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from rlleak.configuration.attacks import AttackSettings, TransitionSettings
from rlleak.configuration.axes import TRAINED_IN, TRAINING, Setting
from rlleak.configuration.defences import DefenceSettings
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import TRUST, Experiment, Product
from rlleak.configuration.federation import FederatedConstants
from rlleak.configuration.fitting import check_batch, check_local_steps, check_policy, check_publications
from rlleak.configuration.general import Configuration, FederatedFirst, NetworkShape
from rlleak.configuration.names import method, registry
from rlleak.configuration.scales import Scale
from rlleak.configuration.strict import in_one_line
from rlleak.configuration.study import Study
from rlleak.errors import ConfigurationError
from rlleak.registry import unknown_name

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ConfigurationError if it is missing or not YAML."""
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); restore it") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error


def validated(model: type[Model], content: Any, origin: str | Path) -> Model:
    """The content as a model. Raises ConfigurationError in one line that starts with where it came from."""
    try:
        return TypeAdapter(model).validate_python(content)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {in_one_line(error)}") from error


CRITICS = ("critic", "residual_critic")
"""Learners whose network is told the action: continuous ones."""


def load_study(content: Mapping[str, Any], folder: Path, origin: str = "config/config.yaml") -> Study:
    """Everything `config.yaml`'s content asks for, from the files beside it. Raises ConfigurationError in one line."""
    configuration = validated(Configuration, dict(content), origin)
    scale_file = folder / "scales" / f"{configuration.scale}.yaml"
    scale = validated(Scale, read_yaml(scale_file), scale_file)
    attacks_file = folder / "attacks.yaml"
    attacks = validated(dict[str, AttackSettings], read_yaml(attacks_file), attacks_file)
    for name, settings in attacks.items():
        _known("attack method", settings.method, f"{attacks_file}: {name}")
        _check_stages(name, settings, attacks_file)
    on_transitions = _transition_attacks(folder / "transition_attacks.yaml", attacks)
    if TRAINING in (*attacks, *on_transitions):
        raise ConfigurationError(f"{folder}: no attack may be called '{TRAINING}', which stands for none; rename it")
    defences_file = folder / "defences.yaml"
    defences = validated(dict[str, DefenceSettings], read_yaml(defences_file), defences_file)
    if "none" not in defences:
        raise ConfigurationError(f"{defences_file}: lacks 'none', the gradient as it is; add none: {{method: none}}")
    federation_file = folder / "federation.yaml"
    federation = validated(dict[Setting, FederatedConstants], read_yaml(federation_file), federation_file)
    _check_networks(configuration, origin)
    known = _Names(configuration, attacks, on_transitions, defences)
    experiments = tuple(_experiment(name, folder, origin, known) for name in configuration.experiments)
    check_publications(experiments, folder / "experiments")
    study = Study(configuration, scale, experiments, attacks, on_transitions, defences, federation)
    _check_federations(study, federation_file)
    _check_loopback(study, f"{origin}: loopback")
    return study


def _check_federations(study: Study, origin: Path) -> None:
    """Of what this scale trains."""
    for cell in study.cells():
        if not study.trains(cell.attack):
            continue
        _known("federation in", cell.setting, origin, list(study.federation))
        try:
            study.training(cell.learner, cell.network, cell.setting, cell.batch)
        except ValidationError as error:
            raise ConfigurationError(f"{origin}: {cell.setting}: {in_one_line(error)}") from error


def _check_loopback(study: Study, origin: str) -> None:
    asked = study.configuration.loopback
    if asked is None:
        return
    _known("network", asked.network, origin, list(study.configuration.networks))
    for attack in (asked.attack, asked.attack_on_mean):
        _known("attack", attack, origin, list(study.attacks))
        _check_learner(attack, study.attacks[attack].method, asked.learner, origin)
        _check_bias(attack, study.attacks[attack].method, asked.network, study.configuration, origin, origin)
        if study.is_tuned(attack):
            raise ConfigurationError(f"{origin}: attack '{attack}' is tuned first; name one that is not, e.g. peel")
    if asked.clients > len(study.scale.shard(0)):
        raise ConfigurationError(
            f"{origin}: {asked.clients} clients are more than one file of victims holds at scale "
            f"{study.configuration.scale} ({len(study.scale.shard(0))}); take fewer"
        )


def _transition_attacks(path: Path, others: Mapping[str, AttackSettings]) -> dict[str, TransitionSettings]:
    attacks = validated(dict[str, TransitionSettings], read_yaml(path), path)
    for name, settings in attacks.items():
        _known("attack method on transitions", settings.method, f"{path}: {name}")
        if name in others:
            raise ConfigurationError(f"{path}: an attack '{name}' stands in attacks.yaml already; rename it")
    return attacks


def _known(kind: str, name: str, origin: str | Path, names: list[str] | None = None) -> None:
    try:
        if names is None:
            registry(kind).module(name)
        elif name not in names:
            raise unknown_name(kind, name, names)
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error}") from error


class _Names(NamedTuple):
    """What an experiment may name."""

    configuration: Configuration
    attacks: Mapping[str, AttackSettings]
    transition_attacks: Mapping[str, TransitionSettings]
    defences: Mapping[str, DefenceSettings]


def _experiment(name: str, folder: Path, origin: str, known: _Names) -> Experiment:
    path = folder / "experiments" / f"{name}.yaml"
    if not path.is_file():
        _known("experiment", name, f"{origin}: experiments", sorted(f.stem for f in path.parent.glob("*.yaml")))
    content = read_yaml(path)
    # Claims come last: what is misspelt in the grid would seem to be missing from it.
    unclaimed = content | {"claims": ()} if isinstance(content, dict) else content
    experiment = validated(Experiment, unclaimed, path)
    if experiment.id != name:
        raise ConfigurationError(f"{path}: its id is '{experiment.id}'; make it '{name}', as the file is called")
    kinds = ("metric", "metric of transitions", "metric of trainings")
    metrics = [name for kind in kinds for name in registry(kind)]
    for metric in experiment.metrics:
        # What an attack says of itself has a name of the attack's own.
        if not metric.startswith(TRUST):
            _known("metric", metric, path, metrics)
    for publication in experiment.publishes:
        _known(publication.kind, publication.builder, f"{path}: publishes {publication.name}")
    for part in experiment.grid:
        _check_product(part, known, path, origin)
    return validated(Experiment, content, path)


def _check_product(part: Product, known: _Names, path: Path, origin: str) -> None:
    for axis in ("network", "attack", "defence"):
        names = known.configuration.networks if axis == "network" else getattr(known, f"{axis}s")
        names = [*names, *known.transition_attacks, TRAINING] if axis == "attack" else list(names)
        for name in getattr(part, axis):
            _known(axis, name, f"{path}: grid", names)
    check_policy(part, f"{path}: grid")
    check_local_steps(part, known.defences, f"{path}: grid")
    for attack in part.attack:
        if attack in known.transition_attacks:
            _check_environments(f"attack '{attack}' is on transitions of", part, path)
            _check_played(part, known.configuration, path, origin)
            continue
        if attack == TRAINING:
            _check_played(part, known.configuration, path, origin)
            _check_training(part, known.configuration, f"{path}: grid")
            continue
        name = known.attacks[attack].method
        for learner in part.learner:
            _check_learner(attack, name, learner, f"{path}: grid")
        check_batch(attack, name, part, f"{path}: grid")
        for network in part.network:
            _check_bias(attack, name, network, known.configuration, f"{path}: grid", origin)
            if known.configuration.networks[network].normalise:
                raise ConfigurationError(
                    f"{path}: grid: attack '{attack}' is not on transitions, and network '{network}' normalises, which "
                    "only those know; put them into separate products"
                )


def _check_environments(what: str, part: Product, path: Path) -> None:
    """Of a product that is about environments alone, and not about rooms."""
    rooms = [setting for setting in part.setting if setting not in ENVIRONMENTS]
    if rooms:
        raise ConfigurationError(
            f"{path}: grid: {what} environments, setting '{rooms[0]}' is none; put them into separate products"
        )


def _check_played(part: Product, configuration: Configuration, path: Path, origin: str) -> None:
    """Of a product whose updates are over what was played: in environments, or by clients that train."""
    for setting, learner in product(part.setting, part.learner):
        continuous = TRAINED_IN[setting].continuous
        if continuous != (learner in CRITICS) or learner == "reinforce":
            fitting = "critic or residual_critic" if continuous else "dqn or residual_dqn"
            raise ConfigurationError(
                f"{path}: grid: learner '{learner}' does not fit the actions of {setting}, which take {fitting}; "
                "put them into separate products"
            )
    if "shared" in part.actions:
        raise ConfigurationError(
            f"{path}: grid: replays of environments hold any actions, not 'shared' ones; leave out 'actions'"
        )
    for network, setting in product(part.network, part.setting):
        _check_value_network(network, setting, configuration, f"{path}: grid", origin)


def _check_training(part: Product, configuration: Configuration, where: str) -> None:
    """Clients choose what they do themselves, and start with a fresh network, in the precision that networks have."""
    for axis, only in (("precision", "float32"), ("policy", "random")):
        if other := set(getattr(part, axis)) - {only}:
            raise ConfigurationError(f"{where}: training knows no {axis} '{other.pop()}'; leave out '{axis}'")
    for network in part.network:
        shape = configuration.networks[network]
        if odd := "is trained" if shape.trained else "normalises" if shape.normalise else "":
            raise ConfigurationError(f"{where}: training starts with a fresh network of raw states; '{network}' {odd}")


def _check_value_network(name: str, setting: str, configuration: Configuration, where: str, origin: str) -> None:
    network, environment = configuration.networks[name], TRAINED_IN[setting]
    if network.outputs is not None:
        raise ConfigurationError(
            f"{where}: network '{name}' has outputs set, and in environments it needs one per action (or one, where "
            f"actions are continuous); leave out networks.{name}.outputs in {origin}"
        )
    _check_normalised(name, network, setting, where, origin)
    behaviour = configuration.behaviour
    trained = behaviour.vector_network if environment.image_shape is None else behaviour.network
    policy = configuration.networks[trained]
    same = network.convolutions == policy.convolutions or environment.image_shape is None
    if isinstance(network.trained, FederatedFirst):
        _check_federated(name, network, network.trained.federation, configuration, origin)
    elif network.trained and environment.continuous and not (same and network.hidden == policy.hidden):
        raise ConfigurationError(
            f"{where}: in {setting} network '{name}' is what a policy's training leaves, and policies train "
            f"'{trained}', whose layers differ; give both the same in {origin}"
        )


def _check_normalised(name: str, network: NetworkShape, setting: str, where: str, origin: str) -> None:
    if not network.normalise:
        return
    if TRAINED_IN[setting].kind not in ("control", "classic"):
        raise ConfigurationError(
            f"{where}: network '{name}' normalises measurements, and states of {setting} are none; put another network "
            "there into a product of its own"
        )
    if network.trained:
        raise ConfigurationError(
            f"{origin}: networks.{name} normalises, and training reads states as they are; leave out one of the two"
        )


def _check_federated(name: str, network: NetworkShape, first: str, configuration: Configuration, origin: str) -> None:
    _known("network", first, f"{origin}: networks.{name}.trained", list(configuration.networks))
    fresh = network.model_copy(update={"trained": None})
    if configuration.networks[first] != fresh:
        raise ConfigurationError(
            f"{origin}: networks.{name} is what training '{first}' leaves, and that is trained itself or has other "
            "layers; give both the same"
        )


def _check_stages(attack: str, settings: AttackSettings, origin: Path) -> None:
    for stage in method(settings.method).stages:
        described = getattr(settings, stage)
        if described is None:
            raise ConfigurationError(f"{origin}: {attack}: method '{settings.method}' needs a stage '{stage}'; add it")
        if described.step_size is None and not described.candidates:
            raise ConfigurationError(
                f"{origin}: {attack}.{stage}: neither step_size nor candidates is set; give one or several"
            )


def _check_learner(attack: str, name: str, learner: str, where: str) -> None:
    taken = method(name).learners
    if learner not in taken:
        raise ConfigurationError(
            f"{where}: attack '{attack}' does not take learner '{learner}' (it takes {', '.join(taken)}); "
            "put them into separate products"
        )


def _check_bias(attack: str, name: str, network: str, configuration: Configuration, where: str, origin: str) -> None:
    if method(name).reads_last_bias and not configuration.networks[network].bias:
        raise ConfigurationError(
            f"{where}: attack '{attack}' reads the last layer's bias and network '{network}' has none; "
            f"set networks.{network}.bias to true in {origin} or put them into separate products"
        )


def _check_networks(configuration: Configuration, origin: str) -> None:
    for key in ("network", "vector_network"):
        _known(
            "network", getattr(configuration.behaviour, key), f"{origin}: behaviour.{key}", list(configuration.networks)
        )
    specification = import_module("rlleak.learners.specification").NetworkSpec
    for name, shape in configuration.networks.items():
        try:
            specification.model_validate(shape.architecture("S1"))
        except ValidationError as error:
            raise ConfigurationError(f"{origin}: networks.{name}: {in_one_line(error)}") from error
