"""Classic control, without a physics engine: CartPole, version 1 of gymnasium."""

import gymnasium
import numpy as np

from rlleak.configuration.environments import Environment


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
