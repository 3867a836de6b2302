"""RGIA's tables leave nothing out in silence."""

from functools import cache

import pytest
import transition_samples as transitions
from transition_samples import HOPPER, NAMES, made

from rlleak.configuration.experiments import Selection
from rlleak.publishing import TABLES
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
