"""Experience: what is recorded, for whom, and that its file is checked."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from rlleak.artefacts import write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.simulators import layouts
from rlleak.simulators.active_perception import ACTIONS, observed_image
from rlleak.simulators.collector import CollectionOptions, collect_experience, collect_views
from rlleak.simulators.experience import Experience


def test_victims_take_turns_through_the_room_types_and_240_visit_each_layout_twice():
    visits = Counter(layouts.layout_of_victim(index) for index in range(240))
    assert visits == dict.fromkeys(layouts.PRIVATE_LAYOUTS, 2)
    assert [layouts.room_type_of(layouts.layout_of_victim(i)) for i in range(8)] == list(layouts.ROOM_TYPES) * 2


def test_any_first_victims_are_spread_over_the_layouts():
    for count in (8, 24, 60):
        kitchens = sorted(layouts.layout_of_victim(4 * i) for i in range(count // 4))
        assert np.diff([0, *kitchens, 31]).max() <= 2 * 31 / len(kitchens)


def test_the_attackers_layouts_are_never_private():
    public = {layouts.layout_of_victim(index, public=True) for index in range(400)}
    training, held_out = layouts.detector_layouts("rooms")
    assert not (public | set(training) | set(held_out)) & set(layouts.PRIVATE_LAYOUTS)
    assert not set(training) & set(held_out)
    assert {layouts.layout_of_victim(i, public=True, simulator="thor") for i in range(60)} == set(layouts.APARTMENTS)
    fewer = layouts.detector_layouts("rooms", 16, 8)
    assert [len(part) for part in fewer] == [16, 8]
    assert set(Counter(map(layouts.room_type_of, fewer[0])).values()) == {4}
    assert layouts.detector_layouts("rooms", 999, 999) == (training, held_out)


def test_each_state_shows_its_target_in_the_victims_own_layout(experience):
    assert experience.layout.tolist() == [layouts.layout_of_victim(index) for index in range(len(experience))]
    assert experience.room_type == [layouts.ROOM_TYPES[index % 4] for index in range(len(experience))]
    assert (experience.box[:, 2:] > experience.box[:, :2]).all()
    for room_type, target in zip(experience.room_type, experience.target_type, strict=True):
        assert target in layouts.targets_of("rooms")[room_type]


def test_the_reward_is_the_detectors_confidence_in_the_next_view(experience, detector):
    for index in range(len(experience)):
        expected = detector.confidence(experience.next_rgb[index], experience.target_type[index])
        assert experience.reward[index] == pytest.approx(expected, abs=1e-6)
    assert (experience.return_to_go >= experience.reward).all()


def test_stop_ends_the_episode_in_the_same_view(experience):
    stopped = experience.action == ACTIONS.index("Stop")
    assert np.array_equal(stopped, experience.terminated)
    same = (experience.rgb == experience.next_rgb).all((1, 2, 3))
    assert same[stopped].all()
    assert np.allclose(experience.return_to_go[stopped], experience.reward[stopped])


def test_a_victims_transition_does_not_depend_on_the_others(controller, detector, experience):
    again = collect_experience(controller, detector, [3, 1], seed=5, progress=False)
    assert again.victim.tolist() == [3, 1]
    expected = experience.select([3, 1])
    for name in ("rgb", "depth", "box", "next_rgb", "action", "reward", "return_to_go", "layout", "target"):
        assert np.array_equal(getattr(again, name), getattr(expected, name)), name


def test_public_experience_lives_in_public_rooms(controller, detector):
    public = collect_experience(controller, detector, [0], 5, CollectionOptions(public=True), progress=False)
    assert set(public.layout.tolist()) <= set(layouts.PUBLIC_LAYOUTS)


def test_observations_are_what_the_agent_saw(experience):
    for setting, channels in (("S1", 4), ("S2", 1)):
        for later in (False, True):
            batch = experience.observations(setting, 10.0, next=later)
            rgb, depth = (experience.next_rgb, experience.next_depth) if later else (experience.rgb, experience.depth)
            assert batch["image"].shape == (len(experience), channels, 150, 150)
            assert batch["vector"].shape == (len(experience), 4)
            assert np.array_equal(batch["image"][2].numpy(), observed_image(rgb[2], depth[2], setting, 10.0))
    assert experience.observations("S2", 0.5)["image"].max() == 1.0
    with pytest.raises(ConfigurationError, match="S1, S2"):
        experience.observations("S3")


def test_experience_survives_its_file(experience, tmp_path):
    experience.save(tmp_path / "experience.safetensors")
    again = Experience.load(tmp_path / "experience.safetensors")
    assert np.array_equal(again.rgb, experience.rgb)
    assert again.target_type == experience.target_type
    assert again.metadata["gamma"] == experience.metadata["gamma"] == 0.99


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("reward", lambda a: np.full_like(a, np.nan)),
        ("action", lambda a: a + 7),
        ("depth", lambda a: a[:, :-1]),
        ("rgb", lambda a: a.astype(np.float32)),
        ("target", lambda a: a + 1000),
        ("box", lambda a: a * 0),
    ],
)
def test_a_wrong_array_is_named(experience, field, change):
    with pytest.raises(CorruptArtefactError, match=field):
        replace(experience, **{field: change(getattr(experience, field))})


def test_a_truncated_or_foreign_file_is_named(experience, tmp_path):
    path = tmp_path / "experience.safetensors"
    experience.save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CorruptArtefactError, match="truncated"):
        Experience.load(path)
    write_tensors(path, "views", {"rgb": experience.rgb}, {})
    with pytest.raises(CorruptArtefactError, match="holds no experience"):
        Experience.load(path)


def test_views_label_every_target_in_sight(controller):
    views = collect_views(controller, [31, 431], 3, seed=1, progress=False)
    assert len(views) == 6
    assert views.types == layouts.target_types("rooms")
    assert len(views.boxes) > 0
    assert (views.boxes[:, 2:] > views.boxes[:, :2]).all()
    alone = collect_views(controller, [431], 3, seed=1, progress=False)
    assert np.array_equal(alone.rgb, views.of_layouts([431]).rgb)
