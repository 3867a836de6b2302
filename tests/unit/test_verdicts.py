"""A verdict follows from the whole interval, says why, and never claims what the numbers cannot carry."""

import re

import numpy as np
import pandas as pd
import published_samples as samples
import pytest

from rlleak.configuration.experiments import Experiment
from rlleak.errors import CorruptArtefactError
from rlleak.publishing.forest import limits
from rlleak.publishing.statements import state
from rlleak.publishing.verdicts import COLUMNS, expectation, judge

S1 = {"learner": "dqn", "attack": "qgi", "setting": "S1"}


S2 = {"learner": "dqn", "attack": "qgi", "setting": "S2"}


KEY = {"S1": ("dqn", "qgi", "S1"), "S2": ("dqn", "qgi", "S2")}


METRICS = ["psnr_depth", "iou", "action_correct", "predicted_q_error"]


def term(where, metric="psnr_depth", **extra):
    return {"metric": metric, "where": where, **extra}


def experiment(others=(), **claim) -> Experiment:
    full = {"id": "one", "where": "Table I", "quote": "…", "kind": "relation", "op": ">", "right": 0, **claim}
    return Experiment.model_validate(
        {
            "id": "made_up",
            "paper": "a paper",
            "title": "a title",
            "grid": [{"learner": ["dqn"], "attack": ["qgi"], "setting": ["S1", "S2"]}],
            "metrics": METRICS,
            "claims": [full, *others],
        }
    )


def verdict(values, scale="reduced", simulator="rooms", seed=1, **claim):
    """The one verdict on metrics {(setting, metric): value per victim}."""
    rows = samples.rows(
        {(*KEY[setting], metric): column for (setting, metric), column in values.items()}, scale, simulator
    )
    table = judge(rows, experiment(**claim), scale=scale, simulator=simulator, samples=1000, seed=seed)
    assert tuple(table.columns) == COLUMNS
    return table.iloc[0]


def noise(victims=24, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).standard_normal(victims)


def gain(values, **claim):
    """S2 against S1."""
    return verdict(values, left=term(S2), right=term(S1), **claim)


def test_a_clear_gain_is_reproduced_and_the_measured_value_is_the_difference():
    found = gain({("S1", "psnr_depth"): 20 + noise(), ("S2", "psnr_depth"): 26 + noise(seed=1)}, margin=4)
    assert found["verdict"] == "REPRODUCED"
    assert found["measured"] == pytest.approx(6, abs=0.7)
    assert 4 < found["low"] < found["measured"] < found["high"]
    assert found["n"] == 24


def test_a_clear_loss_is_not_reproduced():
    found = gain({("S1", "psnr_depth"): 26 + noise(), ("S2", "psnr_depth"): 20 + noise(seed=1)})
    assert found["verdict"] == "NOT REPRODUCED"
    assert found["high"] < 0


def test_an_interval_on_both_sides_is_inconclusive():
    found = gain({("S1", "psnr_depth"): 20 + noise(), ("S2", "psnr_depth"): 20.1 + noise(seed=1)})
    assert found["verdict"] == "INCONCLUSIVE"
    assert found["low"] < 0 < found["high"]


def test_the_margin_counts():
    values = {("S1", "psnr_depth"): 20 + noise(scale=0.1), ("S2", "psnr_depth"): 23 + noise(scale=0.1, seed=1)}
    assert gain(values)["verdict"] == "REPRODUCED"
    assert gain(values, margin=4)["verdict"] == "NOT REPRODUCED"


def test_a_factor_compares_with_a_share_of_the_other_side():
    values = {("S1", "psnr_depth"): 20 + noise(), ("S2", "psnr_depth"): 7 + noise(seed=1)}
    found = gain(values, op="<", factor=0.4)
    assert found["verdict"] == "REPRODUCED"
    assert found["measured"] == pytest.approx(7 - 0.4 * 20, abs=0.7)
    assert gain(values, op="<", factor=0.3)["verdict"] == "NOT REPRODUCED"
    assert gain(values, op="<")["verdict"] == "REPRODUCED"


