"""Environments of several players side by side, each with its own seed; together where their simulator allows it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from rlleak.configuration.axes import ROOMS
from rlleak.seeds import derive
from rlleak.simulators import TOGETHER
from rlleak.simulators.environments import RESET_SEEDS, environment_of, make

_STATE = "state/"

States = dict[str, np.ndarray]
"""What players see, by the names of networks' inputs: `image` (C, *S) uint8, `vector` (C, D) float32, or both."""


class Stepped(NamedTuple):
    """What followed, one row per player: states as they were before any new episode, reward (C,) float32.

    terminated, over: (C,) bool; over: the episode ended, by itself or by its time limit.
    """

    following: States
    reward: np.ndarray
    terminated: np.ndarray
    over: np.ndarray


class Several(Protocol):
    """Players' environments; episode e of a player depends on its seed and e alone.

    states: where each player stands.
    """

    @property
    def states(self) -> States: ...

    def step(self, actions: np.ndarray, playing: np.ndarray | None = None) -> Stepped:
        """One step of all, by (C,) whole numbers or (C, A) float32 in [-1, 1]; those that end begin a new episode.

        playing: (C,) bool, of whom the step matters: of others nothing that is given means anything.
        """
        ...

    def kept(self) -> dict[str, np.ndarray]:
        """Everything that `restore` goes on from."""
        ...

    def restore(self, kept: dict[str, np.ndarray]) -> None:
        """Goes on from there: exactly, or, for whom a simulator does not go the same way again, with a new episode."""
        ...

    def close(self) -> None: ...


def side_by_side(setting: str, seeds: Sequence[int], **home: Any) -> Several:
    """So many players of one environment.

    home: of active perception alone, what `rlleak.simulators.homes.at_home` is told beside the seeds. Raises as
    `rlleak.simulators.environments.make` and as that.
    """
    if setting in ROOMS:
        return TOGETHER.load("rooms")(ROOMS[setting], seeds, **home)
    environment = environment_of(setting)
    if environment.kind in TOGETHER:
        return TOGETHER.load(environment.kind)(environment, seeds)
    return OneByOne([make(setting) for _ in seeds], seeds)


def episode_seed(seed: int, episode: int) -> int:
    """What an episode of a player begins from."""
    return derive(seed, "episode", episode) % RESET_SEEDS


class OneByOne:
    """`Several` of any environments, stepped one after another. players: one for each seed; closed with it.

    No simulator need tell its state: what was done since an episode began is kept, and done again.
    """

    def __init__(self, players: Sequence[gymnasium.Env], seeds: Sequence[int]) -> None:
        self._seeds, self._players = list(seeds), list(players)
        self._episode = np.zeros(len(self._seeds), np.int64)
        self._done: list[list[np.ndarray]] = [[] for _ in self._players]
        self.states = self._all_begun()

    def step(self, actions: np.ndarray, playing: np.ndarray | None = None) -> Stepped:
        count = len(self._players)
        following, reward = _copied(self.states), np.zeros(count, np.float32)
        ended, over = np.zeros(count, bool), np.zeros(count, bool)
        for player in range(count) if playing is None else np.flatnonzero(playing):
            state, reward[player], ended[player], over[player] = self._stepped(player, actions[player])
            _put(following, player, state)
        self.states = _copied(following)
        for player in np.flatnonzero(over):
            self._episode[player] += 1
            _put(self.states, player, self._begun(player))
        return Stepped(following, reward, ended, over)

    def _stepped(self, player: int, action: np.ndarray) -> tuple[States, float, bool, bool]:
        state, reward, ended, truncated, _ = self._players[player].step(action)
        self._done[player].append(np.array(action))
        return _named(state), reward, ended, ended or truncated

    def _begun(self, player: int) -> States:
        self._done[player] = []
        seed = episode_seed(self._seeds[player], int(self._episode[player]))
        return _named(self._players[player].reset(seed=seed)[0])

    def _all_begun(self) -> States:
        begun = [self._begun(player) for player in range(len(self._seeds))]
        return {name: np.stack([one[name] for one in begun]) for name in begun[0]}

    def kept(self) -> dict[str, np.ndarray]:
        states = {f"{_STATE}{name}": part.copy() for name, part in self.states.items()}
        steps = np.array([len(own) for own in self._done])
        done = np.array([action for own in self._done for action in own])
        return {"episode": self._episode.copy(), "steps": steps, "done": done, **states}

    def restore(self, kept: dict[str, np.ndarray]) -> None:
        self._episode = kept["episode"].copy()
        self.states = self._all_begun()
        for player, done in enumerate(np.split(kept["done"], kept["steps"].cumsum()[:-1])):
            over = self._goes_again(player, done)
            same = all(
                np.array_equal(part[player], kept[f"{_STATE}{name}"][player]) for name, part in self.states.items()
            )
            if over or not same:
                self._episode[player] += 1
                _put(self.states, player, self._begun(player))

    def _goes_again(self, player: int, done: np.ndarray) -> bool:
        """Does the same again from the episode's beginning; whether the episode ends, which it had not."""
        for action in done:
            state, _, _, over = self._stepped(player, action)
            if over:
                return True
            _put(self.states, player, state)
        return False

    def close(self) -> None:
        for player in self._players:
            player.close()


def _named(state: np.ndarray | Mapping[str, np.ndarray]) -> States:
    """An environment's state by the names of networks' inputs."""
    return dict(state) if isinstance(state, Mapping) else {"vector" if state.ndim == 1 else "image": state}


def _put(states: States, player: int, state: States) -> None:
    for name, part in state.items():
        states[name][player] = part


def _copied(states: States) -> States:
    return {name: part.copy() for name, part in states.items()}
