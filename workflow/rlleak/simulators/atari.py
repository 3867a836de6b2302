"""Atari games as deep Q-learning sees them: four grey frames of 84 x 84 (Mnih et al. 2015), through ale-py."""

import numpy as np
from ale_py import roms
from ale_py.registration import rom_id_to_name
from ale_py.vector_env import AtariVectorEnv

from rlleak.errors import ConfigurationError
from rlleak.registry import unknown_name
from rlleak.seeds import derive
from rlleak.simulators.transitions import Transitions

FRAMES, SIDE = 4, 84
WARM_UP = (20, 200)
"""Fewest and most random steps before a victim's transition: a game's first frames all look alike."""
_STEPS = 2**31 - 1


def rom_of(game: str) -> str:
    """ale-py's name of a game, 'Pong' -> 'pong'. Raises ConfigurationError for a game that ale-py does not hold."""
    known = {rom_id_to_name(rom): rom for rom in roms.get_all_rom_ids()}
    if game not in known:
        raise unknown_name("Atari game", game, list(known))
    return known[game]


def action_count(game: str) -> int:
    """How many actions the game has. Raises ConfigurationError for an unknown game."""
    environment = AtariVectorEnv(rom_of(game), 1)
    try:
        return int(environment.single_action_space.n)
    finally:
        environment.close()


def collect(game: str, victims: list[int], seed: int, *, gamma: float, look_ahead: int = 50) -> Transitions:
    """One transition of each victim under a random policy, each in a game of its own.

    Each victim's game and actions depend on its own number and the seed alone. Its return counts `look_ahead` rewards,
    with the game's rewards clipped to -1, 0, 1 as in Mnih et al. 2015. Raises ConfigurationError for an unknown game
    or no victims.
    """
    if not victims:
        raise ConfigurationError("no victims to play; set victims to at least 1")
    actions, warm_up = [], []
    count = action_count(game)
    for victim in victims:
        own = np.random.default_rng(derive(seed, game, victim))
        warm_up.append(int(own.integers(*WARM_UP)))
        actions.append(own.integers(count, size=WARM_UP[1] + look_ahead))
    environment = AtariVectorEnv(rom_of(game), len(victims), num_threads=1)
    try:
        starts = np.array([derive(seed, game, victim, "start") % _STEPS for victim in victims], np.int32)
        return _play(environment, game, np.array(victims), starts, np.stack(actions), np.array(warm_up), gamma)
    finally:
        environment.close()


def _play(
    environment: AtariVectorEnv,
    game: str,
    victims: np.ndarray,
    starts: np.ndarray,
    actions: np.ndarray,
    warm_up: np.ndarray,
    gamma: float,
) -> Transitions:
    rows = np.arange(len(victims))
    before = np.zeros((len(victims), FRAMES, SIDE, SIDE), np.uint8)
    after, terminated = before.copy(), np.zeros(len(victims), bool)
    rewards = np.zeros(actions.shape, np.float32)
    alive, restarts = np.ones(len(victims), bool), np.zeros(len(victims), bool)
    frames, _ = environment.reset(seed=starts)
    for step in range(actions.shape[1]):
        # The step after a game's end only starts the next one: no transition, so the victim's comes one step later.
        warm_up = np.where(restarts & (step == warm_up), warm_up + 1, warm_up)
        now = step == warm_up
        before[now] = frames[now]
        frames, reward, over, cut, _ = environment.step(actions[:, step])
        after[now], terminated[now] = frames[now], over[now]
        rewards[:, step] = np.where((step >= warm_up) & alive, np.sign(reward), 0)
        # A game that ended before its transition starts again; one that ends after it earns nothing more.
        restarts = over | cut
        alive &= ~(restarts & (step >= warm_up))
    ages = np.arange(actions.shape[1]) - warm_up[:, None]
    discounts = np.where(ages >= 0, gamma ** np.maximum(ages, 0), 0).astype(np.float32)
    return Transitions(
        environment=game,
        observation={"image": before},
        next_observation={"image": after},
        action=actions[rows, warm_up].astype(np.int64),
        reward=rewards[rows, warm_up],
        return_to_go=(rewards * discounts).sum(axis=1).astype(np.float32),
        terminated=terminated,
        victim=victims.astype(np.int64),
    )
