"""Environments of the study of transitions: what is said of them holds, and what they are asked for they give."""

from pathlib import Path
from typing import get_args

import gymnasium
import numpy as np
import pytest

from rlleak.configuration.axes import CHANNELS, Setting, channels_of, inputs_of
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.errors import ConfigurationError, CorruptArtefactError, SimulatorError
from rlleak.learners.specification import NetworkSpec
from rlleak.simulators import environments
from rlleak.simulators.environments import collect, make, returns_of, successor
from rlleak.simulators.transitions import Transitions

CONTROL = [name for name, environment in ENVIRONMENTS.items() if environment.kind == "control"]
ONE_OF_EACH = ["Hopper", "Qbert", "CarRacingContinuous", "FrozenLake", "CartPole"]


def state_of(played: Transitions, following: bool = False) -> np.ndarray:
    (state,) = (played.next_observation if following else played.observation).values()
    return state


def test_every_environment_is_a_setting_and_no_other_but_the_rooms() -> None:
    assert set(get_args(Setting)) == {*CHANNELS, *ENVIRONMENTS}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_network_can_be_built_on_every_environments_inputs(name: str) -> None:
    environment = ENVIRONMENTS[name]
    value, actor = (NetworkSpec(hidden=(8,), **inputs) for inputs in (inputs_of(name), environment.actor_inputs))
    assert actor.linear_inputs == environment.state_size
    assert value.linear_inputs == environment.state_size + environment.actions * environment.continuous
    assert value.outputs == (1 if environment.continuous else environment.actions)
    assert len(channels_of(name)) == (environment.image_shape or (0,))[0]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_is_said_of_an_environment_is_what_it_is(name: str) -> None:
    environment, simulator = ENVIRONMENTS[name], make(name)
    states, actions = simulator.observation_space, simulator.action_space
    simulator.close()
    assert states.shape == (environment.image_shape or (environment.vector_size,))
    assert states.dtype == (np.float32 if environment.image_shape is None else np.uint8)
    if environment.continuous:
        assert actions == gymnasium.spaces.Box(-1.0, 1.0, (environment.actions,), np.float32)
    else:
        assert actions.n == environment.actions


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_victims_life_is_its_own_whoever_lives_beside_it(name: str) -> None:
    together, alone = collect(name, [0, 1], 3, 5, gamma=0.9), collect(name, [1], 3, 5, gamma=0.9)
    assert together.victim.tolist() == [0, 0, 0, 1, 1, 1]
    for side in (False, True):
        np.testing.assert_array_equal(state_of(together, side)[3:], state_of(alone, side))
    np.testing.assert_array_equal(together.action[3:], alone.action)
    np.testing.assert_array_equal(together.return_to_go[3:], alone.return_to_go)
    assert (state_of(together)[:3] != state_of(alone)).any()


def test_another_seed_is_another_life() -> None:
    one, other = (state_of(collect("Walker2d", [1], 3, seed, gamma=0.9)) for seed in (5, 6))
    assert (one != other).any()


def test_transitions_of_a_victim_are_spread_over_its_life_in_no_order() -> None:
    counter = Counting()
    lived = environments._lived(counter, environments._Life(10, 60, 2, 0), 3, lambda state, own: 0, 20, 0.5)
    # A state is (episode, step); episodes last 30 steps, of which the first 10 are skipped.
    steps = [tuple(row["observation"].astype(int)) for row in lived]
    assert len(set(steps)) == 20
    assert steps != sorted(steps)
    assert min(step for _, step in steps) >= 10
    assert len({episode for episode, _ in steps}) >= 3
    for row in lived:
        left = 30 - int(row["observation"][1])
        assert (row["next_observation"] == row["observation"] + [0, 1]).all()
        # Rewards of 1 to the end of the episode; of the last one, as far as it was played.
        assert row["return_to_go"] <= np.float32(2 - 2 * 0.5**left)
        assert row["terminated"] == (left == 1)
    ended = [row["return_to_go"] == np.float32(2 - 2 * 0.5 ** (30 - row["observation"][1])) for row in lived]
    assert sum(ended) >= 10


def test_episodes_that_are_too_short_are_named() -> None:
    with pytest.raises(SimulatorError, match="within 30 steps"):
        environments._lived(Counting(), environments._Life(30, 1, 1, 0), 3, lambda state, own: 0, 1, 0.5)


