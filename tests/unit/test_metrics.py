"""Scores say how close a reconstruction is, as the paper measures it, and never lose a failure."""

from dataclasses import replace

import numpy as np
import published_samples as samples
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlleak.errors import CorruptArtefactError
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.metrics import METRICS
from rlleak.metrics.comparison import compare, pixels_read
from rlleak.metrics.images import luma, psnr, rescaled, ssim
from rlleak.metrics.long_table import COLUMNS
from rlleak.metrics.scoring import score
from rlleak.metrics.values import box_iou, percentage_error

MNIH2015 = NetworkSpec.model_validate(
    {
        "image_shape": [4, 150, 150],
        "vector_size": 4,
        "vector_width": 64,
        "convolutions": [
            {"channels": 32, "kernel": 8, "stride": 4},
            {"channels": 64, "kernel": 4, "stride": 2},
            {"channels": 64, "kernel": 3, "stride": 1},
        ],
        "outputs": 7,
    }
)
AXES = {
    **{"simulator": "rooms", "scale": "reduced", "learner": "dqn", "network": "mnih2015"},
    **{"setting": "S1", "seed": 0, "attack": "qgi"},
    **{"batch": 1, "actions": "any", "precision": "float32", "defence": "none", "policy": "random"},
}


@pytest.fixture(scope="module")
def private():
    return samples.private_side([0, 1, 2, 3])


@pytest.fixture(scope="module")
def exact(private):
    return samples.reconstruction_of(private, noise=0.0)


def values(table, metric):
    return table.loc[table["metric"] == metric, "value"].to_numpy()


def test_psnr_of_a_constant_error_is_minus_twenty_log_of_it():
    true = np.full((20, 20), 0.5)
    assert psnr(true, true + 0.1) == pytest.approx(20.0)
    assert psnr(true, true - 0.01) == pytest.approx(40.0)


def test_psnr_of_equal_images_is_the_limit_and_not_infinite():
    image = np.random.default_rng(0).random((20, 20))
    assert psnr(image, image) == 100.0
    assert psnr(image, image + 1e-9) == 100.0


def test_luma_spans_zero_to_one_and_weighs_green_most():
    white, black = np.ones((3, 2, 2)), np.zeros((3, 2, 2))
    assert luma(white) == pytest.approx(1.0)
    assert luma(black) == pytest.approx(0.0)
    weights = [luma(np.eye(3)[colour].reshape(3, 1, 1)).item() for colour in range(3)]
    assert weights == pytest.approx([0.299, 0.587, 0.114], abs=1e-4)


def test_ssim_uses_the_gaussian_window_of_the_cited_paper():
    rng = np.random.default_rng(0)
    true = rng.random((40, 40))
    noisy = np.clip(true + 0.1 * rng.standard_normal((40, 40)), 0, 1)
    from scipy.ndimage import gaussian_filter

    blur = lambda image: gaussian_filter(image, 1.5, truncate=3.5)  # noqa: E731
    means = blur(true), blur(noisy)
    variances = blur(true**2) - means[0] ** 2, blur(noisy**2) - means[1] ** 2
    covariance = blur(true * noisy) - means[0] * means[1]
    one, two = 0.01**2, 0.03**2
    ratio = (2 * means[0] * means[1] + one) * (2 * covariance + two)
    ratio /= (means[0] ** 2 + means[1] ** 2 + one) * (variances[0] + variances[1] + two)
    assert ssim(true, noisy) == pytest.approx(ratio[5:-5, 5:-5].mean(), abs=1e-6)
    assert ssim(true, true) == pytest.approx(1.0)


def test_rescaling_makes_the_largest_colour_one_and_scales_depth_with_it():
    image = np.full((4, 2, 2), 0.2)
    image[1, 0, 0] = 0.5
    image[3] = 0.3
    scaled = rescaled(image)
    assert scaled[:3].max() == 1.0
    assert scaled[3] == pytest.approx(0.6)
    assert rescaled(np.zeros((4, 2, 2))).max() == 0.0


