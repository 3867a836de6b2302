"""Clients that live on in their room and keep what they live through: a replay buffer each (Mnih et al. 2015)."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.seeds import derive
from rlleak.simulators.active_perception import ACTIONS, STOP, ActivePerceptionEnv, Detector, TaskOptions
from rlleak.simulators.collector import CollectionOptions, describe, row
from rlleak.simulators.controller import WatchedController
from rlleak.simulators.experience import Experience
from rlleak.simulators.layouts import layout_of_victim, target_types

_EPISODES = 400


class _Step(NamedTuple):
    """One step of an episode; `keep`: whether it may be kept."""

    observation: dict[str, np.ndarray]
    info: dict[str, Any]
    action: int
    reward: float
    after: dict[str, np.ndarray]
    after_info: dict[str, Any]
    terminated: bool
    keep: bool


def collect_replay(
    controller: WatchedController,
    detector: Detector,
    clients: Sequence[int],
    seed: int,
    transitions: int,
    actions: str = "any",
    options: CollectionOptions | None = None,
    task: TaskOptions | None = None,
    progress: bool = True,
) -> Experience:
    """Each client's `transitions` in random order, client by client; `victim` says whose they are.

    A client's room depends on its index, all its randomness on the seed and its index. Its policy is random. actions:
    'any', or 'shared': of every two steps the second is the client's own movement, the same all its life, and only such
    steps are kept. Every state that is kept shows its target, and none is kept twice (a blocked move leaves the view as
    it was). Raises SimulatorError if a room does not give as many.
    """
    if not clients:
        raise ConfigurationError("no clients to collect; ask for at least one")
    options = options or CollectionOptions()
    env = ActivePerceptionEnv(controller, detector, options=task)
    names = target_types(controller.simulator)
    rows: list[dict[str, np.ndarray]] = []
    for index in track(clients, "clients", disable=not progress):
        rows += _client(env, index, names, derive(seed, "client", index), transitions, actions == "shared", options)
    columns = {name: np.stack([kept[name] for kept in rows]) for name in rows[0]}
    return Experience(**columns, targets=names, metadata={**describe(env, options), "client_actions": actions})


def _client(
    env: ActivePerceptionEnv,
    index: int,
    names: Sequence[str],
    seed: int,
    transitions: int,
    shared: bool,
    options: CollectionOptions,
) -> list[dict[str, np.ndarray]]:
    layout = layout_of_victim(index, options.public, env.controller.simulator)
    policy = np.random.default_rng(derive(seed, "policy"))
    own = int(policy.integers(STOP)) if shared else None
    kept: dict[bytes, dict[str, np.ndarray]] = {}
    for episode in range(_EPISODES):
        steps = list(_episode(env, layout, derive(seed, "pose", episode), policy, own))
        later = 0.0
        for step in reversed(steps):
            later = step.reward + options.gamma * later
            if step.keep and step.info["target_pixels"] >= env.options.minimal_pixels:
                state = step.info["rgb"].tobytes() + step.observation["vector"].tobytes()
                transition = row(step.observation, step.info, step.action, step.after, step.after_info)
                kept[state] = transition | {
                    "reward": np.float32(step.reward),
                    "return_to_go": np.float32(later),
                    "terminated": np.bool_(step.terminated),
                    "target": np.int64(names.index(step.info["target_type"])),
                    "victim": np.int64(index),
                }
        if len(kept) >= transitions:
            chosen = list(kept.values())[:transitions]
            return [chosen[place] for place in policy.permutation(transitions)]
    raise SimulatorError(
        f"client {index} met only {len(kept)} states in {_EPISODES} episodes in layout {layout}; lower "
        "replay.transitions or minimal_pixels"
    )


def _episode(
    env: ActivePerceptionEnv, layout: int, seed: int, policy: np.random.Generator, own: int | None
) -> Iterator[_Step]:
    """The steps of one episode; with an action of its own, every second step is that and may be kept."""
    observation, info = env.reset(seed=seed % 2**32, options={"layout": layout})
    over, turn = False, 0
    while not over:
        keep = own is None or turn % 2 == 1
        action = own if own is not None and keep else int(policy.integers(len(ACTIONS) if own is None else STOP))
        after, reward, terminated, truncated, after_info = env.step(action)
        yield _Step(observation, info, action, reward, after, after_info, terminated, keep)
        observation, info, over, turn = after, after_info, terminated or truncated, turn + 1
