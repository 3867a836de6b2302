"""Figures show victims picked by rule, as they were scored, in files that do not change from run to run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import published_samples as samples
import pytest
from PIL import Image

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.experiments import Selection
from rlleak.errors import CorruptArtefactError
from rlleak.publishing import FIGURES
from rlleak.publishing.drawing import save
from rlleak.publishing.labels import attack_look
from rlleak.publishing.metrics_table import read_metrics
from rlleak.publishing.views import Views, median_victim
from rlleak.sharing.private import PrivateSide

QGI = Selection(learner="dqn", attack="qgi", setting="S1")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return {
        name: samples.stored(tmp_path_factory.mktemp(name), name, victims=8, side=40)
        for name in ("qgi_fig1", "qgi_fig3", "qgi_fig4")
    }


def drawn(stored, name, builder, experiment=None):
    paths = stored[name]
    return FIGURES.load(builder)(read_metrics(paths[0]), experiment or samples.experiment(name), Views(*paths))


def words(figure) -> str:
    texts = [text.get_text() for text in figure.texts] + [figure.get_suptitle()]
    for axes in figure.axes:
        texts += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return "\n".join(texts)


@pytest.mark.parametrize(("name", "builder"), [("qgi_fig1", "fig1"), ("qgi_fig3", "fig3"), ("qgi_fig4", "fig4")])
def test_files_are_large_enough_to_print_and_the_same_each_time(stored, name, builder, tmp_path):
    for attempt in ("one", "two"):
        figure = drawn(stored, name, builder)
        for ending in ("png", "pdf"):
            save(figure, tmp_path / f"{attempt}.{ending}")
    for ending in ("png", "pdf"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width >= 900
        assert image.info["dpi"][0] == pytest.approx(200, abs=1)


def test_figure_1_shows_the_median_victim_with_what_the_attacker_knows(stored):
    said = words(drawn(stored, "qgi_fig1", "fig1"))
    victim = median_victim(read_metrics(stored["qgi_fig1"][0]), QGI, "psnr_rgb")
    assert f"victim {victim} (" in said
    assert "what the robot saw" in said
    assert "a guess without the gradient" in said
    assert "dB, SSIM" in said


def test_figure_1_draws_both_boxes(stored):
    figure = drawn(stored, "qgi_fig1", "fig1")
    truth, attempt = figure.axes[0], figure.axes[1]
    assert len(truth.patches) == 2  # an outline and its dashes
    assert len(attempt.patches) == 4


def test_figure_3_has_every_room_type_method_and_setting(stored):
    figure = drawn(stored, "qgi_fig3", "fig3")
    said = words(figure)
    for expected in ("QGI", "RGI", "S1: RGB", "S2: depth", "kitchen", "living room", "bedroom", "bathroom"):
        assert expected in said
    assert len([axes for axes in figure.axes if axes.images]) == 2 * 4 * 6


def test_figure_4_shows_every_victim_and_every_mean(stored):
    figure = drawn(stored, "qgi_fig4", "fig4")
    metrics = read_metrics(stored["qgi_fig4"][0])
    panel = next(axes for axes in figure.axes if axes.get_title() == "IoU of the box")
    points = [collection.get_offsets() for collection in panel.collections]
    assert [len(group) for group in points] == [8, 8, 8]
    mine = metrics[(metrics.attack == "qgi") & (metrics.metric == "iou")].sort_values("victim").value
    assert sorted(points[0][:, 1]) == pytest.approx(sorted(mine))
    rings = [line.get_ydata()[0] for line in panel.lines if line.get_marker() == "o"]
    assert rings[0] == pytest.approx(mine.mean())


def test_an_attack_looks_the_same_in_every_figure_and_unlike_those_beside_it() -> None:
    for alike in ("best", "best_short", "transition_best", "transition_best_none"):
        assert attack_look(alike) == attack_look("best")
    assert attack_look("rgia_gamma_0_1") == attack_look("rgia_prior_weights") == attack_look("rgia")
    assert attack_look("best_short_naive") == attack_look("best") | {"mfc": "white"}
    for together in (("qgi", "peel", "best", "closed_form", "prior_only"), ("gia", "rgia", "transition_best")):
        assert len({attack_look(attack)["color"] for attack in together}) == len(together)
    rooms = attack_look("closed_form"), attack_look("prior_only")
    assert rooms == (attack_look("transition_closed_form"), attack_look("transition_prior_only"))


def test_figures_can_be_drawn_without_the_claims(stored):
    content = samples.experiment("qgi_fig4").model_copy(update={"claims": ()})
    assert words(drawn(stored, "qgi_fig4", "fig4", content)) == words(drawn(stored, "qgi_fig4", "fig4"))


def test_a_victim_is_picked_by_the_median_and_never_by_looks():
    rows = samples.rows({("dqn", "qgi", "S1", "psnr_rgb"): np.array([9.0, 1.0, 5.0, 30.0, 4.0])})
    assert median_victim(rows, QGI, "psnr_rgb") == 2
    even = samples.rows({("dqn", "qgi", "S1", "psnr_rgb"): np.array([9.0, 1.0, 5.0, 7.0])})
    assert median_victim(even, QGI, "psnr_rgb") == 2  # 5 and 7 are equally near 6
    assert median_victim(rows, QGI, "iou") is None


def altered(stored, folder: Path, change):
    """The same files with QGI's reconstruction changed."""
    metrics, reconstructions, private = stored
    changed = [folder / path.name for path in reconstructions]
    for table, path, copy in zip(metrics, reconstructions, changed, strict=True):
        attempt = Reconstruction.load(path)
        mine = read_metrics([table])["attack"][0] == "qgi"
        (change(attempt) if mine else attempt).save(copy)
    return Views(metrics, changed, private)


def test_views_show_what_was_scored(stored, tmp_path):
    dim = altered(stored["qgi_fig1"], tmp_path, lambda attempt: replace(attempt, image=attempt.image * 0.3))
    view = dim.reconstruction(QGI, 2)
    assert view.rgb.max() == pytest.approx(1.0)  # rescaled as the paper does
    truth = PrivateSide.load(stored["qgi_fig1"][2][0])
    assert dim.truth(QGI, 2).rgb == pytest.approx(truth.image[2, :3].permute(1, 2, 0).numpy())
    assert dim.truth(QGI, 2).box == pytest.approx(truth.vector[2].numpy())


def test_a_failed_reconstruction_is_black_and_its_box_empty(stored, tmp_path):
    nothing = float("nan")
    broken = altered(
        stored["qgi_fig1"],
        tmp_path,
        lambda attempt: replace(attempt, image=attempt.image * nothing, vector=attempt.vector * nothing),
    )
    view = broken.reconstruction(QGI, 0)
    assert view.rgb.max() == 0
    assert not view.box.any()


def test_a_view_that_does_not_exist_says_so(stored):
    with pytest.raises(CorruptArtefactError, match="victim 99"):
        Views(*stored["qgi_fig1"]).truth(QGI, 99)


def test_attacks_without_images_do_not_stop_a_figure(stored, tmp_path):
    views = altered(stored["qgi_fig1"], tmp_path, lambda attempt: replace(attempt, image=None, predicted_q=None))
    metrics = read_metrics(stored["qgi_fig1"][0])
    assert views.reconstruction(QGI, 0).rgb is None
    figure = FIGURES.load("fig1")(metrics, samples.experiment("qgi_fig1"), views)
    shown = {axes.get_title(): len(axes.images) for axes in figure.axes if axes.get_title()}
    assert shown == {"what the robot saw": 1, "QGI: from one gradient": 0, "a guess without the gradient": 1}
