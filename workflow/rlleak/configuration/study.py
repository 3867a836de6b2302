"""A validated run: what the workflow asks of everything that is configured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rlleak.configuration.attacks import PRIOR_SIZES, AttackSettings, TransitionSettings
from rlleak.configuration.axes import AXES, ROOMS, TRAINING, Cell
from rlleak.configuration.defences import DefenceSettings
from rlleak.configuration.experiments import Experiment
from rlleak.configuration.federation import FederatedConstants, FederatedSettings, Homes, federated
from rlleak.configuration.general import Configuration
from rlleak.configuration.names import method
from rlleak.configuration.scales import Scale, shards_of
from rlleak.registry import unknown_name

TOGETHER = "transitions"
"""The folder of what attacks make that run side by side."""
_BUT_ATTACK = tuple(axis for axis in AXES if axis != "attack")


@dataclass(frozen=True)
class Study:
    """A validated run: every experiment, attack and size that the workflow needs to know."""

    configuration: Configuration
    scale: Scale
    experiments: tuple[Experiment, ...]
    attacks: Mapping[str, AttackSettings]
    transition_attacks: Mapping[str, TransitionSettings]
    defences: Mapping[str, DefenceSettings]
    federation: Mapping[str, FederatedConstants]

    def cells(self, *experiments: str) -> list[Cell]:
        """The cells of some experiments, or of all, each once, that this scale runs."""
        if experiments not in self._cells:
            self._cells[experiments] = self._listed(experiments)
        return list(self._cells[experiments])

    @cached_property
    def _cells(self) -> dict[tuple[str, ...], list[Cell]]:
        """What `cells` gave already: the workflow asks it for every job."""
        return {}

    def _listed(self, experiments: Sequence[str]) -> list[Cell]:
        chosen = [e for e in self.experiments if not experiments or e.id in experiments]
        parts = [part for experiment in chosen for part in experiment.grid if self.configuration.scale in part.scales]
        seeds = self.scale.network_seeds
        return sorted({cell for part in parts for cell in part.cells(seeds) if self._runs(cell, part.defence)})

    def _runs(self, cell: Cell, defences: Sequence[str]) -> bool:
        """Whether this scale runs a cell of a product over some defences.

        Not in environments that it leaves out, nor beyond its largest batch, nor more than its levels of a defence.
        """
        size = self.scale.transitions
        if not self.is_played(cell.attack):
            largest, levels = self.scale.replay.transitions, self.scale.levels
        elif size.settings is not None and cell.setting not in size.settings:
            return False
        else:
            largest, levels = size.batch, size.levels
        kept = defences if levels is None else (*defences[: levels - 1], defences[-1])
        return cell.defence in kept and (largest is None or cell.batch <= largest)

    def trains(self, attack: str) -> bool:
        """Whether nobody attacks: the clients train together on what they share."""
        return attack == TRAINING

    def training(self, learner: str, network: str, setting: str, batch: int) -> FederatedSettings:
        """What the clients of a federation train, and how; where their detector lies, a job says.

        Raises pydantic's ValidationError for what does not fit.
        """
        size, shape = self.scale.federation.of(setting), self.configuration.networks[network]
        chosen = {"environment": setting, "learner": learner, "network": shape, "batch": batch}
        if setting in ROOMS:
            told = {name: getattr(self.configuration, name) for name in ("simulator", "simulation", "perception")}
            chosen["homes"] = Homes.model_validate(told)
        return federated(self.federation[setting], size, **chosen)

    def on_transitions(self, attack: str) -> bool:
        """Whether the attack is on whole transitions: all such attacks on an update run side by side, in one job."""
        return attack in self.transition_attacks

    def is_played(self, attack: str) -> bool:
        """Whether it is about environments alone: attacks on their transitions, and trainings in them."""
        return self.trains(attack) or self.on_transitions(attack)

    @property
    def attacked(self) -> list[Cell]:
        """The cells of all experiments whose updates somebody attacks."""
        return [cell for cell in self.cells() if not self.trains(cell.attack)]

    def path(self, cell: Cell) -> str:
        """Path of what a cell's attack, or its training, made of its updates, once they were defended."""
        if self.trains(cell.attack):
            return f"{TRAINING}/{cell.update}/{cell.defence}"
        made_from = f"{cell.update}/{cell.defence}"
        return f"{TOGETHER}/{made_from}" if self.on_transitions(cell.attack) else f"{made_from}/{cell.attack}"

    def together(self, **axes: str | int) -> dict[str, TransitionSettings]:
        """The attacks on transitions, by name, that run side by side on the updates that the other axes name."""
        names = self._together.get(tuple(str(axes[axis]) for axis in _BUT_ATTACK), [])
        return {name: self.transition_attacks[name] for name in names}

    @cached_property
    def _together(self) -> dict[tuple[str, ...], list[str]]:
        """The attacks on transitions by the other axes of their cells."""
        met: dict[tuple[str, ...], list[str]] = {}
        for cell in self.cells():
            if self.on_transitions(cell.attack):
                met.setdefault(tuple(str(getattr(cell, axis)) for axis in _BUT_ATTACK), []).append(cell.attack)
        return {axes: sorted(names) for axes, names in met.items()}

    def played(self, setting: str) -> int:
        """How many transitions each victim in an environment lives through: those of its largest update."""
        return max((cell.batch for cell in self.attacked if cell.setting == setting), default=1)

    def prior_size(self, setting: str, policy: str) -> int:
        """How many transitions of its own the attacker plays in an environment, for the largest of its priors.

        At least those of 0.3 %, whose deviations are the units of errors.
        """
        asked = {cell.attack for cell in self.cells() if (cell.setting, cell.policy) == (setting, policy)}
        sizes = [PRIOR_SIZES[self.transition_attacks[name].prior] for name in asked if self.on_transitions(name)]
        return max(PRIOR_SIZES["0.3%"], *sizes) if sizes else 0

    def updates(self, cell: Cell) -> int:
        """How many updates the cell's attack meets; of a training, its runs."""
        if self.trains(cell.attack):
            return self.scale.federation.of(cell.setting).runs
        if self.on_transitions(cell.attack):
            return self.scale.transitions.of(cell.setting).victims
        return self.scale.updates(cell.batch, self.meets_few(cell.attack, cell.defence))

    def meets_few(self, attack: str, defence: str) -> bool:
        """Whether the attack meets only the scale's few_victims: a slow one, or one of many levels of a defence."""
        return self.attacks[attack].slow or self.defences[defence].method != "none"

    def is_told(self, attack: str, knowledge: str) -> bool:
        """Whether the attack is told something beside the update; see `rlleak.attacks.METHODS`."""
        return knowledge in method(self.attacks[attack].method).knows

    def is_tuned(self, attack: str) -> bool:
        """Whether the attacker lives in rooms of its own first, to choose among settings."""
        return any(len(stage.tries) > 1 for stage in self.attacks[attack].stages.values())

    def shards(self, cell: Cell) -> range:
        """The shards that hold the updates that the cell's attack meets; a training has one, with all its runs."""
        if self.trains(cell.attack):
            return range(1)
        return range(shards_of(self.updates(cell), self.scale.victims_per_shard))

    def experiment(self, name: str) -> Experiment:
        """The experiment of that name. Raises ConfigurationError if it is not configured."""
        for experiment in self.experiments:
            if experiment.id == name:
                return experiment
        raise unknown_name("experiment", name, [experiment.id for experiment in self.experiments])
