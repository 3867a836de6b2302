"""The table of defences: what each leaves of each attack, costs and guarantees; and the experiment behind it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlleak.configuration.defences import defence_settings
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.publishing import FIGURES, TABLES
from rlleak.publishing.defences import by_defence, protects_from

CONFIG = Path(__file__).parents[2] / "config"


def study(scale: str = "reduced"):
    content = {**read_yaml(CONFIG / "config.yaml"), "experiments": ["defences_rooms"], "scale": scale}
    return load_study(content, CONFIG)


REACHED = {"prior_only": 20.0, "qgi_short_naive": 19.0, "qgi_short": 30.0, "best_short": 40.0}
ROOM_TYPES = ("bathroom", "bedroom", "kitchen", "living_room")


def made_up(cells, reached=REACHED) -> pd.DataFrame:
    """Victims of whom noise of variance 0.1 hides everything, and of whom a naive attacker sees less than a guess."""
    rows = []
    for cell in cells:
        depth = 20.0 if cell.defence == "noise_variance_1e1" else reached.get(cell.attack, 25.0)
        own = {"psnr_depth_read": depth, "iou": depth / 100, "failed": 0.0, "message_bytes": 1234.0}
        if cell.defence.startswith("dp_"):
            own["epsilon"] = 4.73
        for metric, value in own.items():
            for victim in range(8):
                rows.append(
                    {"simulator": "rooms", "scale": "reduced", **cell.axes, "method": cell.attack, "noise": 0.0}
                    | {"victim": victim, "layout": victim, "room_type": ROOM_TYPES[victim % 4], "metric": metric}
                    | {"value": value + 0.001 * victim if metric in ("psnr_depth_read", "iou") else value}
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_the_experiment_is_valid_at_every_scale(scale: str) -> None:
    assert study(scale).experiment("defences_rooms").claims


def test_every_kind_of_defence_is_run_and_noise_from_far_below_the_gradient_to_far_above() -> None:
    known = study()
    run = {cell.defence for cell in known.cells()}
    methods = {known.defences[name].method for name in run}
    kinds = {"gaussian_noise", "clipping", "clipped_gaussian", "int8", "sign", "top_k", "random_k"}
    assert methods == kinds | {"none", "withheld", "pruned_representation"}
    ratios = {getattr(known.defences[name], "snr_db", None) for name in run} - {None}
    assert {0, 20} <= ratios
    variances = {getattr(known.defences[name], "variance", None) for name in run} - {None}
    assert {round(math.log10(variance)) for variance in variances} == {-5, -1}


def test_a_naive_attack_stands_beside_who_knows_wherever_entries_are_missing() -> None:
    known = study()
    missing = {"top_k", "random_k", "withheld", "pruned_representation"}
    partial = {cell.defence for cell in known.cells() if known.defences[cell.defence].method in missing}
    for attack in ("qgi_short", "qgi_short_naive", "best_short"):
        assert partial <= {cell.defence for cell in known.cells() if cell.attack == attack}
    for scale in ("smoke", "reduced", "paper"):
        known = study(scale)
        cells = set(known.cells())
        for cell in (cell for cell in cells if cell.attack.endswith("_naive")):
            twin = replace(cell, attack=cell.attack.removesuffix("_naive"))
            assert twin in cells, f"{scale}: {cell}"
            assert known.updates(cell) == known.updates(twin)
            assert known.attacks[cell.attack] == known.attacks[twin.attack].model_copy(update={"adaptive": False})


def test_no_cell_is_tuned_and_none_gets_more_iterations_than_a_try_of_the_search() -> None:
    known = study()
    for attack in {cell.attack for cell in known.cells()} - {"prior_only"}:
        assert not known.is_tuned(attack)
        assert known.attacks[attack].short


@pytest.fixture(scope="module")
def table() -> tuple[dict, object]:
    known = study()
    experiment = known.experiment("defences_rooms")
    made = TABLES.load("defences_rooms")(made_up(known.cells()), experiment)
    return {row.labels: row.cells for row in made.rows}, made


def test_the_table_says_what_a_defence_costs_and_guarantees_once(table) -> None:
    rows, made = table
    assert rows["S2", "clipped, noise × 0.01", "best"]["ε of DP"].value == pytest.approx(4.73)
    assert rows["S2", "8 bits", "QGI"]["ε of DP"].shown == "∞"
    assert rows["S2", "8 bits", "QGI"]["bytes"].value == 1234
    assert "bytes" not in rows["S2", "8 bits", "best"]
    assert "∞" in made.to_csv() or np.isnan(made.frame()["ε of DP"].iloc[0])


def test_the_table_says_of_each_method_which_defences_only_survive_who_does_not_know_them(table) -> None:
    rows, _ = table
    found = {labels[1:]: cells["protects from"].shown for labels, cells in rows.items() if "protects from" in cells}
    assert found["random 10 %", "QGI"] == "naive attackers"
    assert found["8 bits", "QGI"] == found["8 bits", "best"] == "nobody"
    assert found["noise 1e-1", "best"] == "this method"
    assert not any("naive" in method for _, method in found)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"best_short_naive": 19.0}, {"qgi_short": "naive attackers", "best_short": "naive attackers"}),
        # A stronger method beside it is no adaptation of a naive one.
        ({"best_short_naive": 39.0, "qgi_short": 19.0}, {"qgi_short": "this method", "best_short": "nobody"}),
        ({"qgi_short": 19.0, "qgi_short_naive": 30.0}, {"qgi_short": "nobody", "best_short": "nobody"}),
    ],
)
def test_who_knows_a_defence_is_held_against_the_same_method_that_does_not(changed: dict, said: dict) -> None:
    known = study("paper")
    groups = by_defence(known.experiment("defences_rooms"))
    wheres = next(wheres for _, defence, wheres in groups if defence == "no_biases")
    cells = [cell for cell in known.cells() if cell.setting == "S2" and cell.defence in ("no_biases", "none")]
    assert protects_from(made_up(cells, REACHED | changed), wheres) == said


@pytest.mark.parametrize("scale", ["reduced", "paper"])
def test_the_figure_shows_every_attack_under_every_defence_beside_a_guess(scale: str) -> None:
    known = study(scale)
    experiment = known.experiment("defences_rooms")
    figure = FIGURES.load("defences_rooms")(made_up(known.cells()), experiment, None)
    depths, boxes = figure.axes[::2], figure.axes[1::2]
    attacked = [cell for cell in known.cells() if cell.attack != "prior_only"]
    assert sum(len(axes.get_yticklabels()) for axes in depths) == len(
        {(cell.setting, cell.defence) for cell in attacked}
    )
    markers = [line for axes in depths for line in axes.lines if line.get_marker() not in ("None", None, "")]
    assert len(markers) == len(attacked)
    hollow = [line for line in markers if line.get_markerfacecolor() == "white"]
    assert len(hollow) == len([cell for cell in attacked if cell.attack.endswith("_naive")])
    assert all(axes.get_xlabel() for axes in boxes)


def test_scores_say_what_the_update_took_and_what_it_guarantees() -> None:
    import attack_cases

    from rlleak.learners.dqn import DQNLoss
    from rlleak.metrics.scoring import score
    from rlleak.sharing.defences import message_bytes
    from rlleak.sharing.private import withhold

    network, batch, update = attack_cases.victims(2)
    private = withhold(network, DQNLoss(), batch, np.array([5, 430]), np.array([0, 3]), depth_limit=8.0)
    from rlleak.attacks import ATTACKS

    found = ATTACKS.load("closed_form")(update, attack_cases.settings("closed_form"), seed=0)
    place = {"simulator": "rooms", "scale": "smoke", "learner": "dqn", "network": "small", "setting": "S1", "seed": 0}
    place |= {"policy": "random", "batch": 1, "actions": "any", "precision": "float32", "attack": "closed_form"}
    for given, guaranteed in (
        ("int8", False),
        ({"method": "clipped_gaussian", "norm": 1, "noise_multiplier": 1}, True),
    ):
        settings = defence_settings(given)
        table = score(found, private, {**place, "defence": "d"}, network.spec, defence=settings)
        measured = table.groupby("metric")["value"].first()
        assert measured["message_bytes"] == message_bytes(settings, network.spec)
        assert ("epsilon" in measured) == guaranteed
