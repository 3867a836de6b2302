"""Experiments on defences and federated training: valid at every scale, paired, and what is not trained is said so."""

import shutil
from pathlib import Path

import defence_samples as samples
import numpy as np
import pandas as pd
import published_samples as published
import pytest
import yaml

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError
from rlleak.publishing import FIGURES, TABLES
from rlleak.publishing.labels import KINDS, defence_kind, defence_label, variance_of
from rlleak.publishing.statements import state
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.verdicts import NOT_RUN, judge

CONFIG = published.ROOT / "config"
FEDERATED = {"learner": ["dqn"], "attack": [TRAINING], "setting": ["CartPole"], "network": ["mlp64"]}


def study(scale: str, folder: Path = CONFIG, **changes: object):
    content = {**read_yaml(CONFIG / "config.yaml"), "experiments": list(samples.NAMES), "scale": scale, **changes}
    return load_study(content, folder)


class Curves:
    """Learning curves that rise to what the defence leaves."""

    def curve(self, where) -> pd.DataFrame:
        level = samples.UNDEFENDED * samples.RETURN.get(where.defence, 1.0)
        steps = np.arange(5) * 1000
        return pd.concat(
            pd.DataFrame({"run": run, "environment_steps": steps, "return": level * (1 - np.exp(-steps / 2000)) + run})
            for run in range(5)
        )


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_every_experiment_runs_something_at_every_scale(scale: str) -> None:
    loaded = study(scale)
    for experiment in loaded.experiments:
        cells = loaded.cells(experiment.id)
        assert cells
        # Whatever is trained under a defence is trained without it, too: else there is nothing to compare with.
        trained = {(cell.setting, cell.defence) for cell in cells if loaded.trains(cell.attack)}
        assert {(setting, "none") for setting, _ in trained} <= trained
    for cell in loaded.cells():
        if loaded.trains(cell.attack):
            assert loaded.training(cell.learner, cell.network, cell.setting, cell.batch).batch == cell.batch
            assert list(loaded.shards(cell)) == [0]
            assert loaded.path(cell).startswith(f"{TRAINING}/")


def test_games_are_trained_at_paper_only() -> None:
    for scale, trained in (("reduced", {"CartPole", "Hopper"}), ("paper", {"CartPole", "Hopper", "Pong", "Ant"})):
        loaded = study(scale)
        assert trained <= {cell.setting for cell in loaded.cells() if loaded.trains(cell.attack)}
        assert scale == "paper" or trained == {cell.setting for cell in loaded.cells() if loaded.trains(cell.attack)}


