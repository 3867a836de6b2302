"""What a run needs, and whether this machine has it: looked at before work starts, said in one line.

`python -m rlleak.planning scale=paper` announces it without running anything (part of `make plan`).
"""

import math
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from rlleak.configuration.axes import RESOLUTION, ROOMS, inputs_of
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.files import read_yaml
from rlleak.configuration.loading import study_of
from rlleak.configuration.strict import in_one_line
from rlleak.configuration.study import Study
from rlleak.errors import ConfigurationError, ResourceError, RlleakError

_PIXELS = RESOLUTION**2
_FRAME = 7 * _PIXELS  # RGB in bytes, depth in float32
_GIGABYTE = 1e9

# Rules that attack, that learn on a GPU if there is one, and that start the simulator of rooms.
_ATTACKS = {"tune", "invert", "invert_transitions", "invert_captured"}
_LEARNING = {"learn_prior", "learn_transition_prior", "train_policy"}
_IN_ROOMS = {
    *("collect_views", "collect_candidates", "gallery"),
    *("simulate", "simulate_public", "simulate_replay", "simulate_public_replay"),
}


@dataclass(frozen=True)
class Needs:
    """Bytes on disk: `shared` at most at once (removed after use), `kept` at the end."""

    shared: float
    kept: float

    @property
    def disk(self) -> float:
        """Bytes at the peak."""
        return self.shared + self.kept

    def __str__(self) -> str:
        return (
            f"disk at the peak: {self.disk / _GIGABYTE:.1f} GB ({self.kept / _GIGABYTE:.1f} GB stay, "
            f"{self.shared / _GIGABYTE:.1f} GB of gradients are removed after use)"
        )


def needs(study: Study, shared_files: int | None = None) -> Needs:
    """An estimate from sizes alone; compression and file headers do not count.

    shared_files: how many there may be at once; default: what the profile in use says.
    """
    scale, cells = study.scale, study.attacked
    parameters = {kind: _parameters(study, *kind) for kind in {(cell.network, cell.setting) for cell in cells}}
    files = []
    for cell in cells:
        updates = min(scale.victims_per_shard, study.updates(cell))
        size = (8 if cell.precision == "float64" else 4) * parameters[cell.network, cell.setting] * (updates + 1)
        files += [size] * len(study.shards(cell))
    shared = sum(sorted(files)[-(shared_files or shared_files_at_once()) :])
    trained = {
        (cell.learner, cell.network, cell.setting, cell.seed)
        for cell in cells
        if study.configuration.networks[cell.network].trained
    }
    networks = sum(4 * parameters[network, setting] for _, network, setting, _ in trained)
    views = (scale.detector.layouts + scale.detector.held_out_layouts) * scale.detector.views_per_layout * _FRAME
    # Photographs of the candidate homes and of the public ones that the matcher is scored on.
    homes = scale.candidates.rooms + scale.detector.held_out_layouts
    views += homes * scale.candidates.photographs_per_room * _FRAME
    transitions = scale.victims + scale.public_victims
    games = {cell.setting for cell in cells if cell.setting in ENVIRONMENTS}
    played = scale.victims + scale.public_victims + scale.replay.public_clients * scale.replay.transitions
    experience = 2 * sum(_image(game) for game in games) * played
    lived = {(cell.setting, cell.policy) for cell in cells if cell.setting in ENVIRONMENTS}
    experience += sum(2 * _image(setting) * study.prior_size(setting, policy) for setting, policy in lived)
    replays = {cell.actions for cell in cells if cell.batch > 1} | ({"any"} if trained else set())
    transitions += len(replays) * (scale.replay.clients + scale.replay.public_clients) * scale.replay.transitions
    # One float32 image per transition in each private file, and per victim in each reconstruction.
    kept_sides = {(cell.update, cell.setting, cell.batch, scale.updates(cell.batch)) for cell in cells}
    images = [_image(setting) * batch * updates for _, setting, batch, updates in kept_sides]
    # Every restart's state before and after, of each attack on transitions.
    together = [cell for cell in cells if study.on_transitions(cell.attack)]
    sizes = [(cell, scale.transitions.of(cell.setting)) for cell in together]
    images += [2 * _image(cell.setting) * cell.batch * size.victims * size.restarts for cell, size in sizes]
    alone = [cell for cell in cells if cell.batch == 1 and cell not in together]
    images += [_image(cell.setting) * scale.updates(cell.batch) for cell in alone]
    return Needs(shared, networks + views + experience + 2 * _FRAME * transitions + sum(images))


def shared_files_at_once() -> int:
    """How many shared files may be on disk at once: a limit on jobs that hold one, which Snakemake's profile sets.

    Raises ConfigurationError where it sets none.
    """
    folder = Path(os.environ.get("SNAKEMAKE_PROFILE", "workflow/profiles/default"))
    given = (read_yaml(folder / "config.yaml") or {}).get("resources") or []
    limits = given if isinstance(given, dict) else dict(limit.split("=", 1) for limit in given)
    if "shared_files" not in limits:
        raise ConfigurationError(f"{folder}/config.yaml sets no limit on shared_files; add it to its resources")
    return int(limits["shared_files"])


