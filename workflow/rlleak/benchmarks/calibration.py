"""`make calibrate`: what `peel` and `best` choose by, tried on public rooms that their prior and their guess never saw.

python -m rlleak.benchmarks.calibration scale=reduced simulator=rooms [CONSTANT...]  reads the attacker's files of that
run and writes results/reference/calibration/<constant>.csv. Nothing of a victim is read.
"""

import sys
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, product
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rlleak.artefacts import write_text
from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.defaults import changed, default_settings
from rlleak.configuration.attacks import AttackSettings
from rlleak.configuration.axes import Cell
from rlleak.configuration.loading import study_of
from rlleak.configuration.study import Study
from rlleak.errors import RlleakError
from rlleak.metrics.scoring import score
from rlleak.priors.denoiser import LearntPrior
from rlleak.registry import unknown_name
from rlleak.seeds import derive
from rlleak.sharing.defences import defend
from rlleak.sharing.private import PrivateSide, withhold
from rlleak.sharing.update import SharedUpdate, capture
from rlleak.sharing.victims import prepare_training
from rlleak.simulators import SIMULATORS
from rlleak.simulators.active_perception import TaskOptions
from rlleak.simulators.collector import CollectionOptions, collect_experience
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.detector import Detector
from rlleak.simulators.experience import Experience
from rlleak.simulators.layouts import layout_of_victim
from rlleak.simulators.views import Views

OUTPUT = Path("results/reference/calibration")
NETWORK = {"learner": "dqn", "network": "mnih2015", "seed": 0}
NOISES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
BEYOND = (3.0, 10.0)
"""Lengths of noise relative to the gradient's; these are longer than it, as differential privacy's may be."""
ITERATIONS = 100
"""Of the matching in `best`: the fewest that a study gives it at the reduced scale."""
METRICS = ("psnr_rgb_read", "psnr_depth_read", "trust_matched", "trust_nothing_heard")
ROOMS = 4


@dataclass(frozen=True)
class Constant:
    """A constant: where it stands in an attack's settings, what it is tried at, and under which noise and in which
    settings it matters."""

    attack: str
    where: tuple[str, str]
    values: tuple[Any, ...]
    noises: tuple[float, ...] = NOISES
    settings: tuple[str, ...] = ("S2", "S1")

    def settings_at(self, value: Any) -> AttackSettings:
        """The attack's settings with this value of the constant, and with short matching."""
        group, field = self.where
        settings = default_settings(self.attack)
        settings = changed(settings, {"iterations": ITERATIONS} if settings.stages else {})
        return changed(settings, {group: {field: value}})


CONSTANTS = {
    "loud": Constant("best", ("best", "loud"), (0.1, 0.5, 0.9), (1.0, *BEYOND), ("S2",)),
    "heard": Constant("best", ("best", "heard"), (0.0, 0.25, 0.5, 0.75, 1.0), BEYOND, ("S2",)),
    "variation_growth": Constant("best", ("best", "variation_growth"), (0.0, 1.0, 2.0), BEYOND, ("S2",)),
    "stuck": Constant("best", ("best", "stuck"), (2.0, 4.0, 1e9), (1e-3, 1e-1, 1.0), ("S2",)),
    "image_tolerance": Constant("peel", ("peel", "image_tolerance"), (5e-4, 2e-3, 8e-3)),
    "matched": Constant("best", ("best", "matched"), (0.25, 1.0, 2.0), NOISES[1:]),
    "variation": Constant("peel", ("peel", "variation"), ((30.0, 0.1), (30.0, 0.3), (30.0, 1.0)), NOISES[2:]),
    "learnt_error": Constant("peel", ("peel", "learnt_error"), (0.0025, 0.005, 0.01), NOISES[:1], ("S1",)),
    "confirmed": Constant("peel", ("peel", "confirmed"), (0.5, 0.75, 0.95), NOISES[:1], ("S1",)),
}