def test_a_factor_is_said_where_the_limit_can_still_be_drawn():
    one = experiment(left=term(S2), op="<", right=term(S1), factor=0.4)
    assert state(one.claims[0], one) == "mean psnr_depth of qgi S2 < 0.4 × mean psnr_depth of qgi S1"
    assert expectation(one.claims[0]) == "< 0 dB, of left − 0.4 × right"
    assert limits(expectation(one.claims[0])) == (float("-inf"), 0)
    with pytest.raises(ValueError, match="factor"):
        experiment(left=term(S1), op="<", right=3, factor=0.4)


def test_victims_are_paired_so_that_hard_rooms_cancel():
    hard = noise(scale=10)
    values = {("S1", "psnr_depth"): 20 + hard, ("S2", "psnr_depth"): 21 + hard + noise(scale=0.2, seed=1)}
    assert gain(values)["verdict"] == "REPRODUCED"
    shuffled = {
        **values,
        ("S2", "psnr_depth"): np.roll(values[("S2", "psnr_depth")], 4),
    }  # same room types, other rooms
    assert gain(shuffled)["verdict"] == "INCONCLUSIVE"


def test_differences_between_room_types_do_not_widen_the_interval():
    by_type = np.tile([0.0, 10.0, 20.0, 30.0], 6)
    found = verdict({("S1", "psnr_depth"): by_type + noise(scale=0.1)}, left=term(S1), right=14)
    assert found["verdict"] == "REPRODUCED"
    assert found["high"] - found["low"] < 0.2


def test_only_victims_seen_on_both_sides_are_compared():
    values = {("S1", "psnr_depth"): 20 + noise(24), ("S2", "psnr_depth"): 26 + noise(16)}
    assert gain(values)["n"] == 16
    fewer = {("S1", "psnr_depth"): 20 + noise(16), ("S2", "psnr_depth"): 26 + noise(24)}
    assert gain(fewer)["n"] == 16


def test_each_room_type_must_hold_and_the_least_favourable_is_named():
    gains = np.tile([10.0, 10.0, 10.0, 1.0], 6)  # bathrooms gain 1 dB
    values = {("S1", "psnr_depth"): 20 + noise(scale=0.1), ("S2", "psnr_depth"): 20 + gains + noise(scale=0.1, seed=1)}
    assert gain(values, margin=4)["verdict"] == "REPRODUCED"
    found = gain(values, margin=4, each="room_type")
    assert found["verdict"] == "NOT REPRODUCED"
    assert found["measured"] == pytest.approx(1, abs=0.2)
    assert "bathroom" in found["reason"]
    assert gain(values, margin=0.5, each="room_type")["verdict"] == "REPRODUCED"


@pytest.mark.parametrize("op", [">", "<"])
def test_a_claim_that_holds_barely_in_each_room_type_is_rarely_called_false(op):
    sign = 1 if op == ">" else -1
    refuted = 0
    for seed in range(60):
        column = 0.02 + noise(48, seed=seed)
        found = verdict({("S1", "psnr_depth"): sign * column}, left=term(S1), op=op, right=0, each="room_type")
        refuted += found["verdict"] == "NOT REPRODUCED"
    assert refuted <= 6


def test_a_value_within_its_tolerance_is_reproduced_on_unity_at_paper_scale():
    claim = {"kind": "value", "op": "within", "left": term(S1), "right": 22.81, "tolerance": 3}
    values = {("S1", "psnr_depth"): 23 + noise(240)}
    assert verdict(values, "paper", "thor", **claim)["verdict"] == "REPRODUCED"
    assert verdict(values, "paper", "thor", **{**claim, "right": 30})["verdict"] == "NOT REPRODUCED"
    assert verdict(values, "paper", "thor", **{**claim, "right": 26})["verdict"] == "INCONCLUSIVE"
    wide = {("S1", "psnr_depth"): 22.81 + noise(24, scale=30)}
    assert verdict(wide, "paper", "thor", **claim)["verdict"] == "INCONCLUSIVE"


def test_a_value_is_measured_but_not_compared_on_other_rooms():
    claim = {"kind": "value", "op": "within", "left": term(S1), "right": 22.81, "tolerance": 3}
    found = verdict({("S1", "psnr_depth"): 23 + noise()}, **claim)
    assert found["verdict"] == "NOT COMPARABLE"
    assert found["measured"] == pytest.approx(23, abs=0.7)
    assert np.isfinite([found["low"], found["high"]]).all()
    assert (
        "a value comparable only on AI2-THOR in Unity at scale paper, not on this project's own rooms"
        in found["reason"]
    )


