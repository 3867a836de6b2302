"""Tables and figures beyond the papers: the same victims for all, and nothing left out in silence."""

import numpy as np
import pandas as pd
import published_samples as samples
import pytest

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.publishing import FIGURES, TABLES
from rlleak.publishing.beyond import in_common
from rlleak.publishing.metrics_table import read_metrics
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.views import Views
from rlleak.simulators.layouts import layout_of_victim

NAMES = ("beyond_table1", "beyond_noise", "beyond_architectures", "beyond_batch")
CONFIG = samples.ROOT / "config"
STUDY = load_study({**read_yaml(CONFIG / "config.yaml"), "experiments": list(NAMES)}, CONFIG)
LEVELS = {"none": 0.0, "noise_1e3": 1e-3, "noise_1e2": 1e-2, "noise_1e1": 1e-1}
TRUST = {"unknowns": 100.0, "equations": 80.0, "rank": 70.0, "condition": 3.5, "residual": 1e-7}


def made_up(experiment: Experiment, metrics: list[str]) -> pd.DataFrame:
    """A long table of everything that the experiment runs; slow attacks meet 8 of 12 victims."""
    parts = []
    for number, cell in enumerate(experiment.cells(1)):
        few = STUDY.meets_few(cell.attack, cell.defence)
        victims = range(8 if few else 12)
        generator = np.random.default_rng(number)
        for metric in metrics:
            value = TRUST.get(metric.removeprefix("trust_").partition("_")[0])
            column = generator.random(len(victims)) if value is None else np.full(len(victims), value)
            parts.append(
                pd.DataFrame(
                    {
                        **{"simulator": "rooms", "scale": "reduced", **cell.axes, "method": cell.attack},
                        "noise": LEVELS.get(cell.defence, 0.0),
                        "victim": victims,
                        "layout": [layout_of_victim(victim) for victim in victims],
                        "room_type": [("kitchen", "living_room", "bedroom", "bathroom")[v % 4] for v in victims],
                        "metric": metric,
                        "value": 0.0 if metric == "failed" else column,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def table(name: str, metrics: pd.DataFrame):
    return TABLES.load(name)(metrics, STUDY.experiment(name))


def test_methods_are_compared_on_the_victims_that_all_of_them_met() -> None:
    experiment = STUDY.experiment("beyond_table1")
    metrics = made_up(experiment, ["psnr_rgb_read", "failed"])
    made = table("beyond_table1", metrics)
    counts = {row.labels: row.cells["n"].value for row in made.rows if "n" in row.cells}
    assert set(counts.values()) == {8.0}
    qgi = Selection(learner="dqn", attack="qgi", setting="S1", network="mnih2015")
    common = rows_of(metrics, qgi, "psnr_rgb_read").query("victim < 8")["value"]
    shown = next(row for row in made.rows if row.labels == ("S1", "QGI", "mean"))
    assert shown.cells["Y, read [dB]"].value == pytest.approx(common.mean())
    assert shown.cells["Y, read [dB]"].value != pytest.approx(rows_of(metrics, qgi, "psnr_rgb_read")["value"].mean())
    medians = next(row for row in made.rows if row.labels == ("S1", "QGI", "median"))
    assert medians.cells["Y, read [dB]"].value == pytest.approx(common.median())


def test_learners_and_settings_have_common_victims_of_their_own() -> None:
    metrics = made_up(STUDY.experiment("beyond_table1"), ["failed"])
    without_slow_in_s2 = metrics[~((metrics["setting"] == "S2") & metrics["attack"].isin(["peel", "best"]))]
    kept = in_common(without_slow_in_s2).groupby(["learner", "setting"])["victim"].nunique()
    assert kept["dqn", "S1"] == 8
    assert kept["dqn", "S2"] == 12


def test_noise_stands_in_columns_from_none_to_most() -> None:
    metrics = made_up(STUDY.experiment("beyond_noise"), ["psnr_rgb_read", "psnr_depth_read", "failed"])
    made = table("beyond_noise", metrics)
    assert made.columns == ("none", "0.1 %", "1 %", "10 %", "n")
    assert {row.labels[0] for row in made.rows} == {"QGI", "peel", "best", "prior only"}
    for row in made.rows:
        assert set(row.cells) == ({"none", "n"} if row.labels[0] == "prior only" else set(made.columns))
    assert {row.cells["n"].value for row in made.rows} == {8.0}


def test_each_layer_has_its_counts_and_each_network_its_images() -> None:
    counts = [f"trust_{name}_{layer}" for name in TRUST for layer in ("hidden.0", "convolutions.2", "convolutions.1")]
    images = ["psnr_image_read", "psnr_rgb_read", "psnr_depth_read"]
    metrics = made_up(STUDY.experiment("beyond_architectures"), [*images, "failed", *counts])
    made = table("beyond_architectures", metrics)
    layers = [row.labels[3] for row in made.rows if row.labels[:3] == ("narrow", "S1", "float32")]
    assert layers == ["convolutions.1", "convolutions.2", "hidden.0"]
    assert {row.labels[:3] for row in made.rows} == {
        (cell.network, cell.setting, cell.precision) for cell in STUDY.experiment("beyond_architectures").cells(1)
    }
    for row in made.rows:
        assert row.cells["equations per unknown"].value == pytest.approx(0.8)
        assert ("Y, read [dB]" in row.cells) == (row.labels[3] == "convolutions.1")


def test_a_batch_of_which_nothing_is_claimed_says_so() -> None:
    shares, images = ["batch_claimed", "batch_recall", "batch_precision"], ["batch_psnr_rgb", "batch_psnr_depth"]
    metrics = made_up(STUDY.experiment("beyond_batch"), [*shares, *images, "failed"])
    silent = (metrics["batch"] == 32) & (metrics["metric"] == "batch_precision")
    made = table("beyond_batch", metrics[~silent])
    rows = {row.labels: row.cells for row in made.rows}
    assert made.columns == tuple(f"batch {size}" for size in (1, 2, 4, 8, 16, 32))
    assert rows["7 actions", "float32", "precision"]["batch 32"].shown == "no claim"
    assert np.isfinite(rows["7 actions", "float32", "recall"]["batch 32"].value)
    assert "batch 1" not in rows["7 actions, one taken", "float64", "recall"]
    assert set(rows["7 actions", "float32", "images, depth [dB]"]) == {"batch 2", "batch 4", "batch 8"}
    met = metrics[(metrics["attack"] == "batch_images") & (metrics["batch"] == 2)]
    # PSNR stands beside how much is claimed, and of how many updates.
    for beside in ("images, claimed", "images, recall", "images, n"):
        assert set(rows["7 actions", "float32", beside]) == {"batch 2", "batch 4", "batch 8"}
    assert rows["7 actions", "float32", "images, n"]["batch 2"].value == met["victim"].nunique()
    assert len(rows) == 3 * 2 * 2 + 5


@pytest.mark.parametrize("name", ["beyond_noise", "beyond_batch"])
def test_curves_show_every_line(name: str) -> None:
    experiment = STUDY.experiment(name)
    images = ["psnr_rgb_read", "psnr_depth_read", "batch_psnr_rgb", "batch_psnr_depth"]
    metrics = made_up(experiment, [*images, "batch_recall", "batch_precision", "failed"])
    figure = FIGURES.load(name)(metrics, experiment, None)
    lines = [len(axes.lines) for axes in figure.axes]
    assert lines == ([4, 4] if name == "beyond_noise" else [4, 4, 4, 2])
    # Shares are all the same here, and still none hides another.
    apart = {line.get_xdata()[-1] for line in figure.axes[0].lines}
    assert len(apart) == 4


def test_what_did_not_run_has_neither_panel_nor_name() -> None:
    experiment = STUDY.experiment("beyond_batch")
    metrics = made_up(experiment, ["batch_recall", "batch_precision", "batch_psnr_rgb", "batch_psnr_depth", "failed"])
    ran = metrics[(metrics["actions"] != "shared") & (metrics["precision"] == "float32")]
    figure = FIGURES.load("beyond_batch")(ran, experiment, None)
    assert [axes.get_title() for axes in figure.axes] == ["7 actions", "value", "images"]
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert named == ["float32", "recall", "precision"]


def test_rooms_stand_beside_the_papers_and_ours(tmp_path) -> None:
    paths = samples.stored(tmp_path, "beyond_table1", victims=8, side=40)
    figure = FIGURES.load("beyond_rooms")(read_metrics(paths[0]), STUDY.experiment("beyond_table1"), Views(*paths))
    headings = [axes.get_title() for axes in figure.axes[:6]]
    assert headings[0] == "RGB: QGI"
    assert headings[2] == "RGB: truth"
    assert headings[5] == "depth: truth"
    assert len(figure.axes) == 4 * 6


def test_what_a_shape_foretells_stands_beside_what_came_out_and_a_guess_without_a_gradient() -> None:
    experiment = samples.experiment("defences_architecture")
    counts = [f"trust_{name}_{layer}" for name in TRUST for layer in ("hidden.0", "convolutions.1", "convolutions.0")]
    metrics = made_up(experiment, ["psnr_depth_read", "failed", "trust_no_bias", *counts])
    said = metrics["metric"].str.startswith("trust_")
    metrics = metrics[~(said & (metrics["attack"] == "prior_only"))]
    biased = (metrics["metric"] == "trust_no_bias") & (metrics["network"] != "no_bias")
    metrics.loc[biased, "value"] = 0.0
    made = TABLES.load("beyond_architectures")(metrics, experiment)
    counted = [row for row in made.rows if row.labels[3] != "–"]
    foretold = {(row.labels[0], row.labels[3]): row.cells["foretold"].shown for row in counted}
    assert foretold["no_bias, closed form", "hidden.0"] == "direction"
    assert foretold["strided, closed form", "hidden.0"] == "exact"
    assert {foretold["few, best", f"convolutions.{index}"] for index in (0, 1)} == {"prior"}  # 0.8 equations each
    guess = next(row for row in made.rows if row.labels[0] == "mnih2015, prior only")
    assert "depth, read [dB]" in guess.cells
    # What a scale leaves out has no row.
    assert {row.labels[1] for row in made.rows} == {"S1", "S2"}
    fewer = TABLES.load("beyond_architectures")(metrics[metrics["setting"] == "S2"], experiment)
    assert {row.labels for row in fewer.rows} == {row.labels for row in made.rows if row.labels[1] == "S2"}
