"""The detector learns from labelled views, is scored on others, and its file is checked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlleak.artefacts import write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.simulators.detector import Detector
from rlleak.simulators.detector_scores import average_precision, box_iou, score_detector
from rlleak.simulators.detector_training import Labels, train_detector
from rlleak.simulators.views import Views

TYPES = ("Disc", "Square")
SIDE = 64


def _views(count: int, layout: int, seed: int) -> Views:
    """Grey noise with at most one red square and at most one blue disc each."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(90, 160, (count, SIDE, SIDE, 3)).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = []
    for view in range(count):
        for kind, colour in enumerate(((30, 40, 220), (210, 40, 30))):
            if rng.random() < 0.6:
                radius, (cx, cy) = rng.integers(5, 12), rng.integers(13, SIDE - 13, 2)
                across, down = np.abs(x - cx), np.abs(y - cy)
                mask = np.hypot(across, down) <= radius if kind == 0 else np.maximum(across, down) <= radius
                rgb[view][mask] = colour
                labels.append((view, kind, mask))
    masks = [mask for _, _, mask in labels]
    edges = [(np.flatnonzero(mask.any(0))[[0, -1]], np.flatnonzero(mask.any(1))[[0, -1]]) for mask in masks]
    boxes = [(c[0], r[0], c[1] + 1, r[1] + 1) for c, r in edges]
    return Views(
        rgb=rgb,
        depth=np.ones((count, SIDE, SIDE), np.float32),
        layout=np.full(count, layout, np.int64),
        boxes=(np.array(boxes, np.float32) / SIDE * 2 - 1).reshape(-1, 4),
        view=np.array([view for view, _, _ in labels], np.int64),
        kind=np.array([kind for _, kind, _ in labels], np.int64),
        pixels=np.array([mask.sum() for mask in masks], np.int64),
        types=TYPES,
    )


@pytest.fixture(scope="module")
def trained():
    return train_detector(_views(160, 31, 0), _views(60, 76, 1), epochs=14, seed=0, batch_size=8, progress=False)


def test_it_finds_what_it_was_taught_in_views_it_has_not_seen(trained):
    _, scores = trained
    assert scores["mAP50"] > 0.8
    assert scores["held_out_layouts"] == 1
    for name in TYPES:
        assert scores["confidence_visible"][name] > scores["confidence_absent"][name] + 0.3


def test_its_confidence_is_a_number_from_zero_to_one_for_every_type(trained):
    detector, _ = trained
    rgb = _views(1, 76, 2).rgb[0]
    assert all(0.0 <= detector.confidence(rgb, name) <= 1.0 for name in TYPES)
    with pytest.raises(ConfigurationError, match="Disc, Square"):
        detector.confidence(rgb, "Mug")


def test_its_boxes_lie_on_the_objects(trained):
    detector, _ = trained
    views = _views(30, 76, 3)
    found = detector.detect(views.rgb)
    best = [
        box_iou(
            views.boxes[label][None], found[views.view[label]]["boxes"][found[views.view[label]]["kinds"] == kind]
        ).max()
        for label, kind in enumerate(views.kind)
    ]
    assert np.median(best) > 0.6


def test_a_saved_detector_says_the_same(trained, tmp_path):
    detector, _ = trained
    detector.save(tmp_path / "detector.safetensors")
    again = Detector.load(tmp_path / "detector.safetensors")
    rgb = _views(4, 76, 4).rgb
    assert again.types == detector.types
    assert np.array_equal(again.confidences(rgb), detector.confidences(rgb))


def test_the_same_seed_gives_the_same_detector():
    views = _views(16, 31, 5)
    first, second = (train_detector(views, epochs=1, seed=3, progress=False)[0] for _ in range(2))
    other, _ = train_detector(views, epochs=1, seed=4, progress=False)
    assert np.array_equal(first.confidences(views.rgb), second.confidences(views.rgb))
    assert not np.array_equal(first.confidences(views.rgb), other.confidences(views.rgb))


