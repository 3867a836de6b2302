"""Privacy against utility: points, the front, and answers that follow the numbers and their intervals."""

import functools

import defence_samples as samples
import numpy as np
import pandas as pd
import pytest

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing import FIGURES, TABLES
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.tradeoff import PRIOR, Point, answers, front, points, relative_return

CARTPOLE = {"learner": "dqn", "setting": "CartPole", "network": "mlp64"}
ATTACKS = ("rgia", "transition_best", "rgia_naive", "transition_best_naive")
PLAIN = Selection(**CARTPOLE, attack=TRAINING)


def experiment(*defences: str) -> Experiment:
    """A small one of the same kind: these defences, larger batches that are trained with, and sums that are not."""
    base = {axis: [value] for axis, value in CARTPOLE.items()}
    content = samples.EXPERIMENTS["privacy_utility"].model_dump(mode="json", exclude={"claims", "grid"})
    content["grid"] = [
        base | {"attack": [*ATTACKS, TRAINING], "defence": ["none", *defences]},
        base | {"attack": ["transition_best", TRAINING], "batch": [4]},
        base | {"attack": ["transition_best", TRAINING], "batch": [4], "defence": ["int8"]},
        base | {"attack": ["transition_best"], "batch": [10]},
        base | {"attack": ["transition_prior_only"], "batch": [1, 4, 10]},
    ]
    return Experiment.model_validate(content)


@functools.cache
def usual() -> tuple[Experiment, pd.DataFrame]:
    asked = experiment("noise_variance_1e3", "noise_variance_1e2", "dp_strong", "int8")
    return asked, samples.made_up(asked)


def by_label(metrics: pd.DataFrame, asked: Experiment) -> dict[str, Point]:
    return {point.label: point for point in points(metrics, asked)}


def changed(metrics: pd.DataFrame, defence: str, metric: str, values: np.ndarray | float) -> pd.DataFrame:
    """The same table with other values of a metric under a defence, of the smallest batch; attacks and trainings."""
    table = metrics.copy()
    smallest = table["batch"] == table["batch"].min()
    table.loc[smallest & (table["defence"] == defence) & (table["metric"] == metric), "value"] = values
    return table


def earned(metrics: pd.DataFrame) -> np.ndarray:
    """The undefended runs' returns."""
    return rows_of(metrics, PLAIN, "return")["value"].to_numpy()


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    places = [(1.0, 0.9), (0.9, 0.5), (0.9, 0.7), (0.5, 0.5), (0.4, 0.0), (1.0, 0.9)]
    assert front(places) == [True, True, False, False, True, True]


def test_every_setting_is_a_point_and_a_batch_nobody_trains_with_is_a_sum() -> None:
    asked, metrics = usual()
    found = by_label(metrics, asked)
    assert list(found) == ["undefended", "noise 1e-3", "noise 1e-2", "clipped, noise × 1", "8 bits", "batch 4",
                           "8 bits, batch 4", "sum of 10 clients"]  # fmt: skip
    assert found["sum of 10 clients"].cryptographic
    assert found["sum of 10 clients"].utility.value == found["sum of 10 clients"].utility.low == 1
    assert not found["batch 4"].cryptographic
    assert found["8 bits, batch 4"].kind == "combined"
    assert found["batch 4"].utility.value == pytest.approx(1.1, abs=0.01)


def test_best_attacks_are_of_those_who_know_and_naive_ones_stand_beside() -> None:
    asked, metrics = usual()
    point = by_label(metrics, asked)["noise 1e-3"]
    assert point.best("known").name == "transition_best"
    naive, knowing = point.adaptation("known")
    assert (naive.name, knowing.name) == ("transition_best_naive", "transition_best")
    assert naive.known.value < knowing.known.value == pytest.approx(0.7)


def test_naive_attacks_are_compared_on_the_networks_that_they_met() -> None:
    asked, metrics = usual()
    # Of another network's updates, which the naive did not meet, everything is known.
    trained = metrics[metrics["attack"].isin(["transition_best", PRIOR])].assign(network="mlp64_trained")
    known = (trained["attack"] == "transition_best") & (trained["metric"] == "nrmse_state")
    trained.loc[known, "value"] = 0.0
    content = asked.model_dump(mode="json")
    content["grid"].append({**content["grid"][0], "network": ["mlp64_trained"], "attack": ["transition_best", PRIOR]})
    both = Experiment.model_validate(content)
    point = by_label(pd.concat([metrics, trained]), both)["noise 1e-3"]
    assert point.best("known").known.value == pytest.approx(1)
    assert [attack.where.network for attack in point.adaptation("known")] == ["mlp64", "mlp64"]
    assert point.adaptation("known")[1].known.value == pytest.approx(0.7)


def test_a_guess_without_gradients_knows_nothing_and_a_perfect_one_all() -> None:
    asked, metrics = usual()
    found = by_label(metrics, asked)
    assert found["noise 1e-2"].best("known").known.value == pytest.approx(0, abs=1e-9)
    assert found["undefended"].best("known").known.value == pytest.approx(0.98, abs=0.02)


def test_returns_are_compared_run_by_run() -> None:
    _, metrics = usual()
    defended = PLAIN.model_copy(update={"defence": "int8"})
    estimate = relative_return(metrics, defended, PLAIN)
    plain = earned(metrics)
    assert estimate.n == 5
    assert estimate.low < estimate.value < estimate.high
    # Runs differ by 4 %; what is compared differs by 1 %, since run i is equally hard in both.
    assert estimate.high - estimate.low < 0.02 < np.ptp(plain) / plain.mean()


