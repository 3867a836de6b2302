"""Environments of several players side by side, each with its own seed; together where their simulator allows it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rlleak.seeds import derive
from rlleak.simulators import TOGETHER
from rlleak.simulators.environments import RESET_SEEDS, environment_of, make


class Stepped(NamedTuple):
    """What followed, one row per player: states (C, *S) as they were before any new episode, reward (C,) float32.

    terminated, over: (C,) bool; over: the episode ended, by itself or by its time limit.
    """

    following: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    over: np.ndarray


class Several(Protocol):
    """Players' environments; episode e of a player depends on its seed and e alone.

    states: (C, *S) uint8 images or float32 vectors, where each player stands.
    """

    states: np.ndarray

    def step(self, actions: np.ndarray, playing: np.ndarray | None = None) -> Stepped:
        """One step of all, by (C,) whole numbers or (C, A) float32 in [-1, 1]; those that end begin a new episode.

        playing: (C,) bool, of whom the step matters: of others nothing that is given means anything.
        """
        ...

    def kept(self) -> dict[str, np.ndarray]:
        """Everything that `restore` goes on from."""
        ...

    def restore(self, kept: dict[str, np.ndarray]) -> None:
        """Goes on from there: exactly, or, where a simulator's state cannot be read, with a new episode each."""
        ...

    def close(self) -> None: ...


def side_by_side(setting: str, seeds: Sequence[int]) -> Several:
    """So many players of one environment. Raises as `rlleak.simulators.environments.make`."""
    kind = environment_of(setting).kind
    return TOGETHER.load(kind)(environment_of(setting), seeds) if kind in TOGETHER else OneByOne(setting, seeds)


def episode_seed(seed: int, episode: int) -> int:
    """What an episode of a player begins from."""
    return derive(seed, "episode", episode) % RESET_SEEDS


class OneByOne:
    """`Several` of any environment, stepped one after another."""

    def __init__(self, setting: str, seeds: Sequence[int]) -> None:
        self._seeds, self._players = list(seeds), [make(setting) for _ in seeds]
        self._episode = np.zeros(len(self._seeds), np.int64)
        self.states = np.stack([self._begun(player) for player in range(len(self._seeds))])

    def step(self, actions: np.ndarray, playing: np.ndarray | None = None) -> Stepped:
        count = len(self._players)
        following, reward = self.states.copy(), np.zeros(count, np.float32)
        ended, over = np.zeros(count, bool), np.zeros(count, bool)
        for player in range(count) if playing is None else np.flatnonzero(playing):
            state, reward[player], ended[player], truncated, _ = self._players[player].step(actions[player])
            following[player], over[player] = state, ended[player] or truncated
        self.states = following.copy()
        for player in np.flatnonzero(over):
            self._episode[player] += 1
            self.states[player] = self._begun(player)
        return Stepped(following, reward, ended, over)

    def _begun(self, player: int) -> np.ndarray:
        return self._players[player].reset(seed=episode_seed(self._seeds[player], int(self._episode[player])))[0]

    def kept(self) -> dict[str, np.ndarray]:
        return {"episode": self._episode.copy()}

    def restore(self, kept: dict[str, np.ndarray]) -> None:
        self._episode = kept["episode"].copy() + 1
        self.states = np.stack([self._begun(player) for player in range(len(self._seeds))])

    def close(self) -> None:
        for player in self._players:
            player.close()
