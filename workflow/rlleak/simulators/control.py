"""Control by joint torques in MuJoCo: Hopper, Walker2d, Ant, HalfCheetah, version 5 of gymnasium."""

from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium
import mujoco
import numpy as np

from rlleak.configuration.environments import Environment

_DIVERGED = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


def make(environment: Environment) -> gymnasium.Env:
    """State (D,) float32, action (A,) float32 in [-1, 1], as gymnasium defines both."""
    started = gymnasium.make(environment.gym_id, disable_env_checker=True)
    seen = gymnasium.spaces.Box(-np.inf, np.inf, (environment.vector_size,), np.float32)
    return gymnasium.wrappers.TransformObservation(started, lambda state: state.astype(np.float32), seen)


def successor(environment: Environment, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The states (N, D) float32 that MuJoCo reaches from the given ones in one step of the environment.

    A state holds all of MuJoCo's but the place along the ground, which no successor depends on: it is set to 0. Its
    velocities were clipped to +-10 where Hopper and Walker2d observed it: beyond that, what follows is that of the
    clipped ones. Ant's contact forces are not part of MuJoCo's state: those of `states` change nothing, and those of
    the successors are MuJoCo's own. A row is NaN where MuJoCo cannot go on from a state (not finite, or diverging).
    """
    simulated = gymnasium.make(environment.gym_id, disable_env_checker=True).unwrapped
    positions = simulated.observation_structure["qpos"]
    hidden = np.zeros(simulated.observation_structure["skipped_qpos"])
    reached = np.full(states.shape, np.nan, np.float32)
    finite = np.isfinite(states).all(axis=1) & np.isfinite(actions).all(axis=1)
    with _without_warnings():
        for row in np.flatnonzero(finite):
            # What the solver remembers of the row before would otherwise show in the last digits.
            mujoco.mj_resetData(simulated.model, simulated.data)
            state = states[row].astype(np.float64)
            placed = np.concatenate([hidden, state[:positions]])
            simulated.set_state(placed, state[positions : positions + simulated.model.nv])
            simulated.do_simulation(actions[row], simulated.frame_skip)
            if not any(simulated.data.warning[kind].number for kind in _DIVERGED):
                reached[row] = simulated._get_obs()
    simulated.close()
    return reached


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps MuJoCo from writing a log file into the working folder whenever a state diverges."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