def test_a_dimmed_reconstruction_is_forgiven_in_s1_and_not_in_the_raw_scores_nor_in_s2(private, exact):
    bright = private.image.clone()
    bright[:, :3] /= bright[:, :3].amax(dim=(1, 2, 3), keepdim=True)
    truth = replace(private, image=bright)
    table = score(replace(exact, image=bright / 2), truth, AXES)
    assert values(table, "psnr_rgb") == pytest.approx(100.0)
    assert values(table, "psnr_depth") == pytest.approx(100.0)
    assert (values(table, "psnr_rgb_raw") < 20).all()

    depth_only = samples.private_side([0, 1, 2, 3], channels=1)
    dimmed = replace(samples.reconstruction_of(depth_only, 0.0), image=depth_only.image / 2)
    table = score(dimmed, depth_only, {**AXES, "setting": "S2"})
    assert values(table, "psnr_depth") == pytest.approx(values(table, "psnr_depth_raw"))
    assert (values(table, "psnr_depth") < 30).all()
    assert not (table["metric"] == "psnr_rgb").any()


def test_what_no_camera_can_give_is_clipped(private, exact):
    beyond = private.image.clone()
    beyond[:, 3] = torch.where(beyond[:, 3] >= 0.34, beyond[:, 3] + 5, beyond[:, 3])
    truth = private.image.clone()
    truth[:, 3] = torch.where(truth[:, 3] >= 0.34, 1.0, truth[:, 3])
    table = score(replace(exact, image=beyond), replace(private, image=truth), AXES)
    assert values(table, "psnr_depth_raw") == pytest.approx(100.0)


def test_the_default_network_reads_148_of_150_pixels():
    assert pixels_read(MNIH2015) == (148, 148)


@pytest.mark.parametrize(
    "layers", [[(8, 4), (4, 2), (3, 1)], [(5, 3)], [(3, 1), (3, 2)], [(7, 5), (2, 2)]], ids=lambda layers: str(layers)
)
def test_pixels_said_to_be_read_are_those_with_a_gradient(layers):
    convolutions = [{"channels": 3, "kernel": kernel, "stride": stride} for kernel, stride in layers]
    spec = NetworkSpec.model_validate(
        {"image_shape": [1, 59, 62], "convolutions": convolutions, "hidden": [5], "outputs": 2}
    )
    # Positive weights and inputs keep every ReLU open, so that each pixel that is read shows.
    network = build_network(spec, 0).double()
    for parameter in network.parameters():
        parameter.data.abs_()
    image = torch.rand(1, 1, 59, 62, dtype=torch.float64).requires_grad_()
    network({"image": image}).sum().backward()
    seen = image.grad[0, 0] != 0
    rows, columns = pixels_read(spec)
    assert seen.any(dim=1).nonzero().max() + 1 == rows
    assert seen.any(dim=0).nonzero().max() + 1 == columns


def test_pixels_beyond_the_networks_reach_do_not_count_in_the_read_scores(private, exact):
    spoilt = private.image.clone()
    spoilt[:, :, 148:], spoilt[:, :, :, 148:] = 0.9, 0.9
    table = score(replace(exact, image=spoilt), private, AXES, MNIH2015)
    assert (values(table, "psnr_rgb_raw") < 50).all()
    assert values(table, "psnr_rgb_read") == pytest.approx(100.0)
    assert values(table, "ssim_depth_read") == pytest.approx(1.0)


def test_without_an_architecture_there_are_no_read_scores(private, exact):
    assert not score(exact, private, AXES)["metric"].str.endswith("_read").any()


boxes = arrays(np.float64, (3, 4), elements=st.floats(-1, 1, width=32)).map(
    lambda corners: np.sort(corners.reshape(3, 2, 2), axis=1).reshape(3, 4)
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_zero_and_one(one, other):
    overlap = box_iou(one, other)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-12)).all()
    assert overlap == pytest.approx(box_iou(other, one))


@given(boxes)
def test_iou_of_a_box_with_itself_is_one(box):
    assert box_iou(box, box) == pytest.approx(1.0)


def test_iou_of_known_boxes():
    true = np.array([[0.0, 0.0, 1.0, 1.0]])
    assert box_iou(np.array([[0.5, 0.0, 1.5, 1.0]]), true) == pytest.approx(1 / 3)
    assert box_iou(np.array([[1.0, 1.0, 0.0, 0.0]]), true) == 0.0  # swapped corners make an empty box
    assert box_iou(np.array([[2.0, 2.0, 3.0, 3.0]]), true) == 0.0


def test_a_state_that_is_no_box_has_no_overlap(private, exact):
    for width in (4, 16):
        state = torch.rand(len(private), width)
        victims = replace(private, vector=state, layout=None)
        assert "iou" not in set(score(replace(exact, vector=state), victims, AXES)["metric"])


