"""Environments by name: what their victims live through, and what really follows from a state and an action."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers.utils import RunningMeanStd

from rlleak.configuration.environments import ENVIRONMENTS, Environment
from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.registry import unknown_name
from rlleak.seeds import derive
from rlleak.simulators import KINDS, SUCCESSORS
from rlleak.simulators.transitions import Transitions

Policy = Callable[[np.ndarray, np.random.Generator], Any]
"""From a state, (C, H, W) uint8 or (D,) float32, to an action: a number, or (A,) float32 in [-1, 1]."""

_NEEDED = {
    "atari": ("ale_py", "ale-py"),
    "control": ("mujoco", "gymnasium[mujoco]"),
    "driving": ("Box2D", "gymnasium[box2d]"),
}
_SHORT = 100
RESET_SEEDS = 2**31 - 1


@dataclass(frozen=True)
class _Life:
    """How long a victim lives. skipped: first steps of an episode, which look alike in all. steps: in which its
    transitions lie, at least; `spread` for each. look_ahead: steps after its last one, for the return."""

    skipped: int
    steps: int
    spread: int
    look_ahead: int


# A game's first frames all look alike, and CarRacing zooms in for 50 of them; games pay seldom, so returns look on.
_LIVES = {
    "atari": _Life(20, 180, 4, 50),
    "classic": _Life(0, 200, 4, 0),
    "control": _Life(0, 200, 4, 0),
    "driving": _Life(50, 50, 1, 0),  # ten times as slow as a game
    "grid": _Life(0, 50, 4, 0),
}


def environment_of(setting: str) -> Environment:
    """The environment of that name. Raises ConfigurationError if there is none."""
    if setting not in ENVIRONMENTS:
        raise unknown_name("environment", setting, list(ENVIRONMENTS))
    return ENVIRONMENTS[setting]


def check_installed(setting: str) -> None:
    """Raises SimulatorError, with the command to type, if the package that plays an environment is not installed."""
    module, package = _NEEDED.get(environment_of(setting).kind, ("gymnasium", "gymnasium"))
    if find_spec(module) is None:
        raise SimulatorError(
            f"{setting} needs {package}, which is not installed: pip install '{package}', or make setup"
        )


def make(setting: str) -> gymnasium.Env:
    """The environment, ready to be reset: states and actions as in `Policy`.

    Raises ConfigurationError for an unknown one, SimulatorError where its package is not installed.
    """
    environment = environment_of(setting)
    check_installed(setting)
    return KINDS.load(environment.kind)(environment)


def random_policy(setting: str) -> Policy:
    """Every action alike, whatever the state."""
    environment = environment_of(setting)
    if environment.continuous:
        return lambda state, generator: generator.uniform(-1, 1, environment.actions).astype(np.float32)
    return lambda state, generator: int(generator.integers(environment.actions))


def successor(setting: str, states: np.ndarray, actions: np.ndarray) -> np.ndarray | None:
    """The states (N, D) float32 that really follow, by the simulator itself; None where it cannot be put into a state.

    states: (N, D), as `Transitions` holds them, also such as never were. actions: (N,) whole numbers or (N, A); beyond
    [-1, 1] the simulator clips them. A row is NaN where the simulator cannot go on. A game or a race has more state
    than its image shows. Raises ConfigurationError for shapes that do not fit.
    """
    environment = environment_of(setting)
    if environment.kind not in SUCCESSORS:
        return None
    states, actions = np.asarray(states), np.asarray(actions)
    expected = (len(states), environment.actions) if environment.continuous else (len(states),)
    if states.shape != (len(states), environment.vector_size) or actions.shape != expected:
        raise ConfigurationError(
            f"{setting}: states {states.shape} and actions {actions.shape} do not fit; expected "
            f"(N, {environment.vector_size}) and {('N', *expected[1:])}"
        )
    check_installed(setting)
    return SUCCESSORS.load(environment.kind)(environment, states, actions)


def collect(
    setting: str,
    victims: Sequence[int],
    transitions: int,
    seed: int,
    *,
    gamma: float,
    policy: Policy | None = None,
    progress: bool = False,
) -> Transitions:
    """So many transitions of each victim, victim by victim, drawn from its own life as from a replay buffer.

    A life is longer than its transitions, over as many episodes as it takes; their order is random, so that the first
    few are a sample, too. It depends on the victim's number and the seed alone. policy: None: random.
    A return counts the rewards to the end of the episode, or to the end of what was played of it (in games 50 steps
    on). Raises ConfigurationError for an unknown environment or no victims.
    """
    environment = environment_of(setting)
    if not victims or transitions < 1:
        raise ConfigurationError(f"nothing to collect in {setting}; ask for at least one victim and one transition")
    # Scoring wants this module's successors only.
    from rich.progress import track

    simulator, act = make(setting), policy or random_policy(setting)
    rows: list[dict[str, Any]] = []
    lived: list[RunningMeanStd | None] = []
    try:
        for victim in track(victims, setting, disable=not progress):
            own = derive(seed, setting, victim)
            met = RunningMeanStd(shape=(environment.vector_size,)) if environment.image_shape is None else None
            rows += _lived(simulator, _LIVES[environment.kind], own, act, transitions, gamma, met)
            lived += [met] * transitions
    finally:
        simulator.close()
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    component = "vector" if environment.image_shape is None else "image"
    states = {name: {component: columns.pop(name)} for name in ("observation", "next_observation")}
    statistics: dict[str, np.ndarray] = {}
    if environment.image_shape is None:
        told = {"mean": "mean", "variance": "var", "count": "count"}
        statistics = {name: np.array([getattr(met, own) for met in lived]) for name, own in told.items()}
    owners = np.repeat(np.array(victims, np.int64), transitions)
    return Transitions(setting, **states, **columns, victim=owners, lived=statistics)


def _lived(
    simulator: gymnasium.Env,
    life: _Life,
    seed: int,
    act: Policy,
    transitions: int,
    gamma: float,
    met: RunningMeanStd | None = None,
) -> list[dict[str, Any]]:
    """The rows of one victim's transitions; `met` becomes the statistics of all its states, if given."""
    own = np.random.default_rng(derive(seed, "actions"))
    places = own.choice(max(life.steps, life.spread * transitions), transitions, replace=False)
    kept: dict[int, dict[str, Any]] = {}
    counted, wanted = 0, set(places.tolist())
    # What is learnt of states owes nothing to where the transitions happen to lie.
    last = max(int(places.max()), life.steps - 1 if met is not None else 0)
    for episode in count():
        if not counted and episode == _SHORT:
            raise SimulatorError(f"{simulator} ends its episodes within {life.skipped} steps; use another policy")
        state, _ = simulator.reset(seed=derive(seed, "episode", episode) % RESET_SEEDS)
        rewards: list[float] = []
        states = [state]
        found: dict[int, int] = {}
        over = False
        while not over and counted <= last + life.look_ahead:
            action = act(state, own)
            following, reward, terminated, truncated, _ = simulator.step(action)
            if len(rewards) >= life.skipped:
                if counted in wanted:
                    found[counted] = len(rewards)
                    kept[counted] = _row(state, action, reward, following, terminated)
                counted += 1
            rewards.append(float(reward))
            state, over = following, terminated or truncated
            if met is not None:
                states.append(state)
        if met is not None:
            met.update(np.stack(states).astype(np.float64))
        later = 0.0
        returns = [later := reward + gamma * later for reward in reversed(rewards)][::-1]
        for place, step in found.items():
            kept[place]["return_to_go"] = np.float32(returns[step])
        if counted > last:
            return [kept[place] for place in places.tolist()]


def _row(state: np.ndarray, action: Any, reward: float, following: np.ndarray, terminated: bool) -> dict[str, Any]:
    return {
        "observation": state,
        "next_observation": following,
        "action": np.asarray(action, np.float32) if np.ndim(action) else np.int64(action),
        "reward": np.float32(reward),
        "terminated": np.bool_(terminated),
    }


def returns_of(setting: str, policy: Policy, episodes: int, seed: int, horizon: int | None = None) -> np.ndarray:
    """Undiscounted return (episodes,) float64 of each episode, or of its first `horizon` steps.

    What a policy earns in an episode depends on the seed and the episode's number alone.
    """
    simulator, earned = make(setting), np.zeros(episodes)
    try:
        for episode in range(episodes):
            own = np.random.default_rng(derive(seed, "actions", episode))
            state, _ = simulator.reset(seed=derive(seed, "episode", episode) % RESET_SEEDS)
            for _ in count() if horizon is None else range(horizon):
                state, reward, terminated, truncated, _ = simulator.step(policy(state, own))
                earned[episode] += float(reward)
                if terminated or truncated:
                    break
    finally:
        simulator.close()
    return earned
