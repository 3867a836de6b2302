"""Active perception as a gymnasium environment over the real player."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators.active_perception import ACTIONS, STOP, ActivePerceptionEnv, TaskOptions, target_box
from rlleak.simulators.layouts import PRIVATE_LAYOUTS, room_type_of, targets_of


@pytest.fixture
def env(controller, detector):
    return ActivePerceptionEnv(controller, detector)


@pytest.mark.filterwarnings("ignore:.*A Box observation space:UserWarning")
@pytest.mark.parametrize("setting", ["S1", "S2"])
def test_gymnasium_approves(controller, detector, setting):
    env = ActivePerceptionEnv(controller, detector, setting, layouts=(1, 201), render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    assert env.render().shape == (150, 150, 3)


def test_a_reset_depends_on_its_seed_only(env):
    first, info = env.reset(seed=7)
    env.step(0)
    env.reset(seed=8)
    again, info_again = env.reset(seed=7)
    assert np.array_equal(first["image"], again["image"])
    assert np.array_equal(first["vector"], again["vector"])
    assert (info["layout"], info["pose"], info["target_id"]) == (
        info_again["layout"], info_again["pose"], info_again["target_id"],
    )  # fmt: skip


@pytest.mark.parametrize("layout", PRIVATE_LAYOUTS[::24])
def test_a_first_view_shows_a_target_that_belongs_to_the_room(env, layout):
    observation, info = env.reset(seed=layout, options={"layout": layout})
    assert info["layout"] == layout
    assert info["room_type"] == room_type_of(layout)
    assert info["target_type"] in targets_of("rooms")[room_type_of(layout)]
    assert info["target_pixels"] >= env.options.minimal_pixels
    x1, y1, x2, y2 = observation["vector"]
    assert -1 <= x1 < x2 <= 1
    assert -1 <= y1 < y2 <= 1


def test_a_target_can_be_asked_for_and_a_missing_one_is_named(env):
    _, info = env.reset(seed=0, options={"layout": 3, "target": "Fridge"})
    assert info["target_type"] == "Fridge"
    with pytest.raises(SimulatorError, match="layout 3 holds no Bathtub"):
        env.reset(seed=0, options={"layout": 3, "target": "Bathtub"})


def test_the_image_is_colour_and_depth_up_to_the_limit(controller, detector):
    env = ActivePerceptionEnv(controller, detector, "S1", options=TaskOptions(depth_limit=2.0))
    observation, info = env.reset(seed=3, options={"layout": 210})
    assert np.allclose(observation["image"][:3], info["rgb"].transpose(2, 0, 1) / 255.0)
    assert np.allclose(observation["image"][3], np.minimum(info["depth"] / 2.0, 1.0))
    other = ActivePerceptionEnv(controller, detector, "S2", options=TaskOptions(depth_limit=2.0))
    shallow, _ = other.reset(seed=3, options={"layout": 210})
    assert np.array_equal(shallow["image"][0], observation["image"][3])


def test_the_reward_is_the_detectors_confidence_in_the_new_view(env, detector):
    env.reset(seed=1)
    for action in range(6):
        _, reward, _, _, info = env.step(action)
        assert reward == detector.confidence(info["rgb"], info["target_type"])
        assert 0 <= reward <= 1


def test_actions_do_what_their_names_say(env):
    _, info = env.reset(seed=2)
    x, z, yaw, horizon = info["pose"]
    _, _, _, _, turned = env.step(ACTIONS.index("RotateRight"))
    assert turned["pose"] == pytest.approx((x, z, (yaw + 30) % 360, horizon))
    for name, direction in (("MoveAhead", 0), ("MoveRight", 90), ("MoveBack", 180), ("MoveLeft", 270)):
        before = turned["pose"]
        _, _, _, _, turned = env.step(ACTIONS.index(name))
        heading = np.radians(before[2] + direction)
        step = (0.25 * np.sin(heading), 0.25 * np.cos(heading)) if turned["action_success"] else (0, 0)
        assert turned["pose"][:2] == pytest.approx((before[0] + step[0], before[1] + step[1]))


def test_stop_leaves_the_view_and_ends_the_episode(env):
    first, _ = env.reset(seed=4)
    after, _, terminated, truncated, _ = env.step(STOP)
    assert np.array_equal(first["image"], after["image"])
    assert terminated
    assert not truncated
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_an_episode_is_cut_off_at_its_horizon(controller, detector):
    env = ActivePerceptionEnv(controller, detector, options=TaskOptions(horizon=3))
    env.reset(seed=5)
    outcomes = [env.step(ACTIONS.index("RotateLeft"))[2:4] for _ in range(3)]
    assert outcomes == [(False, False), (False, False), (False, True)]


def test_a_target_out_of_sight_has_an_empty_box(env):
    env.reset(seed=6)
    in_sight, boxed = [], []
    for _ in range(12):
        observation, _, _, _, info = env.step(ACTIONS.index("RotateRight"))
        in_sight.append(info["target_pixels"] > 0)
        boxed.append(bool(observation["vector"].any()))
    assert boxed == in_sight
    assert 0 < sum(in_sight) < 12, "a full turn shows the target in some views and not in others"


def test_an_unknown_setting_is_named(controller, detector):
    with pytest.raises(ConfigurationError, match="S1, S2"):
        ActivePerceptionEnv(controller, detector, "S3")


@given(st.integers(0, 149), st.integers(0, 149), st.integers(1, 150), st.integers(1, 150))
def test_a_box_has_the_edges_of_its_mask(column, row, width, height):
    mask = np.zeros((150, 150), bool)
    mask[row : row + height, column : column + width] = True
    box = (target_box(mask) + 1) / 2 * 150
    assert box == pytest.approx([column, row, min(column + width, 150), min(row + height, 150)], abs=1e-4)
    assert not target_box(np.zeros((4, 4), bool)).any()
