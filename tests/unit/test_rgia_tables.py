"""RGIA's tables leave nothing out in silence."""

from functools import cache

import defence_samples as defences
import numpy as np
import pandas as pd
import pytest
import transition_samples as transitions
from transition_samples import HOPPER, NAMES, made

from rlleak.configuration.experiments import Selection
from rlleak.publishing import TABLES
from rlleak.publishing.over_the_guess import GAIN, SKILL
from rlleak.publishing.rgia import victims
from rlleak.publishing.statistics import rows_of


@cache
def table(name: str, *more: str):
    experiment, metrics = made(name, *more)
    chosen = next(made.builder for made in experiment.publishes if (made.name, made.kind) == (name, "table"))
    return TABLES.load(chosen)(metrics, experiment), metrics


@pytest.mark.parametrize("name", [n for n in NAMES if n != "rgia_batch"])
def test_tables_have_a_row_for_everything_that_ran(name: str) -> None:
    shown, _ = table(name, "trust_model_learnt")
    cells = transitions.EXPERIMENTS[name].cells(1)
    assert len(shown.rows) == len(cells)
    assert len({row.labels for row in shown.rows}) == len(cells)
    assert {row.cells["n"].value for row in shown.rows} == {6.0}


def test_an_attack_that_did_not_run_on_a_victim_has_no_row_and_the_others_stay() -> None:
    experiment, metrics = made("rgia_main")
    kept = metrics[~((metrics["setting"] == "Ant") & (metrics["attack"] == "dlg"))]
    shown = TABLES.load("rgia_main")(kept, experiment)
    missing = [row.labels for row in shown.rows if row.labels[0] == "Ant" and row.labels[2] == "DLG"]
    assert not missing
    assert len(shown.rows) == len(experiment.cells(1)) - 2


def test_a_row_whose_transition_model_learnt_nothing_is_flagged() -> None:
    shown, _ = table("rgia_main", "trust_model_learnt")
    flags = {row.labels[0]: row.cells["f"].shown for row in shown.rows}
    assert flags["Breakout"] == "not learnt"
    assert flags["Hopper"] == "learnt"
    assert any("R_f is off" in note for note in shown.notes)


def test_victims_transitions_that_the_attacker_had_played_itself_are_counted_once_each() -> None:
    experiment, metrics = made("rgia_main", "in_prior")
    metrics = metrics.copy()
    known = metrics["metric"] == "in_prior"
    metrics.loc[known, "value"] = 0.0
    assert not any("played itself" in note for note in TABLES.load("rgia_main")(metrics, experiment).notes)
    met = (metrics["setting"] == "FrozenLake") & metrics["victim"].isin([0, 1])
    metrics.loc[known & (met | ((metrics["setting"] == "Qbert") & (metrics["victim"] == 3))), "value"] = 1.0
    (note,) = [note for note in TABLES.load("rgia_main")(metrics, experiment).notes if "played itself" in note]
    assert sorted(note.partition(" of victims'")[0].split(", ")) == ["1 of 6 in Qbert", "2 of 6 in FrozenLake"]
    assert "in_prior" in experiment.metrics


def test_the_best_of_each_victims_is_bold_and_numbers_are_means() -> None:
    shown, metrics = table("rgia_main", "trust_model_learnt")
    for key in {row.labels[:2] for row in shown.rows}:
        own = [row for row in shown.rows if row.labels[:2] == key]
        best = min(own, key=lambda row: row.cells["MSE"].value)
        assert [row for row in own if row.cells["MSE"].best] == [best]
        most = max(own, key=lambda row: row.cells["RA"].value)
        assert [row for row in own if row.cells["RA"].best] == [most]
    where = Selection(**HOPPER, attack="rgia")
    row = next(row for row in shown.rows if row.labels == ("Hopper", "critic, semi-gradient", "RGIA"))
    assert row.cells["MSE"].value == pytest.approx(rows_of(metrics, where, "mse")["value"].mean())


def test_victims_that_differ_in_network_or_policy_are_told_apart() -> None:
    shown, _ = table("rgia_trained")
    named = list(dict.fromkeys(row.labels[1] for row in shown.rows if row.labels[0] == "Hopper"))
    assert named == [
        "critic, semi-gradient, mlp256, random policy",
        "critic, semi-gradient, mlp256, trained policy",
        "critic, semi-gradient, mlp256_trained, trained policy",
    ]


def test_agreement_is_shown_as_a_multiple_of_plain_inversions_where_that_is_above_0() -> None:
    shown, _ = table("rgia_consistency")
    plain, ours = (
        next(row.cells for row in shown.rows if row.labels == ("Hopper", "critic, semi-gradient", label))
        for label in ("plain inversion", "RGIA")
    )
    assert ours["ED [σ] / plain"].value == pytest.approx(ours["ED [σ]"].value / plain["ED [σ]"].value)
    experiment, metrics = made("rgia_consistency")
    metrics = metrics.copy()
    metrics.loc[(metrics["attack"] == "gia") & (metrics["metric"] == "ss"), "value"] = -0.1
    assert "SS / plain" not in TABLES.load("rgia_consistency")(metrics, experiment).columns


