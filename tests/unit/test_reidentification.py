"""Whose home is it: the onlooker finds rooms by look and by shape, never sees a victim, and counts no tie as found."""

from dataclasses import replace

import numpy as np
import published_samples as samples
import pytest
import torch

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.metrics import METRICS
from rlleak.metrics.localisation import locate, restored, scan, stored
from rlleak.metrics.matcher_training import train_matcher
from rlleak.metrics.onlooker import Matcher, Onlooker, rank_of, remember
from rlleak.metrics.scoring import score
from rlleak.metrics.target_classifier import TargetClassifier, cut_out, train_target_classifier
from rlleak.publishing import TABLES
from rlleak.sharing.private import PrivateSide
from rlleak.simulators.collector import VIEW_HORIZONS, collect_views
from rlleak.simulators.layouts import PRIVATE_LAYOUTS, candidate_layouts, detector_layouts, layout_of_victim
from rlleak.simulators.photographs import Photographs, photograph

OURS = [name for name in METRICS if name.startswith(("room_top", "target_top"))]
EYE, FIELD = 1.575, 90.0
_PIXELS = 150
TILTS = (0.0, 30.0)
CANDIDATES = 8  # as many as there are victims


def _depth(walls: tuple[float, float], block: tuple[float, float], x: float, z: float, yaw: float, tilt: float):
    """What a camera at (x, z) sees, metres, in a room of some width and length, 2.5 m high, with a block of
    1 x 1 x 1 m in one place: the nearest of the planes that each ray meets."""
    steps = (2 * (np.arange(_PIXELS) + 0.5) / _PIXELS - 1) * np.tan(np.radians(FIELD / 2))
    right, up = np.meshgrid(steps, -steps)
    y = up * np.cos(np.radians(tilt)) - np.sin(np.radians(tilt))
    ahead = up * np.sin(np.radians(tilt)) + np.cos(np.radians(tilt))
    turn = np.radians(yaw)
    ray = np.stack([right * np.cos(turn) + ahead * np.sin(turn), y, ahead * np.cos(turn) - right * np.sin(turn)], -1)
    eye = np.array([x, EYE, z])
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (np.array([[0.0, 0.0, 0.0], [walls[0], 2.5, walls[1]]])[:, None, None] - eye) / ray
        room = np.where(ends > 1e-9, ends, np.inf).min((0, 3))
        low = np.array([block[0], 0.0, block[1]])
        entry, leave = np.sort(np.stack([(low - eye) / ray, (low + 1.0 - eye) / ray]), axis=0)
        first, last = entry.max(-1), leave.min(-1)
    return np.where((first < last) & (first > 0), np.minimum(room, first), room).astype(np.float32)


HOMES = {  # walls and block, metres
    1: ((4.0, 5.0), (2.5, 3.5)),
    2: ((4.6, 3.8), (0.2, 2.2)),
    3: ((5.5, 4.4), (2.5, 2.5)),
    4: ((3.0, 3.5), (1.8, 2.2)),
}


@pytest.fixture(scope="module")
def scans():
    made = []
    for layout, (walls, block) in HOMES.items():
        poses = [(x, z, yaw, 15.0) for x, z in ((0.5, 0.5), (walls[0] - 0.4, 0.6)) for yaw in (10, 100, 190, 280)]
        depth = np.stack([_depth(walls, block, *pose) for pose in poses])
        camera = np.array([(x, EYE, z, yaw, tilt) for x, z, yaw, tilt in poses], np.float32)
        made.append(scan(depth, camera, FIELD, layout))
    return made


@pytest.mark.parametrize(("x", "z", "yaw", "tilt"), [(1.1, 1.3, 30.0, 0.0), (1.6, 0.9, 12.0, 30.0)])
def test_a_depth_image_is_located_in_its_own_room_from_a_pose_that_no_photograph_has(scans, x, z, yaw, tilt):
    images = np.stack([_depth(*HOMES[layout], x, z, yaw, tilt) for layout in HOMES])
    fits = locate(torch.from_numpy(images), scans, FIELD, TILTS)
    assert fits.argmax(1).tolist() == [0, 1, 2, 3]
    noisy = torch.from_numpy(images) + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert locate(noisy, scans, FIELD, TILTS).argmax(1).tolist() == [0, 1, 2, 3]


def test_scans_come_back_from_their_file_as_they_went(scans):
    for before, after in zip(scans, restored(stored(scans)), strict=True):
        assert before.layout == after.layout
        assert before.eye == pytest.approx(after.eye)
        assert torch.equal(before.distance, after.distance)
        assert torch.equal(before.corner, after.corner)


