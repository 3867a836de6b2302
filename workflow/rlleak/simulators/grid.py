"""FrozenLake, 4 x 4 and not slippery: so small that every transition can be said to be possible or not."""

import gymnasium
import numpy as np

from rlleak.configuration.environments import Environment


def make(environment: Environment) -> gymnasium.Env:
    """State (16,) float32: the place, one-hot, row by row. Four actions: left, down, right, up."""
    started = gymnasium.make(environment.gym_id, map_name="4x4", is_slippery=False, disable_env_checker=True)
    return gymnasium.wrappers.DtypeObservation(gymnasium.wrappers.FlattenObservation(started), np.float32)


def successor(environment: Environment, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The states (N, 16) float32, one-hot, that follow the places at which `states` are largest; by the game's table.

    NaN where a state is not finite.
    """
    lake = make(environment)
    table, places = lake.unwrapped.P, np.eye(environment.vector_size, dtype=np.float32)
    reached = np.full(states.shape, np.nan, np.float32)
    for row in np.flatnonzero(np.isfinite(states).all(axis=1)):
        ((_, following, _, _),) = table[int(states[row].argmax())][int(actions[row])]
        reached[row] = places[following]
    lake.close()
    return reached