def test_sums_of_fifty_clients_are_attacked() -> None:
    assert {cell.batch for cell in study("reduced").cells("defences_sums")} == {1, 2, 5, 10, 50}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": ["Hopper"]}, "does not fit the actions of Hopper"),
        ({"precision": ["float64"]}, "training knows no precision 'float64'"),
        ({"policy": ["trained"]}, "training knows no policy 'trained'"),
        ({"setting": ["Pong"], "network": ["mnih2015_trained"]}, "starts with a fresh network"),
        ({"batch": [64]}, "hold a batch of 64"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(change: dict, message: str, tmp_path: Path) -> None:
    shutil.copytree(CONFIG, tmp_path / "config")
    content = {"id": "tiny", "paper": "p", "title": "t", "metrics": ["return"], "grid": [FEDERATED | change]}
    (tmp_path / "config/experiments/tiny.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=message) as refused:
        study("reduced", tmp_path / "config", experiments=["tiny"])
    assert "\n" not in str(refused.value)


def test_names_of_noise_say_its_variance_and_every_defence_has_a_kind() -> None:
    for name, settings in study("reduced").defences.items():
        variance = variance_of(name)
        assert variance == getattr(settings, "variance", None)
        assert defence_kind(name) in {*KINDS.values(), "combined"}
    assert defence_label("noise_variance_2e3") == "noise 2e-3"
    assert defence_label("noise_1e1") == "noise, SNR 20 dB"
    assert defence_label("noise_snr_10db") == "noise, SNR 10 dB"
    assert defence_label("noise_snr_m10db") == "noise, SNR -10 dB"
    assert defence_label("local_8_1e3") == "8 local steps of 1e-3"


@pytest.mark.parametrize("name", samples.NAMES)
def test_claims_can_be_stated_and_judged(name: str) -> None:
    experiment = samples.EXPERIMENTS[name]
    verdicts = judge(samples.made_up(experiment), experiment, scale="reduced", simulator="rooms", samples=200, seed=0)
    assert len(verdicts) == len(experiment.claims)
    told = {claim.id: row for claim, row in zip(experiment.claims, verdicts.itertuples(), strict=True)}
    assert all(state(claim, experiment) for claim in experiment.claims)
    # Frames of games have no error of this kind in the made-up scores.
    of_frames = {claim.id for claim in experiment.claims if claim.left.metric == "psnr_state"}
    assert {key for key, row in told.items() if row.verdict == NOT_RUN} == of_frames


def test_the_table_of_costs_has_a_row_for_everything_that_ran() -> None:
    experiment = samples.EXPERIMENTS["defences_table2"]
    metrics = samples.made_up(experiment)
    kept = metrics[metrics["setting"].isin(["Hopper", "CartPole", "Pong"])]
    kept = kept[(kept["attack"] != TRAINING) | (kept["setting"] != "Pong")]
    table = TABLES.load("defence_costs")(kept, experiment)
    rows = {row.labels: row.cells for row in table.rows}
    assert len(rows) == 3 * (6 * 2 + 1)
    first = rows["CartPole", "noise 1e-1", "RGIA"]
    assert first["of undefended [%]"].value == pytest.approx(10, abs=0.2)
    assert "return" not in rows["CartPole", "noise 1e-1", "ours"]
    assert "return" not in rows["Pong", "noise 1e-1", "RGIA"]
    assert rows["Hopper", "any", "prior only"]["s [σ]"].value == pytest.approx(1, abs=0.05)


def test_curves_of_success_and_return_run_over_the_variance() -> None:
    experiment = samples.EXPERIMENTS["defences_crossover"]
    metrics = samples.made_up(experiment)
    figure = FIGURES.load("defence_costs")(metrics, experiment, None)
    recovered, errors, returns = figure.axes
    names = [label.get_text() for label in returns.get_xticklabels()]
    assert names == ["none", "1e-4", "1e-3", "2e-3", "5e-3", "1e-2", "1e-1"]
    # Three attacks on updates of a fresh network, two of a trained one, and the guess.
    assert len(recovered.lines) == len(errors.lines) == 6
    assert sum(line.get_linestyle() == ":" for line in recovered.lines) == 2
    (line,) = returns.lines
    trained = next(where for where in claims_about(experiment) if where.defence == "noise_variance_5e3")
    assert line.get_ydata()[4] == pytest.approx(rows_of(metrics, trained, "return")["value"].mean())


def test_returns_are_seen_from_0_and_what_was_not_trained_has_no_axes() -> None:
    experiment = samples.EXPERIMENTS["defences_table2"]
    metrics = samples.made_up(experiment)
    metrics = metrics[metrics["setting"].isin(["CartPole", "Pong"])]
    metrics = metrics[(metrics["attack"] != TRAINING) | (metrics["setting"] != "Pong")]
    figure = FIGURES.load("defence_costs")(metrics, experiment, None)
    cartpole, pong = figure.axes[2], figure.axes[5]
    assert cartpole.get_ylim()[0] <= 0
    assert cartpole.get_xlabel() == "variance of the noise"
    assert [text.get_text() for text in pong.texts] == ["trained at paper only"]
    assert not pong.get_xticks().size
    assert not any(spine.get_visible() for spine in pong.spines.values())


def test_the_table_says_at_which_variance_each_decision_flips_and_where_none_can_be_made() -> None:
    experiment = samples.EXPERIMENTS["defences_crossover"]
    metrics = samples.made_up(experiment)
    # Half of the updates are hidden at 5e-3 and the others are not: nothing can be said.
    halved = (metrics["defence"] == "noise_variance_5e3") & (metrics["attack"] == "transition_best")
    halved &= (metrics["metric"] == "nrmse_state") & (metrics["network"] == "mlp64_trained")
    metrics.loc[halved, "value"] = np.tile([0.3, 1.5], halved.sum() // 2)
    told = dict(
        note.split(": ", 1) for note in TABLES.load("defence_costs")(metrics, experiment).notes if "CartPole," in note
    )
    best = told["CartPole, ours, trained network"]
    assert [part.split(" at ")[0] for part in best.split("; ")] == [
        "shown better",
        "undecided",
        "shown no better than a guess",
    ]
    assert "; undecided at 5e-3 (" in best
    assert "5e-3" in told["CartPole, ours, fresh network"].split("; ")[0]
    assert told["CartPole, return"].startswith("shown within 5 % of the undefended return at 1e-4 (100 % [")
    assert "shown below it at 5e-3 (85 % [" in told["CartPole, return"]


def claims_about(experiment):
    return [term.where for claim in experiment.claims for term in claim.terms if term.where.attack == TRAINING]


def test_learning_curves_have_a_panel_per_kind_and_the_undefended_in_each() -> None:
    experiment = samples.EXPERIMENTS["federated_curves"]
    figure = FIGURES.load("federated_curves")(samples.made_up(experiment), experiment, Curves())
    titled = [axes for axes in figure.axes if axes.get_title()]
    for axes in titled:
        assert axes.get_legend().get_texts()[0].get_text() == "undefended"
    titles = [axes.get_title() for axes in titled]
    assert len(set(titles)) == len(titles)
    assert {"CartPole: clipping", "CartPole: clipping and noise", "Hopper: noise of a variance"} <= set(titles)
    cells = experiment.cells(1)
    assert sum(len(axes.lines) - 1 for axes in titled) + len({cell.setting for cell in cells}) == len(cells)
    assert max(len(axes.lines) for axes in titled) == 4
    # More than three stand in panels of their own; the last is that of the largest variances.
    noise = [axes for axes in titled if axes.get_title().startswith("CartPole: noise of a variance\n")][-1]
    assert noise.get_title().endswith("noise 1e-1")
    ends = [line.get_ydata()[-1] for line in noise.lines]
    assert ends[0] > ends[-1]


def test_learning_curves_without_an_undefended_one_stand_alone_and_say_so() -> None:
    experiment = samples.EXPERIMENTS["federated_curves"]
    metrics = samples.made_up(experiment)
    bare = metrics[(metrics["setting"] != "Hopper") | (metrics["defence"] != "none")]
    whole, without = (FIGURES.load("federated_curves")(table, experiment, Curves()) for table in (metrics, bare))
    titles = [{axes.get_title() for axes in figure.axes} - {""} for figure in (whole, without)]
    assert titles[1] - titles[0] == {"Hopper: noise of a variance\nno undefended training"}
    assert all(title.startswith("Hopper") for title in titles[0] - titles[1])
    (noise,) = [axes for axes in without.axes if axes.get_title().startswith("Hopper")]
    labels = {text.get_text() for text in noise.get_legend().get_texts()}
    assert labels == {"noise 1e-2, batch 64", "noise 1e-1, batch 64", "noise 1e-1, batch 2"}