def test_the_robot_stands_where_nothing_is():
    (walls, block) = HOMES[1]
    poses = [(0.5, 0.5, yaw, 30.0) for yaw in range(0, 360, 45)]
    depth = np.stack([_depth(walls, block, *pose) for pose in poses])
    camera = np.array([(x, EYE, z, yaw, tilt) for x, z, yaw, tilt in poses], np.float32)
    room = scan(depth, camera, FIELD, 1)
    metres = room.places().numpy() * 0.1 + room.corner[[0, 2]].numpy()
    assert len(metres) > 10
    assert ((metres > -0.1) & (metres < walls)).all()
    visible_sides = (metres[:, 0] > block[0] - 0.05) & (metres[:, 0] < block[0] + 0.1) & (metres[:, 1] > block[1])
    assert not (visible_sides & (metres[:, 1] < block[1] + 1)).any()


def test_a_tie_is_no_find():
    scores = torch.tensor([[0.3, 0.3, 0.3], [0.1, 0.9, 0.2], [0.5, 0.9, 0.7]])
    assert rank_of(scores, torch.tensor([1, 1, 0])).tolist() == [3, 1, 3]
    assert rank_of(torch.tensor([[float("nan"), 0.1, 0.2]] * 2), torch.tensor([0, 2])).tolist() == [3, 2]


def test_candidates_hold_every_victims_room_and_at_most_all_private_ones():
    assert set(candidate_layouts(8)) == {layout_of_victim(index) for index in range(8)}
    assert set(candidate_layouts(120)) == set(PRIVATE_LAYOUTS)
    with pytest.raises(ConfigurationError, match="not 121"):
        candidate_layouts(121)


def test_targets_are_told_apart_by_what_is_in_the_box():
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.random((300, 4, 60, 60))).float() * 0.3
    kind = torch.from_numpy(generator.integers(2, size=300))
    corners = generator.integers(2, 40, (300, 2))
    boxes = torch.from_numpy(np.concatenate([corners, corners + 15], 1)).float() / 30 - 1
    for index, (left, top) in enumerate(corners):
        images[index, int(kind[index]), top : top + 15, left : left + 15] += 0.6
        # The other kind stands elsewhere: only the box says which one is meant.
        images[index, 1 - int(kind[index]), (top + 30) % 45 :][:15, (left + 30) % 45 :][:, :15] += 0.6
    taught = torch.arange(200)
    classifier = train_target_classifier(images[:200], taught, boxes[:200], kind[:200], 2, epochs=6, seed=0)
    rank = rank_of(classifier.scores(images[200:], boxes[200:]), kind[200:])
    assert (rank == 1).mean() > 0.9
    again = TargetClassifier.of(classifier.tensors)
    assert torch.equal(again.scores(images[200:], boxes[200:]), classifier.scores(images[200:], boxes[200:]))
    assert torch.isfinite(classifier.scores(images[200:], None)).all()


def test_a_box_is_cut_out_whichever_way_its_corners_are_named():
    image = torch.zeros(1, 1, 40, 40)
    image[..., 10:20, 20:30] = 1.0
    cut = cut_out(image, torch.tensor([[0.0, -0.5, 0.5, 0.0]]))
    assert cut[0, 0, 8:32, 8:32].mean() > 0.95
    assert cut[0, 0, :5].abs().max() == 0


@pytest.fixture(scope="module")
def homes(controller):
    return photograph(controller, candidate_layouts(CANDIDATES), 8, seed=1, progress=False)


@pytest.fixture(scope="module")
def public(controller):
    """(views to learn from, views to be scored on, photographs of the latter's rooms)."""
    training, held_out = detector_layouts("rooms", 8, 4)
    views = [collect_views(controller, layouts, 4, seed=2, progress=False) for layouts in (training, held_out)]
    return *views, photograph(controller, held_out, 8, seed=3, progress=False)


@pytest.fixture(scope="module")
def onlookers(public, homes):
    made = {}
    for setting in ("S1", "S2"):
        matcher = train_matcher(*public, setting=setting, depth_limit=10.0, tilts=VIEW_HORIZONS, epochs=2, seed=0)
        made[setting] = remember(matcher, homes, TILTS)
    return made


@pytest.fixture(scope="module")
def private(experience):
    """True transitions of the first victims, by setting."""
    known = {name: torch.from_numpy(getattr(experience, name)) for name in ("action", "layout", "victim", "target")}
    seen = {setting: experience.observations(setting) for setting in ("S1", "S2")}
    return {setting: PrivateSide(**known, **observation) for setting, observation in seen.items()}


def _scored(private, onlooker, setting, **claims):
    reconstruction = Reconstruction(**claims, metadata={"attack": "qgi", "seconds_per_victim": 1.0})
    place = {"simulator": "rooms", "scale": "smoke", "learner": "dqn", "network": "mnih2015", "setting": setting}
    place |= {
        "seed": 0,
        "attack": "qgi",
        "batch": 1,
        "actions": "any",
        "precision": "float32",
        "defence": "none",
        "policy": "random",
    }
    table = score(reconstruction, private, place, samples.network(setting, 150), onlooker=onlooker)
    return {
        name: table.loc[table["metric"] == name, "value"].to_numpy() for name in OURS if name in set(table["metric"])
    }


