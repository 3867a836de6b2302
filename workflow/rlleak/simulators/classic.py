"""Classic control, without a physics engine: CartPole, version 1 of gymnasium."""

from collections.abc import Sequence

import gymnasium
import numpy as np

from rlleak.configuration.environments import Environment
from rlleak.simulators.side_by_side import States, Stepped, episode_seed


def make(environment: Environment) -> gymnasium.Env:
    """State (4,) float32: place and speed of the cart, angle and its speed of the pole. Actions: left, right."""
    return gymnasium.make(environment.gym_id, disable_env_checker=True)


def successor(environment: Environment, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The states (N, D) float32 that follow in one step of the simulator, put into each state; NaN where one is not
    finite. A state is all that the simulator has; from one that ended an episode it goes on as from any other.
    """
    simulated = make(environment).unwrapped
    reached = np.full(states.shape, np.nan, np.float32)
    simulated.reset(seed=0)
    for row in np.flatnonzero(np.isfinite(states).all(axis=1)):
        # An episode that has ended would be warned of.
        simulated.state, simulated.steps_beyond_terminated = states[row].astype(np.float64), None
        reached[row] = simulated.step(int(actions[row]))[0]
    simulated.close()
    return reached


class Poles:
    """`rlleak.simulators.side_by_side.Several` of CartPole, by gymnasium's own vectorised one, with a seed per player:
    each lives through what CartPole alone does under its seeds."""

    def __init__(self, environment: Environment, seeds: Sequence[int]) -> None:
        self._poles = gymnasium.make_vec(
            environment.gym_id, num_envs=len(seeds), vectorization_mode="vector_entry_point"
        ).unwrapped
        self._seeds, self._episode = list(seeds), np.zeros(len(seeds), np.int64)
        self._poles.reset(seed=0)
        for player in range(len(seeds)):
            self._begin(player)

    @property
    def states(self) -> States:
        return {"vector": self._poles.state.T.astype(np.float32)}

    def step(self, actions: np.ndarray, playing: np.ndarray | None = None) -> Stepped:
        following, reward, terminated, truncated, _ = self._poles.step(actions)
        over = terminated | truncated
        # It would begin episodes anew itself, in the next step, and from one seed for all.
        self._poles.prev_done[:] = False
        for player in np.flatnonzero(over):
            self._episode[player] += 1
            self._begin(player)
        return Stepped({"vector": following}, reward, terminated, over)

    def _begin(self, player: int) -> None:
        # As `CartPoleEnv.reset` does with this seed.
        drawn = np.random.default_rng(episode_seed(self._seeds[player], int(self._episode[player])))
        self._poles.state[:, player] = drawn.uniform(self._poles.low, self._poles.high, 4)
        self._poles.steps[player] = 0

    def kept(self) -> dict[str, np.ndarray]:
        return {"episode": self._episode.copy(), "state": self._poles.state.copy(), "steps": self._poles.steps.copy()}

    def restore(self, kept: dict[str, np.ndarray]) -> None:
        self._episode = kept["episode"].copy()
        self._poles.state, self._poles.steps = kept["state"].copy(), kept["steps"].copy()

    def close(self) -> None:
        self._poles.close()
