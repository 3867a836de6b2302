"""Attacks that ran side by side stand in one file, of which each experiment and figure reads its own."""

import numpy as np
import pytest
import transition_samples as transitions
from transition_samples import HOPPER

from rlleak.configuration.axes import Cell
from rlleak.configuration.experiments import Selection
from rlleak.publishing.metrics_table import read_metrics
from rlleak.publishing.views import Views
from rlleak.sharing.private import PrivateSide


@pytest.mark.parametrize("name", ["rgia_consistency", "rgia_weights"])
def test_an_experiment_reads_its_own_attacks_and_metrics_of_a_shared_file(stored, name: str) -> None:
    experiment = transitions.EXPERIMENTS[name]
    asked = {cell.attack for cell in experiment.cells(1)}
    everything, own = read_metrics(stored["Hopper"][0]), read_metrics(stored["Hopper"][0], experiment)
    assert set(own["attack"]) == asked < set(everything["attack"])
    assert set(own["metric"]) <= set(experiment.metrics)
    assert set(own["metric"]) < set(everything["metric"])


def test_views_find_an_attack_and_a_victim_in_a_shared_file(stored) -> None:
    views, private = Views(*stored["Hopper"]), PrivateSide.load(stored["Hopper"][2][0])
    where = Selection(**HOPPER, attack="transition_closed_form")
    truth, guess = views.lived(where, 4), views.guessed(where, 4)
    assert truth.state[0, 0] == pytest.approx(private.vector[4].numpy())
    assert truth.action[0, 0] == pytest.approx(private.continuous_action[4].numpy())
    assert len(guess) == 4
    assert guess.numbers == pytest.approx(np.repeat(truth.numbers, 4, axis=0), abs=1e-3)
    assert abs(views.guessed(where.model_copy(update={"attack": "gia"}), 4).numbers - truth.numbers).max() > 0.05


def test_views_hold_all_transitions_of_an_update_and_one_hot_actions(tmp_path) -> None:
    cell = Cell("dqn", "mnih2015", "Pong", 0, "rgia", batch=2)
    paths = transitions.stored(tmp_path, [cell], victims=3)
    where = Selection(learner="dqn", setting="Pong", attack="rgia", batch=2)
    truth, private = Views(*paths).lived(where, 1), PrivateSide.load(paths[2][0])
    assert truth.state.shape == (1, 2, 4, 84, 84)
    assert truth.action[0].argmax(axis=1).tolist() == private.action[2:4].tolist()
    assert truth.reward[0] == pytest.approx(private.reward[2:4].numpy())


def test_nothing_is_read_before_a_figure_asks(stored, tmp_path) -> None:
    metrics, _, private = stored["Hopper"]
    views = Views(metrics, [tmp_path / "absent.safetensors"] * len(metrics), private)
    where = Selection(**HOPPER, attack="rgia")
    assert len(views.lived(where, 0)) == 1
    with pytest.raises(Exception, match="absent"):
        views.guessed(where, 0)
