"""Collects labelled views and victims' experience through an ai2thor controller, whichever player answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ai2thor.server import Event
from rich.progress import track

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.seeds import derive
from rlleak.simulators.active_perception import (
    ACTIONS,
    STOP,
    ActivePerceptionEnv,
    Detector,
    TaskOptions,
    reachable_positions,
    target_box,
)
from rlleak.simulators.controller import WatchedController
from rlleak.simulators.experience import Experience
from rlleak.simulators.layouts import layout_of_victim, room_type_of, target_types
from rlleak.simulators.views import Views

_FACING_SHARE = 0.6  # of the views look towards a target; the rest anywhere, so that the detector meets empty views
_VIEW_DISTANCES = (0.5, 4.0)
VIEW_HORIZONS = (-10.0, 0.0, 15.0, 30.0, 45.0)
_VICTIM_ATTEMPTS = 20


@dataclass(frozen=True)
class CollectionOptions:
    """What the papers leave open about a victim's transition.

    gamma: discount. warm_up: most random steps before the recorded one. public: live in the attacker's layouts.
    """

    gamma: float = 0.99
    warm_up: int = 4
    public: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 1.0:
            raise ConfigurationError(f"gamma is {self.gamma}; it must lie in [0, 1]")
        if self.warm_up < 0:
            raise ConfigurationError(f"warm_up is {self.warm_up}; it cannot be negative")


def collect_views(
    controller: WatchedController, layouts: Sequence[int], views_per_layout: int, seed: int, progress: bool = True
) -> Views:
    """Takes `views_per_layout` views in each layout and labels every target object in them from the instance masks.

    Each layout's poses depend on the seed and the layout only. Raises SimulatorError.
    """
    types = target_types(controller.simulator)
    labels: list[tuple[np.ndarray, int, int, int]] = []
    rgb, depth, numbers = [], [], []
    for layout in track(layouts, "views", disable=not progress):
        event = controller.load(layout)
        rng = np.random.default_rng(derive(seed, "views", layout))
        poses = _poses(controller, event, types, rng)
        for _ in range(views_per_layout):
            event = _look(controller, event, next(poses))
            for item in event.metadata["objects"]:
                mask = event.instance_masks.mask(item["objectId"]) if item["objectType"] in types else None
                if mask is not None:
                    labels.append((target_box(mask), len(rgb), types.index(item["objectType"]), int(mask.sum())))
            rgb.append(event.frame.copy())
            depth.append(event.depth_frame.copy())
            numbers.append(layout)
    boxes, view, kind, pixels = zip(*labels, strict=True) if labels else ((), (), (), ())
    return Views(
        rgb=np.stack(rgb),
        depth=np.stack(depth).astype(np.float32),
        layout=np.array(numbers, np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        view=np.array(view, np.int64),
        kind=np.array(kind, np.int64),
        pixels=np.array(pixels, np.int64),
        types=types,
        metadata={"simulator": controller.simulator, "views_per_layout": views_per_layout},
    )


class _Pose(NamedTuple):
    x: float
    z: float
    yaw: float
    horizon: float


def _poses(
    controller: WatchedController, event: Event, types: Sequence[str], rng: np.random.Generator
) -> Iterator[_Pose]:
    """Endless poses in the loaded room: most turned towards some target object, the others anywhere."""
    places = reachable_positions(controller)
    items = sorted(
        (item["objectType"], item["position"]["x"], item["position"]["z"])
        for item in event.metadata["objects"]
        if item["objectType"] in types
    )
    while True:
        x, z = places[rng.integers(len(places))]
        yaw = rng.uniform(0.0, 360.0)
        if items and rng.random() < _FACING_SHARE:
            kinds = sorted({kind for kind, _, _ in items})
            kind = kinds[rng.integers(len(kinds))]  # a type first, or a room's many pillows would crowd out its one bed
            alike = [(item_x, item_z) for name, item_x, item_z in items if name == kind]
            item_x, item_z = alike[rng.integers(len(alike))]
            away = np.hypot(places[:, 0] - item_x, places[:, 1] - item_z)
            fitting = np.flatnonzero((away >= _VIEW_DISTANCES[0]) & (away <= _VIEW_DISTANCES[1]))
            if len(fitting):
                x, z = places[fitting[rng.integers(len(fitting))]]
            yaw = np.degrees(np.arctan2(item_x - x, item_z - z)) + rng.uniform(-30.0, 30.0)
        yield _Pose(float(x), float(z), float(yaw % 360.0), float(VIEW_HORIZONS[rng.integers(len(VIEW_HORIZONS))]))


def _look(controller: WatchedController, event: Event, pose: _Pose) -> Event:
    height = event.metadata["agent"]["position"]["y"]
    return controller.step(
        "TeleportFull",
        position={"x": pose.x, "y": height, "z": pose.z},
        rotation={"x": 0.0, "y": pose.yaw, "z": 0.0},
        horizon=pose.horizon,
        standing=True,
    )


def collect_experience(
    controller: WatchedController,
    detector: Detector,
    victims: Sequence[int],
    seed: int,
    options: CollectionOptions | None = None,
    task: TaskOptions | None = None,
    progress: bool = True,
) -> Experience:
    """Records one transition of each victim, then plays on at random to the end of its episode for REINFORCE's return.

    A victim's layout depends on its index, all its randomness on the seed and its index: no result depends on which
    victims are collected together. Every recorded state shows its target. Raises SimulatorError.
    """
    options = options or CollectionOptions()
    env = ActivePerceptionEnv(controller, detector, options=task)
    names = target_types(controller.simulator)
    rows = [_victim(env, index, names, seed, options) for index in track(victims, "victims", disable=not progress)]
    if not rows:
        raise ConfigurationError("no victims to collect; ask for at least one")
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Experience(**columns, targets=names, metadata=describe(env, options))


def describe(env: ActivePerceptionEnv, options: CollectionOptions) -> dict[str, Any]:
    """What a file of experience says about how it was lived through."""
    return {
        "simulator": env.controller.simulator,
        "gamma": options.gamma,
        "horizon": env.options.horizon,
        "actions": list(ACTIONS),
        "public": options.public,
    }


def row(
    observation: dict[str, np.ndarray], info: dict, action: int, after: dict[str, np.ndarray], after_info: dict
) -> dict[str, np.ndarray]:
    """What the simulator itself says of one transition, by the names of `Experience`."""
    return {
        "rgb": info["rgb"],
        "depth": info["depth"],
        "box": observation["vector"],
        "next_rgb": after_info["rgb"],
        "next_depth": after_info["depth"],
        "next_box": after["vector"],
        "action": np.int64(action),
        "layout": np.int64(info["layout"]),
    }


def _victim(
    env: ActivePerceptionEnv, index: int, names: Sequence[str], seed: int, options: CollectionOptions
) -> dict[str, np.ndarray]:
    layout = layout_of_victim(index, options.public, env.controller.simulator)
    for attempt in range(_VICTIM_ATTEMPTS):
        observation, info = env.reset(seed=derive(seed, "pose", index, attempt) % 2**32, options={"layout": layout})
        policy = np.random.default_rng(derive(seed, "policy", index, attempt))
        for _ in range(policy.integers(options.warm_up + 1)):
            observation, _, _, truncated, info = env.step(int(policy.integers(STOP)))  # any movement, no Stop
            if truncated:
                break
        else:
            if info["target_pixels"] >= env.options.minimal_pixels:
                return _record(env, observation, info, index, names, policy, options.gamma)
    raise SimulatorError(
        f"victim {index} lost sight of its target in all {_VICTIM_ATTEMPTS} attempts in layout {layout} "
        f"({room_type_of(layout)}); lower warm_up or minimal_pixels"
    )


def _record(
    env: ActivePerceptionEnv,
    observation: dict[str, np.ndarray],
    info: dict,
    index: int,
    names: Sequence[str],
    policy: np.random.Generator,
    gamma: float,
) -> dict[str, np.ndarray]:
    action = int(policy.integers(len(ACTIONS)))
    after, reward, terminated, truncated, after_info = env.step(action)
    rewards, over = [reward], terminated or truncated
    while not over:
        _, later, ended, cut, _ = env.step(int(policy.integers(len(ACTIONS))))
        rewards.append(later)
        over = ended or cut
    return row(observation, info, action, after, after_info) | {
        "reward": np.float32(reward),
        "return_to_go": np.float32(sum(gamma**k * later for k, later in enumerate(rewards))),
        "terminated": np.bool_(terminated),
        "target": np.int64(names.index(info["target_type"])),
        "victim": np.int64(index),
    }