def test_smoke_scale_judges_nothing_but_shows_its_number():
    found = verdict({("S1", "psnr_depth"): 30 + noise(4)}, scale="smoke", left=term(S1))
    assert found["verdict"] == "NOT COMPARABLE"
    assert found["measured"] == pytest.approx(30, abs=2)
    assert "smoke scale shows that everything runs and judges nothing" in found["reason"]


def test_missing_metrics_are_not_run_and_say_what_is_missing():
    found = gain({("S1", "psnr_depth"): 20 + noise()})
    assert found["verdict"] == "NOT RUN"
    assert found["n"] == 0
    assert found["reason"].startswith("no psnr_depth of qgi S2")
    assert "at scale" not in found["reason"]
    assert gain({("S1", "psnr_depth"): noise(4)}, scale="smoke")["verdict"] == "NOT RUN"


def test_what_runs_at_another_scale_only_says_so():
    one = experiment(left=term(S1)).model_dump(mode="json")
    one["grid"] = [{**one["grid"][0], "setting": ["S1"], "scales": ["paper"]}, {**one["grid"][0], "setting": ["S2"]}]
    rows = samples.rows({(*KEY["S2"], "psnr_depth"): noise()})
    here = {"scale": "reduced", "simulator": "rooms", "samples": 100, "seed": 0}
    assert judge(rows, Experiment.model_validate(one), **here)["reason"][0] == (
        "no psnr_depth of qgi S1: it runs at scale paper only"
    )


def test_one_victim_per_room_type_is_too_few():
    found = verdict({("S1", "psnr_depth"): 30 + noise(4)}, left=term(S1))
    assert found["verdict"] == "INCONCLUSIVE"
    assert np.isnan(found["low"])
    assert f"{found['n']} victims are too few for an interval; 8 give one" in found["reason"]


def test_perfect_accuracy_is_reproduced_with_the_bound_that_so_few_victims_allow():
    claim = {"left": term(S1, "action_correct"), "op": ">=", "right": 1}
    found = verdict({("S1", "action_correct"): np.ones(24)}, **claim)
    assert found["verdict"] == "REPRODUCED"
    assert (found["low"], found["high"]) == (1, 1)
    assert "24 of 24" in found["reason"]
    assert "0.858" in found["reason"]  # 0.025 ** (1 / 24)
    one_wrong = np.ones(24)
    one_wrong[5] = 0
    assert verdict({("S1", "action_correct"): one_wrong}, **claim)["verdict"] == "NOT REPRODUCED"
    assert "23 of 24" in verdict({("S1", "action_correct"): one_wrong}, **claim)["reason"]


@pytest.mark.parametrize(("statistic", "op", "odd"), [("min", ">=", 10.0), ("max", "<", 30.0)])
def test_one_victim_refutes_what_is_said_of_the_worst(statistic, op, odd):
    column = 20 + noise(scale=0.1)
    claim = {"left": term(S1, statistic=statistic), "op": op, "right": {"min": 15, "max": 25}[statistic]}
    assert verdict({("S1", "psnr_depth"): column}, **claim)["verdict"] == "REPRODUCED"
    column[7] = odd
    found = verdict({("S1", "psnr_depth"): column}, **claim)
    assert found["verdict"] == "NOT REPRODUCED"
    assert "one of the victims is enough to refute it" in found["reason"]


def test_shares_above_a_threshold_count_strictly():
    left = term(S1, "iou", statistic="share_above", threshold=0.9999)
    found = verdict({("S1", "iou"): np.where(np.arange(24) < 18, 1.0, 0.9999)}, left=left, op=">", right=0.5)
    assert found["measured"] == 0.75
    assert "18 of 24" in found["reason"]


def test_without_variation_the_reason_says_so():
    found = gain({("S1", "psnr_depth"): np.full(24, 20.0), ("S2", "psnr_depth"): np.full(24, 20.0)}, margin=4)
    assert found["verdict"] == "NOT REPRODUCED"
    assert "no variation" in found["reason"]


