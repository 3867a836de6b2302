"""CarRacing from above: one RGB frame of 96 x 96, five actions or steering, gas and brake. Needs no screen."""

import gymnasium
import numpy as np

from rlleak.configuration.environments import Environment


def make(environment: Environment) -> gymnasium.Env:
    """State (3, 96, 96) uint8; action one of five, or (3,) float32 in [-1, 1]: steering, gas, brake, -1 being none."""
    started = gymnasium.make(environment.gym_id, continuous=environment.continuous, disable_env_checker=True)
    if environment.continuous:
        started = gymnasium.wrappers.RescaleAction(started, np.float32(-1), np.float32(1))
    seen = gymnasium.spaces.Box(0, 255, environment.image_shape, np.uint8)
    return gymnasium.wrappers.TransformObservation(started, lambda frame: frame.transpose(2, 0, 1), seen)