def test_batches_stand_in_columns() -> None:
    shown, metrics = table("rgia_batch")
    assert shown.columns == tuple(f"batch {size}" for size in (1, 2, 4, 8, 16))
    rows = {row.labels: row.cells for row in shown.rows}
    ours = rows["Hopper", "critic, semi-gradient", "ours", "RA"]
    where = Selection(**HOPPER, attack="transition_best", batch=8)
    assert ours["batch 8"].value == pytest.approx(rows_of(metrics, where, "recovery_accuracy")["value"].mean())
    assert set(rows["Hopper", "critic, residual gradient", "ours", "RA"]) == {"batch 1", "batch 4"}
    assert [labels[2] for labels in rows if labels[3] == "RA"][:5] == [
        *("plain inversion", "RGIA", "prior only", "closed form (ours)", "ours")
    ]


def test_what_ran_is_grouped_in_the_environments_order() -> None:
    experiment, metrics = made("rgia_main")
    settings = list(dict.fromkeys(setting for setting, _ in victims(metrics, experiment)))
    assert settings[0] == "Hopper"
    assert settings[-1] == "FrozenLake"


def values(metrics: pd.DataFrame, metric: str, **axes: object) -> np.ndarray:
    """(V,), in the victims' order."""
    chosen = metrics[metrics["metric"] == metric]
    for axis, wanted in axes.items():
        chosen = chosen[chosen[axis] == wanted]
    return chosen.set_index("victim")["value"].sort_index().to_numpy()


def test_over_the_guess_is_of_the_same_victims_and_a_ratio_of_means() -> None:
    experiment, metrics = made("rgia_main", "psnr_state")
    metrics = metrics[metrics["setting"].isin(["Hopper", "Pong"])]
    guessed = metrics["attack"] == "transition_prior_only"
    # One victim fewer, and one of which the guess happens to be right.
    metrics = metrics[~(guessed & (metrics["victim"] == 0))].copy()
    metrics.loc[guessed & (metrics["victim"] == 1) & (metrics["metric"] == "mse"), "value"] = 1e-6
    shown = TABLES.load("rgia_main")(metrics, experiment)
    rows = {row.labels: row.cells for row in shown.rows}
    dqn = "DQN, semi-gradient"
    for attack, label in (("gia", "plain inversion"), ("rgia", "RGIA")):
        own, guess = (
            values(metrics, "psnr_state", setting="Pong", learner="dqn", attack=name)
            for name in (attack, "transition_prior_only")
        )
        gain = rows["Pong", dqn, label][GAIN]
        assert gain.value == pytest.approx((own[1:] - guess).mean())
        assert gain.interval[0] < gain.value < gain.interval[1]
        assert SKILL not in rows["Pong", dqn, label]
        own, guess = (values(metrics, "mse", **HOPPER, attack=name) for name in (attack, "transition_prior_only"))
        skill = rows["Hopper", "critic, semi-gradient", label][SKILL]
        assert skill.value == pytest.approx(1 - own[1:].mean() / guess.mean())
        assert GAIN not in rows["Hopper", "critic, semi-gradient", label]
    assert rows["Pong", dqn, "prior only"][GAIN].shown == "0.0"
    best = [label for (*_, label), cells in rows.items() if SKILL in cells and cells[SKILL].best]
    assert set(best) == {"closed form (ours)"}
    assert any("a ratio of means" in note for note in shown.notes)


def test_without_a_guess_on_the_same_victims_there_is_a_dash_and_without_any_no_column() -> None:
    shown, _ = table("rgia_prior", "psnr_state")
    ours = {row.labels[0]: row.cells for row in shown.rows if row.labels[2] == "ours"}
    assert ours["Pong"][GAIN].shown == "–"
    assert GAIN not in shown.columns
    assert SKILL in shown.columns
    assert ours["Hopper"][SKILL].value == pytest.approx(1, abs=0.01)
    assert not {SKILL, GAIN} & set(table("rgia_weights", "psnr_state")[0].columns)
    experiment, metrics = made("rgia_main", "psnr_state")
    other = metrics[metrics["setting"].isin(["Hopper", "Pong"])].copy()
    other.loc[other["attack"] == "transition_prior_only", "victim"] += 100
    rows = [row.cells for row in TABLES.load("rgia_main")(other, experiment).rows if row.labels[2] == "RGIA"]
    assert {cells[heading].shown for cells in rows for heading in (SKILL, GAIN) if heading in cells} == {"–"}


def test_a_batch_is_held_against_the_guess_at_its_own_size() -> None:
    shown, metrics = table("rgia_batch", "psnr_state")
    rows = {row.labels: row.cells for row in shown.rows}
    for size in (2, 4):
        own, guess = (
            values(metrics, "psnr_state", setting="Pong", attack=attack, batch=size)
            for attack in ("rgia", "transition_prior_only")
        )
        gain = rows["Pong", "DQN, semi-gradient", "RGIA", GAIN][f"batch {size}"]
        assert gain.value == pytest.approx((own - guess).mean())


def test_under_a_defence_the_guess_is_the_undefended_one() -> None:
    experiment = defences.EXPERIMENTS["defences_table2"]
    metrics = defences.made_up(experiment)
    metrics = metrics[metrics["setting"] == "Hopper"]
    rows = {row.labels: row.cells for row in TABLES.load("defence_costs")(metrics, experiment).rows}
    own = values(metrics, "mse", setting="Hopper", attack="rgia", defence="noise_variance_1e2")
    guess = values(metrics, "mse", setting="Hopper", attack="transition_prior_only", defence="none")
    assert rows["Hopper", "noise 1e-2", "RGIA"][SKILL].value == pytest.approx(1 - own.mean() / guess.mean())
    assert rows["Hopper", "any", "prior only"][SKILL].value == 0