def _image(setting: str) -> int:
    """Bytes of an observed image, or of a state that has none, in float32."""
    if setting in ENVIRONMENTS:
        return 4 * ENVIRONMENTS[setting].state_size
    return 4 * math.prod(inputs_of(setting)["image_shape"])


def _parameters(study: Study, network: str, setting: str) -> int:
    specification = import_module("rlleak.learners.specification").NetworkSpec
    try:
        spec = specification.model_validate(study.configuration.networks[network].architecture(setting))
    except ValidationError as error:
        raise ConfigurationError(f"network '{network}' cannot be built for {setting}: {in_one_line(error)}") from error
    return sum(math.prod(shape) for shape in spec.parameter_shapes.values())


def check(study: Study, folder: Path, stages: Iterable[str], cores: int) -> None:
    """Raises ResourceError or SimulatorError, in one line, if this machine cannot run the given stages (rule names).

    ConfigurationError where a network cannot be built for its setting.
    """
    stages = set(stages)
    _check_writable(folder)
    _check_disk(needs(study), folder)
    if stages & _ATTACKS:
        _check_memory(study, cores)
    if stages & (_ATTACKS | _LEARNING) and study.configuration.device == "cuda":
        import_module("rlleak.devices").chosen_device("cuda")
    if stages & _IN_ROOMS:
        _check_simulator(study)
    if "train_federated" in stages:
        _check_trainings(study)
    if stages & {"play", "play_public", "train_policy", "train_federated"}:
        environments = import_module("rlleak.simulators.environments")
        for setting in sorted({cell.setting for cell in study.cells() if cell.setting in ENVIRONMENTS}):
            environments.check_installed(setting)


def _check_writable(folder: Path) -> None:
    """Of the results' folder, or the nearest that there is, and of all within: what root left, in Docker, is not."""
    place = next(parent for parent in [folder, *folder.resolve().parents] if parent.exists())
    within = place.rglob("*") if place == folder else ()
    for path in (place, *(path for path in within if path.is_dir())):
        if not path.is_dir():
            raise ResourceError(f"{path} is no folder, and results go there; rename it")
        if not os.access(path, os.W_OK | os.X_OK):
            raise ResourceError(
                f"{path} may not be written by you; make it yours (sudo chown -R $USER {path}), or mount it writable"
            )


def _check_disk(needed: Needs, folder: Path) -> None:
    place = next(parent for parent in [folder, *folder.resolve().parents] if parent.exists())
    free = shutil.disk_usage(place).free
    already = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    if free + already < needed.disk:
        raise ResourceError(
            f"too little free disk at {place}: {free / _GIGABYTE:.1f} GB, but {needed}; free some, or choose a smaller "
            "scale or victims_per_shard"
        )


def _check_trainings(study: Study) -> None:
    """Of what clients train: that their networks can be built, and that there are rooms if they live there."""
    trained = sorted({(cell.network, cell.setting) for cell in study.cells() if study.trains(cell.attack)})
    for network, setting in trained:
        _parameters(study, network, setting)
    if any(setting in ROOMS for _, setting in trained):
        _check_simulator(study)


def _check_memory(study: Study, cores: int) -> None:
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIGABYTE
    limit = study.configuration.memory_limit_gb
    if limit > available:
        raise ResourceError(
            f"memory_limit_gb is {limit:g}, but this machine has {available:.1f} GB; lower it in config/config.yaml"
        )
    # What an attack takes it says itself, when it is run; that it takes the weights and one gradient is known before.
    kinds = {(cell.network, cell.setting) for cell in study.attacked}
    least, network = max(((8 * _parameters(study, *kind) / _GIGABYTE, kind[0]) for kind in kinds), default=(0.0, ""))
    if limit < least:
        raise ResourceError(
            f"memory_limit_gb is {limit:g}, but weights and one gradient of network '{network}' take {least:.2g} GB; "
            "raise it in config/config.yaml"
        )
    if cores * limit > available:
        print(
            f"{cores} attacks at once may hold {cores * limit:g} GB of this machine's {available:.1f} GB; "
            "lower memory_limit_gb or CORES if memory runs out",
            file=sys.stderr,
        )


def _check_simulator(study: Study) -> None:
    if study.configuration.simulator == "rooms":
        import_module("rlleak.simulators.rooms.gl").choose_gl()
    else:
        options = import_module("rlleak.simulators.controller").SimulatorOptions
        import_module("rlleak.simulators.unity").check_unity(options(**study.configuration.simulation.model_dump()))


def main(words: list[str]) -> None:
    """Prints what a run with these keys set ("scale=paper") does and needs, in one line."""
    study = study_of(words, Path("config"))
    scale, attacks = study.scale, len(study.attacked)
    trainings = len(study.cells()) - attacks
    print(
        f"{study.configuration.scale} on {study.configuration.simulator}: {attacks} attacks on {scale.victims} victims "
        f"in {scale.shards} shard{'s' if scale.shards > 1 else ''}, {trainings} federated trainings; {needs(study)}"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RlleakError as error:
        sys.exit(f"Error: {error}")
