"""Reads and validates everything that a run is configured by; each mistake becomes one line with its file and mend."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from rlleak.configuration.attacks import AttackSettings, TransitionSettings
from rlleak.configuration.axes import TRAINED_IN, TRAINING, Setting
from rlleak.configuration.defences import DefenceSettings
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Experiment, Name, Product
from rlleak.configuration.federation import FederatedConstants
from rlleak.configuration.files import read_yaml, validated
from rlleak.configuration.fitting import (
    check_batch,
    check_bias,
    check_claims,
    check_learner,
    check_local_steps,
    check_metrics,
    check_policy,
    check_prior,
    check_publications,
    check_runs,
    check_stages,
)
from rlleak.configuration.general import Configuration, FederatedFirst, NetworkShape
from rlleak.configuration.names import registry
from rlleak.configuration.scales import Scale
from rlleak.configuration.strict import in_one_line
from rlleak.configuration.study import Study
from rlleak.errors import ConfigurationError
from rlleak.registry import unknown_name

CRITICS = ("critic", "residual_critic")
"""Learners whose network is told the action: continuous ones."""


def study_of(words: Sequence[str], folder: Path) -> Study:
    """The study of the folder's `config.yaml` with some keys set, as `scale=smoke`; raises as `load_study`."""
    for word in words:
        if "=" not in word:
            raise ConfigurationError(f"'{word}' sets no key; write key=value, as scale=smoke")
    content = read_yaml(folder / "config.yaml")
    if isinstance(content, dict):
        content |= dict(word.split("=", 1) for word in words)
    return load_study(content, folder)


def load_study(content: Any, folder: Path, origin: str = "config/config.yaml") -> Study:
    """Everything `config.yaml`'s content asks for, from the files beside it. Raises ConfigurationError in one line."""
    configuration = validated(Configuration, content, origin)
    scale_file = folder / "scales" / f"{configuration.scale}.yaml"
    scale = validated(Scale, read_yaml(scale_file), scale_file)
    attacks_file = folder / "attacks.yaml"
    attacks = validated(dict[Name, AttackSettings], read_yaml(attacks_file), attacks_file)
    for name, settings in attacks.items():
        _known("attack method", settings.method, f"{attacks_file}: {name}")
        check_stages(name, settings, attacks_file)
    on_transitions = _transition_attacks(folder / "transition_attacks.yaml", attacks)
    if TRAINING in (*attacks, *on_transitions):
        raise ConfigurationError(f"{folder}: no attack may be called '{TRAINING}', which stands for none; rename it")
    defences_file = folder / "defences.yaml"
    defences = validated(dict[Name, DefenceSettings], read_yaml(defences_file), defences_file)
    if "none" not in defences:
        raise ConfigurationError(f"{defences_file}: lacks 'none', the gradient as it is; add none: {{method: none}}")
    federation_file = folder / "federation.yaml"
    federation = validated(dict[Setting, FederatedConstants], read_yaml(federation_file), federation_file)
    _check_networks(configuration, origin)
    known = _Names(configuration, attacks, on_transitions, defences)
    experiments = tuple(_experiment(name, folder, origin, known) for name in configuration.experiments)
    check_publications(experiments, folder / "experiments")
    study = Study(configuration, scale, experiments, attacks, on_transitions, defences, federation)
    check_runs(study, folder / "experiments")
    _check_federations(study, federation_file)
    _check_loopback(study, f"{origin}: loopback")
    return study


def _check_federations(study: Study, origin: Path) -> None:
    """Of what this scale trains, for itself or for a network that is attacked later."""
    for cell in study.cells():
        trained = study.configuration.networks[cell.network].trained
        if study.trains(cell.attack):
            network, batch = cell.network, cell.batch
        elif isinstance(trained, FederatedFirst):
            network, batch = trained.federation, 1
        else:
            continue
        _known("federation in", cell.setting, origin, list(study.federation))
        try:
            study.training(cell.learner, network, cell.setting, batch)
        except ValidationError as error:
            raise ConfigurationError(f"{origin}: {cell.setting}: {in_one_line(error)}") from error


def _check_loopback(study: Study, origin: str) -> None:
    asked = study.configuration.loopback
    if asked is None:
        return
    _known("network", asked.network, origin, list(study.configuration.networks))
    for attack in (asked.attack, asked.attack_on_mean):
        _known("attack", attack, origin, list(study.attacks))
        check_learner(attack, study.attacks[attack].method, asked.learner, origin)
        check_bias(attack, study.attacks[attack].method, asked.network, study.configuration, origin, origin)
        if study.is_tuned(attack):
            raise ConfigurationError(f"{origin}: attack '{attack}' is tuned first; name one that is not, e.g. peel")
    if asked.clients > len(study.scale.shard(0)):
        raise ConfigurationError(
            f"{origin}: {asked.clients} clients are more than one file of victims holds at scale "
            f"{study.configuration.scale} ({len(study.scale.shard(0))}); take fewer"
        )


def _transition_attacks(path: Path, others: Mapping[str, AttackSettings]) -> dict[str, TransitionSettings]:
    attacks = validated(dict[Name, TransitionSettings], read_yaml(path), path)
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
    for publication in experiment.publishes:
        _known(publication.kind, publication.builder, f"{path}: publishes {publication.name}")
    for part in experiment.grid:
        _check_product(part, known, path, origin)
    check_metrics(experiment, known.transition_attacks, path)
    experiment = validated(Experiment, content, path)
    check_claims(experiment, known.transition_attacks, path)
    return experiment


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
            check_prior(attack, known.transition_attacks[attack], part, f"{path}: grid")
            _check_played(part, known.configuration, path, origin)
            continue
        if attack == TRAINING:
            _check_played(part, known.configuration, path, origin)
            _check_training(part, known.configuration, f"{path}: grid")
            continue
        name = known.attacks[attack].method
        for learner in part.learner:
            check_learner(attack, name, learner, f"{path}: grid")
        check_batch(attack, name, part, f"{path}: grid")
        for network in part.network:
            check_bias(attack, name, network, known.configuration, f"{path}: grid", origin)
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
        return
    if network.trained and environment.continuous and not (same and network.hidden == policy.hidden):
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
        if isinstance(shape.trained, FederatedFirst):
            _check_federated(name, shape, shape.trained.federation, configuration, origin)
