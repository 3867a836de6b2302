"""RGIA's figures show what was found, and say where there is nothing to show."""

import numpy as np
import pytest
import transition_samples as transitions
from matplotlib.figure import Figure
from transition_samples import HOPPER, cells_of, made

from rlleak.configuration.axes import Cell
from rlleak.configuration.experiments import Selection
from rlleak.publishing import FIGURES
from rlleak.publishing.metrics_table import read_metrics
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.views import Views


def words(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.texts] + [figure.get_suptitle()]
    for axes in figure.axes:
        texts += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return "\n".join(texts)


def drawn(stored, setting: str, name: str, builder: str) -> Figure:
    experiment, paths = transitions.EXPERIMENTS[name], stored[setting]
    return FIGURES.load(builder)(read_metrics(paths[0], experiment), experiment, Views(*paths))


def test_weights_are_swept_one_by_one_beside_plain_inversion() -> None:
    experiment, metrics = made("rgia_weights")
    figure = FIGURES.load("rgia_weights")(metrics, experiment, None)
    assert len(figure.axes) == 9
    for axes in figure.axes:
        line, plain = axes.lines
        assert len(line.get_xdata()) == 5
        assert plain.get_linestyle() == "--"
    where = Selection(**HOPPER, attack="rgia_gamma_10")
    assert figure.axes[0].lines[0].get_ydata()[-1] == pytest.approx(rows_of(metrics, where, "mse")["value"].mean())


def test_amounts_of_prior_stand_in_order_with_the_odd_ones_beside() -> None:
    experiment, metrics = made("rgia_prior")
    figure = FIGURES.load("rgia_prior")(metrics, experiment, None)
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["nothing", "weights", "100", "300", "1,000", "3,000", "5,000", "10,000", "biased"]
    line, others, _ = figure.axes[0].lines
    assert line.get_xdata().tolist() == [2, 3, 4, 5, 6, 7]
    assert others.get_xdata().tolist() == [0, 1, 8]
    assert others.get_linestyle() == "None"


def test_batches_have_a_line_per_attack() -> None:
    experiment, metrics = made("rgia_batch")
    figure = FIGURES.load("rgia_batch")(metrics, experiment, None)
    # On FrozenLake there is nothing that algebra alone could do.
    assert [len(axes.lines) for axes in figure.axes] == [5, 5, 5, 4, 4] * 2
    places = [line.get_xdata() for line in figure.axes[0].lines]
    assert all(np.rint(own).tolist() == [0, 1, 2, 3, 4] for own in places)
    # Those with the same numbers hide nothing of each other.
    assert len({own[0] for own in places}) == 5


def test_clusters_share_one_projection_and_mark_the_truth(stored) -> None:
    figure = drawn(stored, "Hopper", "rgia_consistency", "rgia_clusters")
    plain, ours = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["plain inversion", "RGIA"]
    crosses = [[line.get_xydata() for line in axes.lines if line.get_marker() == "x"] for axes in (plain, ours)]
    assert len(crosses[0]) == 6
    assert np.allclose(crosses[0], crosses[1])
    points = [[line.get_xydata() for line in axes.lines if line.get_marker() == "o"] for axes in (plain, ours)]
    spread = [np.mean([restarts.std(axis=0) for restarts in panel]) for panel in points]
    assert spread[1] < spread[0]


def test_a_pseudo_solution_is_an_impossible_move_with_the_victims_gradient(stored) -> None:
    figure = drawn(stored, "FrozenLake", "rgia_frozenlake", "rgia_pseudo_solutions")
    by = {axes.get_title(): axes.get_xlabel() for axes in figure.axes}
    assert list(by) == ["truth", "plain inversion", "RGIA", "ours"]
    assert "\nimpossible\ngradient off by" in by["plain inversion"]
    assert by["truth"].endswith("\npossible")
    assert "\npossible" in by["ours"]


def test_without_a_pseudo_solution_the_figure_says_so(stored, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(transitions, "NOISE", {})
    cells = [cell for cell in cells_of("FrozenLake") if cell.attack != "gia"]
    honest = [Cell(**{**cells[0].axes, "attack": name}) for name in ("rgia", "gia")]
    real = transitions.reconstruction_of
    monkeypatch.setattr(
        transitions, "reconstruction_of", lambda private, cell, victims: real(private, honest[0], victims)
    )
    monkeypatch.setitem(transitions.NOISE, "rgia", 1e-6)
    paths = transitions.stored(tmp_path, honest)
    figure = drawn({"FrozenLake": paths}, "FrozenLake", "rgia_frozenlake", "rgia_pseudo_solutions")
    assert "no transition was found that cannot happen" in words(figure)


def test_frames_stand_beside_the_truth_before_and_after(stored) -> None:
    figure = drawn(stored, "Pong", "rgia_main", "rgia_frames")
    assert len(figure.axes) == 12
    assert all(len(axes.images) == 1 for axes in figure.axes)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "s: truth"
    assert titles[6] == "s': truth"
    assert titles[11] == "s': ours"
    assert "dB" in figure.axes[1].get_xlabel()


@pytest.mark.parametrize(
    ("name", "builder"),
    [("rgia_consistency", "rgia_clusters"), ("rgia_frozenlake", "rgia_pseudo_solutions"), ("rgia_main", "rgia_frames")],
)
def test_figures_without_anything_to_show_say_what_was_missing(name: str, builder: str) -> None:
    experiment, metrics = made(name)
    assert len(words(FIGURES.load(builder)(metrics[:0], experiment, None)).strip()) > 20
