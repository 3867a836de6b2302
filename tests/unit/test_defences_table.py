"""The table of defences: what each leaves of each attack, costs and guarantees; and the experiment behind it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlleak.configuration.defences import defence_settings
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.publishing import TABLES

CONFIG = Path(__file__).parents[2] / "config"


def study(scale: str = "reduced"):
    content = {**read_yaml(CONFIG / "config.yaml"), "experiments": ["defences_rooms"], "scale": scale}
    return load_study(content, CONFIG)


def made_up(cells) -> pd.DataFrame:
    rows = []
    for cell in cells:
        own = {"psnr_rgb_read": 20.0, "iou": 0.5, "failed": 0.0, "message_bytes": 1234.0}
        if cell.defence.startswith("dp_"):
            own["epsilon"] = 4.73
        for metric, value in own.items():
            for victim in range(6):
                rows.append(
                    {"simulator": "rooms", "scale": "reduced", **cell.axes, "method": cell.attack, "noise": 0.0}
                    | {"victim": victim, "layout": victim, "room_type": "kitchen", "metric": metric, "value": value}
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_the_experiment_is_valid_at_every_scale(scale: str) -> None:
    assert study(scale).experiment("defences_rooms").claims


def test_every_kind_of_defence_is_run_and_noise_over_the_papers_range() -> None:
    known = study()
    run = {cell.defence for cell in known.experiment("defences_rooms").cells(1)}
    methods = {known.defences[name].method for name in run}
    kinds = {"gaussian_noise", "clipping", "clipped_gaussian", "float16", "int8", "qsgd", "sign", "top_k", "random_k"}
    assert methods == kinds | {"none", "withheld", "pruned_representation", "composed"}
    variances = {getattr(known.defences[name], "variance", None) for name in run} - {None}
    assert {round(math.log10(variance)) for variance in variances} == {-5, -4, -3, -2, -1}


def test_a_naive_attack_stands_beside_each_adaptive_one_where_entries_are_missing() -> None:
    known = study()
    cells = known.experiment("defences_rooms").cells(1)
    missing = {"top_k", "random_k", "withheld", "pruned_representation", "composed"}
    for method in ("closed_form", "qgi"):
        adaptive = {c.defence for c in cells if c.attack == method and known.defences[c.defence].method in missing}
        assert adaptive == {cell.defence for cell in cells if cell.attack == f"{method}_naive"}
        naive, informed = known.attacks[f"{method}_naive"], known.attacks[method]
        assert naive == informed.model_copy(update={"adaptive": False})


def test_the_table_says_what_a_defence_costs_and_guarantees_once() -> None:
    known = study()
    experiment = known.experiment("defences_rooms")
    made = TABLES.load("defences_rooms")(made_up(experiment.cells(1)), experiment)
    rows = {row.labels: row.cells for row in made.rows}
    assert rows["dp strong", "closed form"]["ε of DP"].value == pytest.approx(4.73)
    assert rows["int8", "closed form"]["ε of DP"].shown == "∞"
    assert rows["int8", "closed form"]["bytes"].value == 1234
    assert "bytes" not in rows["int8", "QGI"]
    assert rows["top 1", "QGI, naive"]["IoU"].value == 0.5
    assert "∞" in made.to_csv() or np.isnan(made.frame()["ε of DP"].iloc[0])


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