class Counting(gymnasium.Env):
    """States count episodes and steps; an episode has 30."""

    episode = -1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        self.episode, self.step_number = self.episode + 1, 0
        return self._state(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.step_number += 1
        return self._state(), 1.0, self.step_number == 30, False, {}

    def _state(self) -> np.ndarray:
        return np.array([self.episode, self.step_number], np.float32)


@pytest.mark.parametrize("name", [*CONTROL, "FrozenLake", "CartPole"])
def test_the_simulator_put_into_a_victims_state_goes_where_the_victim_went(name: str) -> None:
    played = collect(name, range(3), 60, 7, gamma=0.9)
    seen, went = state_of(played), state_of(played, following=True)
    reached = successor(name, seen, played.action)
    # Hopper and Walker2d observe velocities clipped to 10: of those that were beyond, nobody knows what followed.
    known = (np.abs(seen) < 10).all(axis=1)
    assert known.sum() > 30
    np.testing.assert_allclose(reached[known], went[known], atol=1e-4)
    assert np.abs(reached - seen).max() > 0.1
    backwards = successor(name, seen[::-1], played.action[::-1])[::-1]
    np.testing.assert_array_equal(backwards, reached)


def test_a_state_that_cannot_go_on_is_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    states = np.zeros((4, 11), np.float32)
    states[:, 0] = 1.25
    states[1, 7], states[2, 7] = np.nan, 1e12
    reached = successor("Hopper", states, np.zeros((4, 3), np.float32))
    assert np.isfinite(reached).all(axis=1).tolist() == [True, False, False, True]
    np.testing.assert_array_equal(reached[0], reached[3])
    assert not list(tmp_path.iterdir())  # MuJoCo's log of warnings


def test_images_have_no_successor_and_shapes_that_do_not_fit_are_named() -> None:
    assert successor("Pong", np.zeros((1, 4, 84, 84)), np.zeros(1, np.int64)) is None
    assert successor("CarRacing", np.zeros((1, 3, 96, 96)), np.zeros(1, np.int64)) is None
    with pytest.raises(ConfigurationError, match=r"Hopper: states \(2, 17\) .* expected \(N, 11\) and \('N', 3\)"):
        successor("Hopper", np.zeros((2, 17)), np.zeros((2, 3)))


def test_a_policy_chooses_what_is_done() -> None:
    right = collect("FrozenLake", [0], 4, 1, gamma=0.9, policy=lambda state, own: 2)
    assert right.action.tolist() == [2] * 4
    # Right, and ever on at the wall: nothing is won. Down, down, right, down, right, right wins.
    assert returns_of("FrozenLake", lambda state, own: 2, 2, 0).tolist() == [0, 0]
    way = {0: 1, 4: 1, 8: 2, 9: 1, 13: 2, 14: 2}
    assert returns_of("FrozenLake", lambda state, own: way[int(state.argmax())], 2, 0).tolist() == [1, 1]
    assert returns_of("FrozenLake", lambda state, own: way[int(state.argmax())], 1, 0, horizon=5).tolist() == [0]


def test_continuous_actions_come_back_from_a_file_and_spoilt_ones_are_refused(tmp_path: Path) -> None:
    played = collect("CarRacingContinuous", [0], 2, 1, gamma=0.9)
    played.save(tmp_path / "driven.safetensors")
    again = Transitions.load(tmp_path / "driven.safetensors")
    np.testing.assert_array_equal(again.action, played.action)
    assert again.first(1).action.shape == (1, 3)
    with pytest.raises(CorruptArtefactError, match=r"not in \[-1, 1\]"):
        Transitions(**{**vars(played), "action": played.action * 5})
    with pytest.raises(CorruptArtefactError, match="'action' is float64"):
        Transitions(**{**vars(played), "action": played.action.astype(np.float64)})
    with pytest.raises(CorruptArtefactError, match="not finite"):
        Transitions(**{**vars(played), "action": played.action * np.float32(np.nan)})


def test_what_is_not_installed_or_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="unknown environment 'Hoper'; did you mean 'Hopper'"):
        make("Hoper")
    with pytest.raises(ConfigurationError, match="nothing to collect in Hopper"):
        collect("Hopper", [], 1, 0, gamma=0.9)
    monkeypatch.setattr(environments, "find_spec", lambda module: None)
    with pytest.raises(SimulatorError, match=r"CarRacing needs gymnasium\[box2d\], .*: pip install 'gymnasium"):
        collect("CarRacing", [0], 1, 0, gamma=0.9)