@pytest.mark.parametrize("setting", ["S1", "S2"])
def test_true_images_find_their_rooms_and_a_blank_image_finds_none(private, onlookers, setting):
    truth = private[setting]
    exact = _scored(truth, onlookers[setting], setting, image=truth.image.clone(), vector=truth.vector.clone())
    assert set(exact) == set(OURS)
    assert exact["room_top1"].mean() >= 0.5 > 3 * exact["room_top1_chance"].mean()
    for name in ("room_top1", "room_top5", "target_top1", "target_top5"):
        assert (exact[name] == exact[f"{name}_truth"]).all()
    assert (exact["room_top1_chance"] == 1 / CANDIDATES).all()
    assert (exact["room_top5_chance"] == 5 / CANDIDATES).all()
    assert (exact["target_top1_chance"] == 1 / 16).all()
    # Who holds nothing says the same of everybody: right about one room at most, and NaN is nothing.
    nothing = torch.full_like(truth.image, torch.nan)
    blank = _scored(truth, onlookers[setting], setting, image=nothing)
    assert blank["room_top1"].sum() <= 1
    assert (blank["room_top1_truth"] == exact["room_top1_truth"]).all()


def test_without_an_onlooker_or_an_image_nothing_is_said(private, onlookers):
    truth = private["S1"]
    assert not _scored(truth, None, "S1", image=truth.image.clone())
    assert not _scored(truth, onlookers["S1"], "S1", vector=truth.vector.clone())
    assert not _scored(private["S2"], onlookers["S1"], "S2", image=private["S2"].image.clone())


def test_a_room_without_photographs_is_an_error_and_not_a_miss(private, onlookers):
    elsewhere = replace(private["S1"], layout=torch.full((CANDIDATES,), layout_of_victim(CANDIDATES)))
    with pytest.raises(ConfigurationError, match=r"candidates\.rooms"):
        _scored(elsewhere, onlookers["S1"], "S1", image=elsewhere.image.clone())


def test_an_onlooker_comes_back_from_its_file_with_the_same_opinions(private, onlookers, tmp_path):
    onlookers["S1"].save(tmp_path / "onlooker.safetensors", provenance={})
    again, images = Onlooker.load(tmp_path / "onlooker.safetensors"), private["S1"].image[:2]
    assert torch.equal(again.rooms(images), onlookers["S1"].rooms(images))
    with pytest.raises(CorruptArtefactError, match="holds no matcher"):
        Matcher.load(tmp_path / "onlooker.safetensors")


def test_photographs_stand_in_no_victims_place_and_depend_on_seed_and_layout_alone(
    controller, homes, private, tmp_path
):
    again = photograph(controller, candidate_layouts(CANDIDATES)[3:4], 8, seed=1, progress=False)
    mine = homes.layout == again.layout[0]
    assert np.array_equal(homes.rgb[mine], again.rgb)
    assert np.array_equal(homes.camera[mine], again.camera)
    homes.save(tmp_path / "homes.safetensors")
    back = Photographs.load(tmp_path / "homes.safetensors")
    assert np.array_equal(back.depth, homes.depth)
    assert back.field_of_view == 90.0
    for image, layout in zip(private["S2"].image, private["S2"].layout, strict=True):
        shown = torch.from_numpy(np.clip(homes.depth[homes.layout == int(layout)] / np.float32(10), 0, 1))
        assert (shown - image).abs().mean((1, 2)).min() > 1e-3


def test_who_is_scored_on_rooms_learnt_from_is_refused(public):
    views, _, photographs = public
    with pytest.raises(ConfigurationError, match="trained on"):
        train_matcher(views, views, photographs, setting="S2", depth_limit=10.0, tilts=TILTS, epochs=1, seed=0)


def test_the_table_says_how_sure_a_share_is_and_bounds_it_by_truth_and_chance():
    experiment = samples.experiment("beyond_reidentification")
    found = {"qgi": 2, "best": 7, "prior_only": 0}
    values = {}
    for setting in ("S1", "S2"):
        for attack, rooms in found.items():
            for metric in experiment.metrics:
                right = 8 if metric.endswith("_truth") else rooms
                column = np.full(8, 1 / 120) if metric.endswith("_chance") else (np.arange(8) < right).astype(float)
                values[("dqn", attack, setting, metric)] = np.zeros(8) if metric == "failed" else column
    made = TABLES.load("reidentification")(samples.rows(values), experiment)
    shown = {row.labels: row.cells for row in made.rows}
    assert len(shown) == 2 * (len(found) + 2)
    peel = shown[("S1", "best")]["room, first guess"]
    assert peel.value == 7 / 8
    assert peel.text == "0.88 [0.47, 1.00]"  # scipy.stats.binomtest(7, 8).proportion_ci()
    assert shown[("S1", "the true image")]["room, first guess"].value == 1.0
    assert shown[("S2", "nothing (chance)")]["room, first guess"].value == 1 / 120