@pytest.mark.parametrize(
    ("factors", "answer"),
    [
        ((1.0, 0.99, 1.01, 1.0, 1.0), "yes"),
        ((0.9, 0.91, 0.9, 0.89, 0.9), "no"),
        ((0.85, 1.1, 0.8, 1.0, 1.0), "undecided"),
    ],
)
def test_five_percent_of_the_return_is_decided_by_the_whole_interval(factors: tuple, answer: str) -> None:
    asked, metrics = usual()
    table = changed(metrics, "int8", "return", earned(metrics) * np.array(factors))
    assert by_label(table, asked)["8 bits"].keeps == answer


def test_few_runs_decide_nothing() -> None:
    asked, _ = usual()
    point = by_label(samples.made_up(asked, runs=3), asked)["8 bits"]
    assert point.keeps == "undecided"
    assert point.hides == "no"


def test_one_victim_in_two_that_is_known_leaves_it_undecided() -> None:
    asked, metrics = usual()
    hit = metrics["attack"].isin(ATTACKS) & (metrics["defence"] == "dp_strong") & (metrics["metric"] == "nrmse_state")
    table = metrics.copy()
    table.loc[hit, "value"] = np.where(table.loc[hit, "victim"] % 2, 0.6, 1.6)
    assert by_label(metrics, asked)["clipped, noise × 1"].hides == "yes"
    assert by_label(table, asked)["clipped, noise × 1"].hides == "undecided"


def test_transitions_that_are_recovered_are_not_hidden_whatever_the_median_says() -> None:
    asked, metrics = usual()
    whole = metrics["attack"].isin(ATTACKS) & (metrics["defence"] == "dp_strong")
    table = metrics.copy()
    table.loc[whole & (metrics["metric"] == "recovery_accuracy") & (metrics["victim"] < 5), "value"] = 1.0
    assert by_label(table, asked)["clipped, noise × 1"].hides == "no"


def test_the_answer_changes_with_the_data() -> None:
    asked, metrics = usual()
    before, crypto, _ = answers(points(metrics, asked))
    assert before.startswith("Without cryptography, none of 6 settings")
    assert "noise 1e-2 keeps most of the return (70 %" in before
    assert crypto.startswith("With cryptography, none of 1 setting")
    free = samples.made_up(asked, returns={})
    after, _, _ = answers(points(free, asked))
    assert after.startswith("Without cryptography, 2 of 6 settings keep the return within 5 %")
    assert "noise 1e-2" in after
    hidden = changed(metrics[metrics["batch"] == 10], "none", "nrmse_state", 1.0)
    hidden = changed(hidden, "none", "recovery_accuracy", 0.0)
    _, crypto, _ = answers(points(pd.concat([metrics[metrics["batch"] != 10], hidden]), asked))
    assert crypto.startswith("With cryptography, 1 of 1 setting keeps")


def test_the_table_has_a_row_for_everything_and_says_yes_or_no() -> None:
    asked, metrics = usual()
    table = TABLES.load("privacy_utility")(metrics, asked)
    rows = {row.labels[1]: row.cells for row in table.rows}
    assert set(rows) == {point.label for point in points(metrics, asked)}
    assert rows["noise 1e-2"]["within 5 %"].shown == "no"
    assert rows["noise 1e-2"]["no better than prior only"].shown == "yes"
    assert rows["noise 1e-2"]["both"].shown == "no"
    assert rows["clipped, noise × 1"]["ε, client"].value == 8
    assert rows["clipped, noise × 1"]["ε, transition"].value == 2
    assert rows["8 bits"]["ε, transition"].shown == "∞"
    assert rows["8 bits"]["RA"].shown == "1.00 [0.74, 1.00]"
    frame = table.frame().set_index("defence")
    assert frame.loc["noise 1e-2", "both"] == "no"
    assert frame.loc["noise 1e-2", "of undefended [%] low"] < 70 < frame.loc["noise 1e-2", "of undefended [%] high"]
    assert any(note.startswith("Without cryptography") for note in table.notes)


def test_a_setting_that_was_not_trained_has_no_point() -> None:
    asked, metrics = usual()
    left = metrics[(metrics["attack"] != TRAINING) | (metrics["defence"] != "int8")]
    assert "8 bits" not in by_label(left, asked)


def test_the_figure_has_a_row_for_every_setting_the_most_private_first_and_numbers_the_front() -> None:
    asked, metrics = usual()
    figure = FIGURES.load("privacy_utility")(metrics, asked, None)
    found = by_label(metrics, asked)
    _, scattered, returns, known, _ = figure.axes
    rows = [label.get_text().rsplit("  ", 1) for label in returns.get_yticklabels()]
    assert {label for label, _ in rows} == set(found)
    leaks = [found[label].best("known").known.value for label, _ in rows]
    assert leaks == sorted(leaks)
    places = {label: (found[label].utility.value, found[label].best("known").known.value) for label, _ in rows}
    unbeaten = {number for (_, number), first in zip(rows, front(places.values()), strict=True) if first}
    assert {text.get_text() for text in scattered.texts} == unbeaten
    assert figure.legends[0].get_texts()[0].get_text().startswith("Pareto front")
    naive = [line for line in known.lines if line.get_markerfacecolor() == "white"]
    assert len(naive) == 5


def test_a_figure_without_points_says_so() -> None:
    asked, metrics = usual()
    figure = FIGURES.load("privacy_utility")(metrics[:0], asked, None)
    assert "no setting" in figure.axes[-1].texts[0].get_text()