def test_it_refuses_to_be_scored_where_it_was_trained():
    views = _views(8, 31, 6)
    with pytest.raises(ConfigurationError, match="31"):
        train_detector(views, views, epochs=1, seed=0)


def test_a_file_that_is_no_detector_is_named(tmp_path):
    write_tensors(tmp_path / "other.safetensors", "experience", {"a": torch.zeros(3)}, {})
    with pytest.raises(CorruptArtefactError, match="holds no detector but experience"):
        Detector.load(tmp_path / "other.safetensors")
    write_tensors(tmp_path / "broken.safetensors", "detector", {"a": torch.zeros(3)}, {"types": ["Mug"]})
    with pytest.raises(CorruptArtefactError, match="does not fit"):
        Detector.load(tmp_path / "broken.safetensors")


def test_a_mirrored_view_has_mirrored_labels():
    labels = Labels(_views(12, 31, 7))
    indices = np.arange(12)
    heat, sides, weight = labels.draw(indices, np.zeros(12, bool))
    mirrored = labels.draw(indices, np.ones(12, bool))
    assert torch.allclose(mirrored[0], heat.flip(3), atol=1e-5)
    assert torch.allclose(mirrored[2], weight.flip(2), atol=1e-5)
    swapped = sides.flip(3)[:, [2, 1, 0, 3]]
    everywhere = (weight.flip(2) > 0.35)[:, None].expand_as(swapped)
    assert torch.allclose(mirrored[1][everywhere], swapped[everywhere], atol=1e-3)


def test_average_precision_is_one_for_perfect_and_zero_for_useless_detections():
    scores = np.array([0.9, 0.8, 0.7])
    assert average_precision(scores, np.array([True, True, True]), 3) == 1.0
    assert average_precision(scores, np.zeros(3, bool), 3) == 0.0
    assert average_precision(scores, np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert np.isnan(average_precision(scores, np.zeros(3, bool), 0))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(1, 40))
def test_average_precision_lies_between_zero_and_one_and_a_sure_hit_never_hurts(found, missed):
    scores, correct = np.array([s for s, _ in found]), np.array([c for _, c in found], bool)
    objects = int(correct.sum()) + missed
    value = average_precision(scores, correct, objects)
    assert 0.0 <= value <= 1.0
    assert average_precision(np.append(scores, 2.0), np.append(correct, True), objects) >= value - 1e-12


def test_each_object_counts_once_and_small_ones_not_at_all():
    views = _views(20, 76, 8)

    class Oracle(Detector):
        def confidences(self, rgb):
            return np.ones((len(rgb), 2), np.float32)

        def detect(self, rgb, most=20):
            of_view = [np.flatnonzero(views.view == index) for index in range(len(rgb))]
            twice = [np.concatenate([labels, labels]) for labels in of_view]
            return [
                {"boxes": views.boxes[t], "kinds": views.kind[t], "scores": np.repeat([0.9, 0.5], len(t) // 2)}
                for t in twice
            ]

    assert score_detector(Oracle(TYPES), views)["mAP50"] == 1.0
    views.pixels[::2] = 5
    scores = score_detector(Oracle(TYPES), views)
    assert sum(scores["objects"].values()) == len(views.boxes) // 2


def test_views_survive_their_file_and_layouts_can_be_taken_out(tmp_path):
    one, other = _views(5, 31, 9), _views(7, 76, 10)
    joined = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("rgb", "depth", "layout", "boxes", "kind", "pixels")
    }
    views = Views(**joined, view=np.concatenate([one.view, other.view + 5]), types=TYPES)
    views.save(tmp_path / "views.safetensors")
    again = Views.load(tmp_path / "views.safetensors")
    assert np.array_equal(again.rgb, views.rgb)
    assert again.types == TYPES
    part = again.of_layouts([76])
    assert len(part) == 7
    assert np.array_equal(part.boxes, _views(7, 76, 10).boxes)
    assert np.array_equal(part.view, _views(7, 76, 10).view)
