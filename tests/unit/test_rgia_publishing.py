"""RGIA's experiments are valid, their tables leave nothing out in silence, and their figures show what was found."""

from functools import cache

import numpy as np
import published_samples as samples
import pytest
import transition_samples as transitions
import yaml
from matplotlib.figure import Figure

from rlleak.configuration.axes import Cell
from rlleak.configuration.experiments import Experiment, Selection, Term
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.publishing import FIGURES, TABLES
from rlleak.publishing.labels import attack_label, swept
from rlleak.publishing.metrics_table import caption_of, read_metrics
from rlleak.publishing.rgia import victims
from rlleak.publishing.statements import state
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.views import Views
from rlleak.sharing.private import PrivateSide

CONFIG = samples.ROOT / "config"
NAMES = tuple(transitions.EXPERIMENTS)
METRICS = ("mse", "nrmse_state", "te", "reward_accuracy", "recovery_accuracy", "ed", "ss", "cd", "failed")
HOPPER = {"learner": "critic", "setting": "Hopper", "network": "mlp256"}


def study(scale: str):
    return load_study({**read_yaml(CONFIG / "config.yaml"), "experiments": list(NAMES), "scale": scale}, CONFIG)


@cache
def made(name: str, *more: str):
    """A table or figure by its name, its experiment and the made-up metrics that it was made from."""
    builder = next(e for e in transitions.EXPERIMENTS.values() for made in e.publishes if made.name == name)
    metrics = transitions.made_up(builder, [*METRICS, *more])
    return builder, metrics


@cache
def table(name: str, *more: str):
    experiment, metrics = made(name, *more)
    chosen = next(made.builder for made in experiment.publishes if (made.name, made.kind) == (name, "table"))
    return TABLES.load(chosen)(metrics, experiment), metrics


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_every_experiment_is_valid_and_runs_something_at_every_scale(scale: str) -> None:
    loaded = study(scale)
    for experiment in loaded.experiments:
        assert loaded.cells(experiment.id)
    for cell in loaded.cells():
        assert loaded.on_transitions(cell.attack)
        assert cell.attack in loaded.together(loaded.path(cell))


def test_claims_can_be_stated_and_no_two_experiments_share_one() -> None:
    every = [Experiment.model_validate(yaml.safe_load(path.read_text())) for path in CONFIG.glob("experiments/*.yaml")]
    ids = [claim.id for experiment in every for claim in experiment.claims]
    assert len(ids) == len(set(ids))
    for experiment in transitions.EXPERIMENTS.values():
        assert all(state(claim, experiment) for claim in experiment.claims)


def test_the_summarys_60_percent_are_a_factor() -> None:
    claims = {claim.id: claim for claim in transitions.EXPERIMENTS["rgia_consistency"].claims}
    assert (claims["hopper_ed"].op, claims["hopper_ed"].factor) == ("<", 0.4)
    assert (claims["hopper_ss"].op, claims["hopper_ss"].factor) == (">", 2)


def test_a_variant_is_what_its_name_says_and_rgia_in_everything_else() -> None:
    attacks = study("reduced").transition_attacks
    usual = attacks["rgia"].model_dump()
    amounts = {"100": 100, "300": 300, "0.1%": 1000, "0.3%": 3000, "0.5%": 5000, "1%": 10_000}
    seen = set()
    for name, settings in attacks.items():
        if not (level := swept(name)):
            continue
        seen.add(level[0])
        own = settings.model_dump()
        value = own.pop(level[0])
        assert level[1] == (amounts[value] if level[0] == "prior" else value), name
        assert own == {key: kept for key, kept in usual.items() if key != level[0]}, name
    assert seen == {"alpha", "beta", "gamma", "prior"}


@pytest.mark.parametrize("key", ["alpha", "beta", "gamma"])
def test_every_sweep_holds_rgias_own_weight(key: str) -> None:
    attacks = study("reduced").transition_attacks
    assert getattr(attacks["rgia"], key) in {level[1] for name in attacks if (level := swept(name)) and level[0] == key}


def test_variants_are_named_by_what_they_vary() -> None:
    assert attack_label("rgia_gamma_0_01") == "RGIA, γ = 0.01"
    assert attack_label("rgia_prior_10000") == "RGIA, 10,000 transitions"
    assert attack_label("rgia_prior_biased") == "RGIA, biased prior"
    assert swept("rgia") is None


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


@pytest.mark.parametrize("name", NAMES)
def test_captions_say_whose_formulas_and_which_environments(name: str) -> None:
    experiment = transitions.EXPERIMENTS[name].model_dump(mode="json")
    for publication in transitions.EXPERIMENTS[name].publishes:
        caption = caption_of(experiment, publication.name, "reduced", "rooms")
        assert caption.endswith("(reduced scale, environments of gymnasium)")
        if publication.kind == "table":
            assert "ours" in caption


# Attacks that ran side by side: one file, several experiments


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """By environment: paths of everything that any experiment asks of its semi-gradients over one transition."""
    return {
        setting: transitions.stored(tmp_path_factory.mktemp(setting), cells_of(setting))
        for setting in ("Hopper", "FrozenLake", "Pong")
    }


def cells_of(setting: str) -> list[Cell]:
    every = {cell for experiment in transitions.EXPERIMENTS.values() for cell in experiment.cells(1)}
    return sorted(
        cell
        for cell in every
        if (cell.setting, cell.batch, cell.policy) == (setting, 1, "random") and not cell.learner.startswith("residual")
    )


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


# Figures


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
    assert names == ["nothing", "weights", "100", "300", "1,000", "3,000", "5,000", "10,000", "one-sided"]
    line, others, _ = figure.axes[0].lines
    assert line.get_xdata().tolist() == [2, 3, 4, 5, 6, 7]
    assert others.get_xdata().tolist() == [0, 1, 8]
    assert others.get_linestyle() == "None"


def test_batches_have_a_line_per_attack() -> None:
    experiment, metrics = made("rgia_batch")
    figure = FIGURES.load("rgia_batch")(metrics, experiment, None)
    assert [len(axes.lines) for axes in figure.axes] == [5] * 6
    assert figure.axes[0].lines[1].get_xdata().tolist() == [0, 1, 2, 3, 4]


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
    assert "\nimpossible, gradient off by" in by["plain inversion"]
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
    assert len(figure.axes) == 10
    assert all(len(axes.images) == 1 for axes in figure.axes)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "s: truth"
    assert titles[5] == "s': truth"
    assert titles[9] == "s': ours"
    assert "dB" in figure.axes[1].get_xlabel()


@pytest.mark.parametrize(
    ("name", "builder"),
    [("rgia_consistency", "rgia_clusters"), ("rgia_frozenlake", "rgia_pseudo_solutions"), ("rgia_main", "rgia_frames")],
)
def test_figures_without_anything_to_show_say_what_was_missing(name: str, builder: str) -> None:
    experiment, metrics = made(name)
    assert len(words(FIGURES.load(builder)(metrics[:0], experiment, None)).strip()) > 20


def test_what_ran_is_grouped_in_the_environments_order() -> None:
    experiment, metrics = made("rgia_main")
    settings = list(dict.fromkeys(setting for setting, _ in victims(metrics, experiment)))
    assert settings[0] == "Hopper"
    assert settings[-1] == "FrozenLake"


def test_no_number_of_ours_stands_where_the_papers_would() -> None:
    for experiment in transitions.EXPERIMENTS.values():
        for claim in experiment.claims:
            assert isinstance(claim.right, Term) or claim.source == "ours", claim.id
