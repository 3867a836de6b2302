"""Atari games as deep Q-learning sees them: four grey frames of 84 x 84 (Mnih et al. 2015), through ale-py."""

from typing import Any

import gymnasium
import numpy as np
from ale_py import roms
from ale_py.registration import rom_id_to_name
from ale_py.vector_env import AtariVectorEnv

from rlleak.configuration.environments import Environment
from rlleak.registry import unknown_name

_SEEDS = 2**31 - 1


def rom_of(game: str) -> str:
    """ale-py's name of a game, 'Pong' -> 'pong'. Raises ConfigurationError for a game that ale-py does not hold."""
    known = {rom_id_to_name(rom): rom for rom in roms.get_all_rom_ids()}
    if game not in known:
        raise unknown_name("Atari game", game, list(known))
    return known[game]


class AtariGame(gymnasium.Env):
    """One game with ale-py's own preprocessing: state (4, 84, 84) uint8, the oldest frame first.

    Every action lasts four of the game's frames, and rewards are clipped to -1, 0, 1, as in Mnih et al. 2015. `reset`
    depends on its seed only; without one, on those before. Raises ConfigurationError for an unknown game.
    """

    def __init__(self, game: str) -> None:
        self._games = AtariVectorEnv(rom_of(game), 1, num_threads=1)
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        start = self.np_random.integers(_SEEDS) if seed is None else seed % _SEEDS
        frames, _ = self._games.reset(seed=np.array([start], np.int32))
        return frames[0].copy(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        frames, reward, terminated, truncated, _ = self._games.step(np.array([action]))
        return frames[0].copy(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}

    def close(self) -> None:
        self._games.close()


def make(environment: Environment) -> gymnasium.Env:
    """The game, ready to be reset."""
    return AtariGame(environment.gym_id)