def test_percentage_error_is_relative_to_the_truth_and_finite_at_zero():
    assert percentage_error(np.array([1.1, -2.0]), np.array([1.0, 2.0])) == pytest.approx([10.0, 200.0])
    assert np.isfinite(percentage_error(np.array([1.0, 0.0]), np.zeros(2))).all()


def test_a_perfect_reconstruction_scores_perfectly(private, exact):
    table = score(exact, private, AXES, MNIH2015)
    for metric, best in {"psnr_rgb_raw": 100, "ssim_depth_raw": 1, "iou": 1, "action_correct": 1, "failed": 0}.items():
        assert values(table, metric) == pytest.approx(best), metric
    assert values(table, "predicted_q_error") == pytest.approx(0)
    assert values(table, "seconds") == pytest.approx(1.5)


def test_the_table_is_long_complete_and_has_no_holes(private, exact):
    table = score(exact, private, AXES, MNIH2015)
    assert tuple(table.columns) == COLUMNS
    assert np.isfinite(table["value"]).all()
    assert table.groupby("metric").size().eq(4).all()
    assert list(table["room_type"][:4]) == ["kitchen", "living_room", "bedroom", "bathroom"]
    # Samples of a batch have their own test, and so has what an onlooker says.
    elsewhere = ("batch_", "room_top", "target_top")
    absent = {name for name in METRICS.names if not name.startswith(elsewhere)} - set(table["metric"])
    # A DQN victim has no reward to find; what a defence costs is said where there is one.
    assert absent == {"reward_error", "message_bytes", "epsilon"}


def test_what_an_attack_does_not_give_has_no_row(private, exact):
    table = score(replace(exact, image=None, target_q=None), private, AXES, MNIH2015)
    assert set(table["metric"]) == {"iou", "action_correct", "predicted_q_error", "seconds", "failed"}


def test_rewards_are_compared_by_absolute_error():
    private = samples.private_side([0, 1, 2, 3], "reinforce")
    attempt = replace(samples.reconstruction_of(private, 0.0), reward=private.reward + 0.25)
    assert values(score(attempt, private, AXES), "reward_error") == pytest.approx(0.25, abs=1e-6)


def test_a_wrong_action_scores_zero(private, exact):
    wrong = exact.action.clone()
    wrong[2] = (wrong[2] + 1) % 7
    assert list(values(score(replace(exact, action=wrong), private, AXES), "action_correct")) == [1, 1, 0, 1]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_one_poisoned_pixel_makes_the_victim_a_counted_failure_and_the_image_black(private, exact, poison):
    image = private.image.clone()
    image[1, 0, 3, 3] = poison
    table = score(replace(exact, image=image), private, AXES)
    black = score(replace(exact, image=torch.zeros_like(image)), private, AXES)
    assert list(values(table, "failed")) == [0, 1, 0, 0]
    assert values(table, "psnr_rgb_raw")[1] == pytest.approx(values(black, "psnr_rgb_raw")[1])
    assert values(table, "psnr_rgb_raw")[0] == pytest.approx(100.0)
    assert np.isfinite(table["value"]).all()


def test_a_poisoned_box_or_value_is_a_blank_guess(private, exact):
    vector, q = exact.vector.clone(), exact.predicted_q.clone()
    vector[0, 1], q[3] = float("nan"), float("inf")
    table = score(replace(exact, vector=vector, predicted_q=q), private, AXES)
    assert values(table, "iou")[0] == 0
    assert values(table, "predicted_q_error")[3] == pytest.approx(100.0)
    assert list(values(table, "failed")) == [1, 0, 0, 1]


def test_sides_that_do_not_belong_together_are_refused_in_one_line(private, exact):
    with pytest.raises(CorruptArtefactError, match="different victims"):
        compare(replace(exact, vector=exact.vector[:2]), private)


def test_a_private_side_with_nan_is_refused(private, exact):
    broken = replace(private, vector=private.vector * float("nan"))
    with pytest.raises(CorruptArtefactError, match="private vector"):
        compare(exact, broken)


def test_scores_do_not_change_what_they_are_given(private, exact):
    image = private.image.clone()
    image = image.double()  # the type that scoring computes in: nothing need be copied to convert it
    image[0] = float("nan")
    score(replace(exact, image=image), private, AXES)
    assert torch.isnan(image[0]).all()