@pytest.mark.parametrize("op", [">", ">=", "<", "<="])
def test_a_tie_in_every_victim_orders_nothing(op):
    alike = {("S1", "iou"): np.full(24, 1.0), ("S2", "iou"): np.full(24, 1.0)}
    found = verdict(alike, left=term(S2, "iou"), op=op, right=term(S1, "iou"))
    assert found["verdict"] == "INCONCLUSIVE"
    assert "both sides are 1 in each of the victims, which orders nothing" in found["reason"]
    right_or_wrong = np.arange(24) % 2.0
    alike = {("S1", "iou"): right_or_wrong, ("S2", "iou"): right_or_wrong}
    assert verdict(alike, left=term(S2, "iou"), op=op, right=term(S1, "iou"))["verdict"] == "INCONCLUSIVE"


def test_sides_that_differ_by_rounding_alone_are_not_ordered():
    column = 20 + noise()
    values = {("S1", "psnr_depth"): column, ("S2", "psnr_depth"): column * (1 + 1e-8)}
    assert gain(values)["verdict"] == gain(values, op="<")["verdict"] == "NOT REPRODUCED"
    assert gain(values, op="<=")["verdict"] == "REPRODUCED"  # an attack that gives back its guess is no better than it
    larger = {**values, ("S2", "psnr_depth"): column * (1 + 1e-3)}
    assert gain(larger)["verdict"] == "REPRODUCED"


def test_medians_are_compared_victim_by_victim():
    hard = np.linspace(1, 30, 24)
    values = {("S1", "psnr_depth"): hard, ("S2", "psnr_depth"): hard + 1 + noise(scale=0.1)}
    medians = {"left": term(S2, statistic="median"), "right": term(S1, statistic="median")}
    found = verdict(values, **medians)
    assert found["verdict"] == "REPRODUCED"
    assert found["measured"] == pytest.approx(1, abs=0.1)
    assert "holds in 24 of 24 victims" in found["reason"]
    assert found["statement"].endswith("by the median of differences")
    few_far_off = {**values, ("S2", "psnr_depth"): np.where(np.arange(24) < 5, -1e4, hard + 1)}
    assert verdict(few_far_off, **medians)["verdict"] == "REPRODUCED"
    assert gain(few_far_off)["verdict"] != "REPRODUCED"


def test_a_multiple_of_a_negative_number_is_no_easier_than_the_number():
    negative = {("S1", "psnr_depth"): -2 + noise(scale=0.1), ("S2", "psnr_depth"): -3 + noise(scale=0.1, seed=1)}
    found = gain(negative, factor=2)  # -3 > 2 * -2, and yet it is less
    assert found["verdict"] == "NOT REPRODUCED"
    assert "of a negative number 2 times is" in found["reason"]
    assert gain({**negative, ("S2", "psnr_depth"): 1 + noise(scale=0.1)}, factor=2)["verdict"] == "REPRODUCED"