class Rooms:
    """The attacker's own rooms: what it would share there and what it saw, and what it knows without them."""

    def __init__(self, run: Path, study: Study) -> None:
        self.run, self.study = run, study
        configuration = study.configuration
        perception = configuration.perception.model_dump(mode="json")
        collection = CollectionOptions(configuration.losses.dqn.gamma, perception.pop("warm_up"), public=True)
        task = TaskOptions(**{key: tuple(of) if isinstance(of, list) else of for key, of in perception.items()})
        self.remembered = Experience.load(run / "experience/public.safetensors")
        victims = unseen(Views.load(run / "public/views.safetensors"), self.remembered)
        first = layout_of_victim(victims[0], True, configuration.simulator)
        options = SimulatorOptions(**configuration.simulation.model_dump(mode="json"), first_layout=first)
        seed = derive(configuration.seeds.attacker, "calibration")
        self.place = {"simulator": configuration.simulator, "scale": configuration.scale}
        with SIMULATORS.load(configuration.simulator)(options) as controller:
            detector = Detector.load(run / "detector.safetensors")
            self.experience = collect_experience(controller, detector, victims, seed, collection, task)

    def both_sides(self, setting: str, noise: float) -> tuple[SharedUpdate, PrivateSide]:
        """What the rooms share, with noise of this length relative to the gradient, and the truth about them."""
        training = prepare_training(self.experience, **self.network(setting))
        truth = self.withheld(self.experience, setting)
        settings = {"method": "gaussian_noise", "relative_deviation": noise} if noise else {"method": "none"}
        seed = derive(self.study.configuration.seeds.attacker, "calibration", "defence")
        return defend(capture(*training, 1), settings, seed, self.experience.victim.tolist()), truth

    def withheld(self, experience: Experience, setting: str) -> PrivateSide:
        """The truth about some rooms, as a victim keeps it to itself."""
        training = prepare_training(experience, **self.network(setting))
        depth_limit = self.study.configuration.perception.depth_limit
        return withhold(*training, experience.layout, experience.victim, depth_limit)

    def network(self, setting: str) -> dict[str, Any]:
        """As every victim's (`prepare_training`)."""
        configuration, name = self.study.configuration, NETWORK["network"]
        return {
            "learner": NETWORK["learner"],
            "setting": setting,
            "architecture": configuration.networks[name].architecture(setting),
            "constants": configuration.losses.dqn.model_dump(mode="json"),
            "network_seed": derive(configuration.seeds.attacker, "network", name, setting, NETWORK["seed"]),
            "depth_limit": configuration.perception.depth_limit,
        }

    def knowledge(self, setting: str) -> dict[str, Any]:
        """What the attacks are told, as in a run: of rooms other than these."""
        told = {"public": self.withheld(self.remembered, setting).components}
        if setting == "S1":
            told["prior"] = LearntPrior.load(self.run / "public/prior.S1.safetensors")
        return told


def unseen(views: Views, remembered: Experience, rooms: int = ROOMS) -> list[int]:
    """Numbers of public victims in layouts of which the attacker's prior saw no view and its guess no room."""
    seen = {*views.layout.tolist(), *remembered.layout.tolist()}
    return list(islice((index for index in count() if layout_of_victim(index, public=True) not in seen), rooms))


def measured(
    rooms: Rooms, constant: Constant, settings: AttackSettings, setting: str, noise: float
) -> dict[str, float]:
    """What comes out with these settings: the mean over rooms of `METRICS`."""
    knows = METHODS[constant.attack].knows
    told = {key: value for key, value in rooms.knowledge(setting).items() if key in knows}
    update, truth = rooms.both_sides(setting, noise)
    found = ATTACKS.load(constant.attack)(update, settings, seed=0, knowledge=told)
    cell = Cell(**NETWORK, setting=setting, attack=constant.attack)
    table = score(found, truth, rooms.place | cell.axes, update.architecture)
    means = table.groupby("metric")["value"].mean()
    return {metric: round(float(means[metric]), 3) for metric in METRICS if metric in means}


def rows(name: str, constant: Constant, rooms: Rooms, done: dict[Hashable, dict]) -> Iterator[dict[str, Any]]:
    """What comes out at each value of a constant, by setting and noise. done: what was measured already."""
    for setting, noise, value in product(constant.settings, constant.noises, constant.values):
        settings = constant.settings_at(value)
        key = constant.attack, setting, noise, settings.model_dump_json()
        if key not in done:
            done[key] = measured(rooms, constant, settings, setting, noise)
        about = {"constant": name, "value": str(value), "attack": constant.attack}
        row = {**about, "setting": setting, "noise": noise, "rooms": ROOMS}
        print(*(row | done[key]).values(), flush=True)
        yield row | done[key]


def main(arguments: Sequence[str]) -> None:
    """Writes a table for each constant that is named, or for all; with --check, only looks whether they are known.

    Raises ConfigurationError for one that is not.
    """
    overrides = [argument for argument in arguments if "=" in argument]
    names = [name for name in arguments if name not in ("--check", *overrides)] or list(CONSTANTS)
    for name in names:
        if name not in CONSTANTS:
            raise unknown_name("constant", name, list(CONSTANTS))
    if "--check" in arguments:
        return
    torch.set_num_threads(1)
    study = study_of(overrides, Path("config"))
    run = Path("results", study.configuration.scale, study.configuration.simulator)
    rooms = Rooms(run, study)
    done: dict[Hashable, dict] = {}
    for name in names:
        table = pd.DataFrame(rows(name, CONSTANTS[name], rooms, done))
        write_text(OUTPUT / f"{name}.csv", table.to_csv(index=False))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RlleakError as error:
        sys.exit(f"Error: {error}")
