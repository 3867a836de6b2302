"""Atari transitions: what is recorded is one step of the game, and it is each victim's own."""

from pathlib import Path

import numpy as np
import pytest

from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.sharing.private import withhold
from rlleak.sharing.victims import prepare_training
from rlleak.simulators import atari
from rlleak.simulators.environments import collect
from rlleak.simulators.transitions import Transitions


@pytest.fixture(scope="module")
def pong() -> Transitions:
    return collect("Pong", [0, 1, 2], 1, seed=5, gamma=0.9)


def test_a_state_is_four_frames_and_the_next_one_shifts_them(pong: Transitions) -> None:
    seen, following = pong.observation["image"], pong.next_observation["image"]
    assert seen.shape == (3, 4, 84, 84)
    np.testing.assert_array_equal(seen[:, 1:], following[:, :-1])
    assert (seen[:, -1] != following[:, -1]).any()


def test_a_victim_plays_its_own_game_whoever_plays_beside_it(pong: Transitions) -> None:
    alone = collect("Pong", [2], 1, seed=5, gamma=0.9)
    np.testing.assert_array_equal(alone.observation["image"][0], pong.observation["image"][2])
    assert alone.action[0] == pong.action[2]
    assert (pong.observation["image"][0] != pong.observation["image"][1]).any()
    other = collect("Pong", [2], 1, seed=6, gamma=0.9)
    assert (other.observation["image"] != alone.observation["image"]).any()


def test_the_network_reads_numbers_between_0_and_1(pong: Transitions) -> None:
    image = pong.observations()["image"]
    assert image.shape == (3, 4, 84, 84)
    assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_returns_count_what_is_still_to_come() -> None:
    played = collect("Breakout", [0, 1, 2], 8, seed=1, gamma=1.0)
    assert (played.return_to_go >= played.reward).all()
    assert played.return_to_go.max() >= 1


def test_a_file_comes_back_whole_and_a_spoilt_one_is_refused(pong: Transitions, tmp_path: Path) -> None:
    path = tmp_path / "pong.safetensors"
    pong.save(path)
    again = Transitions.load(path)
    assert again.environment == "Pong"
    np.testing.assert_array_equal(again.next_observation["image"], pong.next_observation["image"])
    with pytest.raises(CorruptArtefactError, match="'reward' is float64"):
        Transitions(**{**vars(pong), "reward": pong.reward.astype(np.float64)})


def test_a_game_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="unknown Atari game 'Pog'; did you mean 'Pong'"):
        atari.rom_of("Pog")
    assert atari.rom_of("SpaceInvaders") == "space_invaders"
    assert atari.rom_of("TicTacToe3D") == "tic_tac_toe_3d"


def test_the_first_victims_can_be_taken(pong: Transitions) -> None:
    assert pong.first(1, 2).victims == [0, 1]
    with pytest.raises(CorruptArtefactError, match="fewer than 2 transitions"):
        pong.first(2)


def test_what_is_withheld_of_a_game_names_its_victim_and_no_room_and_no_target(pong: Transitions) -> None:
    training = prepare_training(
        pong,
        learner="dqn",
        setting="Pong",
        architecture={
            "image_shape": [4, 84, 84],
            "convolutions": [{"channels": 2, "kernel": 8, "stride": 8}],
            "hidden": [8],
            "outputs": 6,
        },
        constants={"gamma": 0.9},
        network_seed=1,
        depth_limit=10.0,
    )
    private = withhold(*training, pong.layout, pong.victim, target=pong.target)
    assert private.victim.tolist() == [0, 1, 2]
    assert {"image", "action", "predicted_q"} <= set(private.components)
    assert not {"layout", "target", "vector"} & set(private.components)