def test_an_open_verdict_says_how_many_victims_would_decide_it():
    column = 0.2 + noise(24)
    found = verdict({("S1", "psnr_depth"): column}, left=term(S1), right=0)
    assert found["verdict"] == "INCONCLUSIVE"
    foretold = int(re.search(r"about (\d+) victims would decide it", found["reason"])[1])
    many = np.tile(column, 1 + foretold // 24)
    assert verdict({("S1", "psnr_depth"): many}, left=term(S1), right=0)["verdict"] == "REPRODUCED"
    fewer = np.tile(column, max(foretold // 48, 1))
    assert verdict({("S1", "psnr_depth"): fewer}, left=term(S1), right=0)["verdict"] == "INCONCLUSIVE"
    column = (np.arange(24) % 12 == 0).astype(float)
    touching = {("S1", "iou"): np.zeros(24), ("S2", "iou"): 0.5 * column}
    assert (
        "about 25 victims would decide it" in verdict(touching, left=term(S2, "iou"), right=term(S1, "iou"))["reason"]
    )


@pytest.mark.parametrize(("differ", "found"), [(5, "INCONCLUSIVE"), (6, "REPRODUCED")])
def test_few_victims_that_are_right_on_one_side_alone_may_be_chance(differ, found):
    column = np.arange(24) % 2.0
    better = column.copy()
    better[np.flatnonzero(column == 0)[:differ]] = 1.0
    values = {("S1", "action_correct"): column, ("S2", "action_correct"): better}
    told = verdict(values, left=term(S2, "action_correct"), right=term(S1, "action_correct"))
    assert told["verdict"] == found  # 2 * 0.5 ** 6 is below 5 %, 2 * 0.5 ** 5 is not
    assert (f"{differ} of {differ} do on its side" in told["reason"]) == (found == "INCONCLUSIVE")
    assert told["high"] <= 1


def test_what_a_claim_takes_for_granted_must_be_reproduced():
    values = {("S1", "psnr_depth"): 20 + noise(), ("S2", "psnr_depth"): 15 + noise(seed=1)}
    destroys = {"left": term(S2), "op": "<=", "right": 16}
    there_is = {"id": "there_is", "where": "Table I", "quote": "…", "kind": "relation", "left": term(S1), "op": ">"}
    for least, found in ((18, "REPRODUCED"), (22, "INCONCLUSIVE")):
        one = experiment(given="there_is", others=[{**there_is, "right": least}], **destroys)
        rows = samples.rows({(*KEY[setting], metric): column for (setting, metric), column in values.items()})
        table = judge(rows, one, scale="reduced", simulator="rooms", samples=500, seed=0).set_index("claim")
        assert table["verdict"]["one"] == found
    assert "takes for granted was not seen to hold" in table["reason"]["one"]
    assert "mean psnr_depth of qgi S1 > 22 dB is not reproduced" in table["reason"]["one"]
    with pytest.raises(ValueError, match="no other claim of this experiment"):
        experiment(given="one", **destroys)


def test_standard_deviations_and_extremes_can_be_claimed():
    column = noise(scale=5)
    found = verdict({("S1", "psnr_depth"): column}, left=term(S1, statistic="std"), op=">", right=1)
    assert found["measured"] == pytest.approx(column.std(ddof=1))
    assert found["verdict"] == "REPRODUCED"
    best = verdict({("S1", "psnr_depth"): column}, left=term(S1, statistic="max"), op="<", right=100)
    assert best["measured"] == column.max()
    assert "extremes" in best["reason"]


def test_several_network_seeds_stay_with_their_victim():
    rows = samples.rows({(*KEY["S1"], "psnr_depth"): 20 + noise()})
    second = rows.assign(seed=1, value=rows["value"] + 2)
    both = pd.concat([rows, second], ignore_index=True)
    table = judge(both, experiment(left=term(S1)), scale="reduced", simulator="rooms", samples=500, seed=0)
    assert table["n"][0] == 24
    assert table["measured"][0] == pytest.approx(rows["value"].mean() + 1)


def test_verdicts_do_not_change_from_run_to_run():
    values = {("S1", "psnr_depth"): 20 + noise(), ("S2", "psnr_depth"): 20.5 + noise(seed=1)}
    assert gain(values).equals(gain(values))
    assert gain(values)["low"] != gain(values, seed=2)["low"]


def test_metrics_that_are_not_finite_are_refused():
    with pytest.raises(CorruptArtefactError, match="psnr_depth"):
        verdict({("S1", "psnr_depth"): np.array([1.0, np.nan, 1.0, 1.0])}, left=term(S1))


def test_notes_and_origin_stand_in_the_reason():
    found = verdict({("S1", "psnr_depth"): noise()}, left=term(S1), note="the paper contradicts itself", source="ours")
    assert "the paper contradicts itself" in found["reason"]
    assert "ours" in found["reason"]


def test_statements_read_as_sentences_with_units():
    one = experiment(left=term(S2), right=term(S1), margin=4, each="room_type")
    assert state(one.claims[0], one) == (
        "mean psnr_depth of qgi S2 > mean psnr_depth of qgi S1 + 4 dB, in each room type"
    )
    assert expectation(one.claims[0]) == "difference > 4 dB"
    share = experiment(left=term(S1, "iou", statistic="share_above", threshold=0.9999), op=">", right=0.7)
    assert state(share.claims[0], share) == "share of victims with iou > 0.9999 of qgi S1 > 0.7"
    value = experiment(
        left=term({**S1, "room_type": "living_room"}, "predicted_q_error"),
        **{"kind": "value", "op": "within", "right": 1.03, "tolerance": 0.5},
    )
    assert state(value.claims[0], value) == "mean predicted_q_error of qgi S1, living room = 1.03 % ± 0.5 %"
