"""Tables show what was measured beside what the paper prints, in its layout, for programs, papers and browsers."""

import io

import numpy as np
import pandas as pd
import published_samples as samples
import pytest

from rlleak.configuration.experiments import Experiment
from rlleak.publishing import TABLES
from rlleak.publishing.metrics_table import caption_of, read_metrics
from rlleak.publishing.table import Cell, Row, Table, latex


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """The metrics of each table's experiment, from small made-up reconstructions."""
    return {
        name: read_metrics(samples.stored(tmp_path_factory.mktemp(name), name, victims=8, side=40)[0])
        for name in ("qgi_table1", "qgi_table2")
    }


def made(metrics, name, builder):
    return TABLES.load(builder)(metrics[name], samples.experiment(name))


def test_table_1_has_the_papers_layout(metrics):
    frame = made(metrics, "qgi_table1", "table1").frame()
    assert list(frame.columns[:4]) == ["method", "setting", "state", "metric"]
    shown = [tuple(row) for row in frame.iloc[:12, :4].to_numpy()]
    one = [("S1", "RGB", "PSNR"), ("S1", "RGB", "SSIM"), ("S1", "depth", "PSNR"), ("S1", "depth", "SSIM")]
    both = [*one, ("S2", "depth", "PSNR"), ("S2", "depth", "SSIM")]
    assert shown == [("QGI", *row) for row in both] + [("RGI", *row) for row in both]
    for column in ("bathroom", "bedroom", "kitchen", "living room", "average", "best", "n"):
        assert column in frame


def test_table_1s_numbers_are_those_of_the_metrics(metrics):
    frame = made(metrics, "qgi_table1", "table1").frame()
    rows = metrics["qgi_table1"]
    mine = rows[(rows.attack == "qgi") & (rows.setting == "S1") & (rows.metric == "psnr_rgb")]
    first = frame.iloc[0]
    assert first["average"] == pytest.approx(mine.value.mean())
    assert first["average std"] == pytest.approx(mine.value.std())
    assert first["best"] == mine.value.max()
    assert first["kitchen"] == pytest.approx(mine[mine.room_type == "kitchen"].value.mean())
    assert first["n"] == 8


def test_the_papers_values_come_from_the_claims(metrics):
    frame = made(metrics, "qgi_table1", "table1").frame()
    assert frame.loc[0, "bathroom paper"] == "22.81 ± 5.99"
    assert frame.loc[0, "average paper"] == "21.02 ± 5.86"
    assert frame.loc[11, "best paper"] == "1.000"
    claims = samples.experiment("qgi_table1").claims
    ours = [claim.model_copy(update={"source": "ours"}) for claim in claims]
    not_the_papers = samples.experiment("qgi_table1").model_copy(update={"claims": tuple(ours)})
    assert "bathroom paper" not in TABLES.load("table1")(metrics["qgi_table1"], not_the_papers).frame()
    without = samples.experiment("qgi_table1").model_copy(update={"claims": ()})
    assert "bathroom paper" not in TABLES.load("table1")(metrics["qgi_table1"], without).frame()


@pytest.mark.parametrize(
    ("name", "builder"), [("qgi_table1", "table1"), ("qgi_table1", "section5"), ("qgi_table2", "table2")]
)
def test_every_table_has_a_row_that_never_saw_a_gradient(metrics, name, builder):
    assert any(row.labels[0].startswith("prior only") for row in made(metrics, name, builder).rows)


def test_section_5_shows_bounds_and_counts_of_the_text(metrics):
    frame = made(metrics, "qgi_table1", "section5").frame().set_index(["method", "setting"])
    assert frame.loc[("QGI", "S1"), "IoU paper"] == "> 0.9"
    assert frame.loc[("QGI", "S1"), "share of IoU > 0.9999 paper"] == "0.725"
    assert frame.loc[("QGI", "S2"), "ε(Q) [%] paper"] == "< 1.1 ± < 1.6"
    assert frame.loc[("RGI", "S1"), "reward error paper"] == "< 1e-06"
    assert frame.loc[("RGI", "S1"), "action correct paper"] == "≥ 1"
    assert np.isnan(frame.loc[("RGI", "S1"), "ε(Q) [%]"])  # REINFORCE has no Q-values


def test_table_2_marks_the_best_mean_of_each_column(metrics):
    table = made(metrics, "qgi_table2", "table2")
    frame = table.frame()
    for column, better in (("IoU", max), ("ε(Q̂) [%]", min), ("ε(Q) [%]", min)):
        best = [row.cells[column].value for row in table.rows if row.cells[column].best]
        assert best == [better(frame[column])]
    assert list(frame["method"])[:4] == ["DLG, action optimised", "DLG, action by rule", "inverting gradients", "QGI"]


def test_failures_are_counted_beside_the_number_of_victims(metrics):
    broken = metrics["qgi_table2"].copy()
    victim = (broken.attack == "qgi") & (broken.victim == 3) & (broken.metric == "failed")
    broken.loc[victim, "value"] = 1.0
    table = TABLES.load("table2")(broken, samples.experiment("qgi_table2"))
    shown = {row.labels[0]: row.cells["n"].shown for row in table.rows}
    assert shown["QGI"] == "8 (1 failed)"
    assert shown["prior only"] == "8"
    assert any("NaN" in note for note in table.notes)


def test_what_was_not_run_has_no_row(metrics):
    rows = metrics["qgi_table1"]
    table = TABLES.load("table1")(rows[rows.attack != "rgi"], samples.experiment("qgi_table1"))
    labels = {row.labels[0] for row in table.rows}
    assert "QGI" in labels
    assert "RGI" not in labels


def test_several_networks_are_told_apart(metrics):
    content = samples.experiment("qgi_table2").model_dump(mode="json")
    content["grid"][0]["network"] = ["mnih2015", "small"]
    rows = pd.concat([metrics["qgi_table2"], metrics["qgi_table2"].assign(network="small")])
    table = TABLES.load("table2")(rows, Experiment.model_validate(content))
    labels = [row.labels[0] for row in table.rows]
    assert "QGI, mnih2015" in labels
    assert "QGI, small" in labels
    assert {row.cells["n"].shown for row in table.rows} == {"8"}


def test_csv_can_be_read_back_as_numbers(metrics):
    table = made(metrics, "qgi_table2", "table2")
    back = pd.read_csv(io.StringIO(table.to_csv()))
    assert back["IoU"].to_numpy() == pytest.approx(table.frame()["IoU"].to_numpy(float))
    assert back["IoU paper"][0] == "0.649 ± 0.401"


def test_latex_is_a_booktabs_table_with_balanced_columns(metrics):
    table = made(metrics, "qgi_table1", "table1")
    text = table.to_latex("100 % of a_b & c", "table1")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:table1}", r"100 \% of a\_b \& c"):
        assert rule in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in lines} == {10}
    assert r"\footnotesize\textit{22.81 $\pm$ 5.99}" in text
    assert not set("±ε≥≤") & set(text)


def test_latex_writes_what_it_would_misread():
    assert latex("ε(Q̂) [%] ≥ 3_a & #") == r"$\varepsilon$($\hat{Q}$) [\%] $\ge$ 3\_a \& \#"


def test_html_is_escaped_and_sparse():
    table = Table(("method", "metric"), ("value",))
    table.rows = [
        Row(("<b>", "one"), {"value": Cell(1.0, 0.5, 2, "2 <i>", best=True)}),
        Row(("<b>", "two"), {"value": Cell(None)}),
    ]
    text = table.to_html("caption & more")
    assert "&lt;b&gt;" in text
    assert text.count("&lt;b&gt;") == 1  # the repeated label is left out
    assert "<b>1.00 ± 0.50</b>" in text
    assert "2 &lt;i&gt;" in text
    assert "caption &amp; more" in text
    assert "<td>–</td>" in text


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (Cell(22.806, 5.994), "22.81 ± 5.99"),
        (Cell(0.72951, None, 3), "0.730"),
        (Cell(3.2e-7, 1e-8, 3), "3.2e-07 ± 1.0e-08"),
        (Cell(0.0, None, 3), "0.000"),
        (Cell(1.5e7, 2e8), "1.5e+07 ± 2.0e+08"),
        (Cell(1.0, float("nan"), 1), "1.0"),
    ],
)
def test_numbers_are_rounded_without_losing_what_they_say(cell, shown):
    assert cell.shown == shown


def test_captions_name_scale_and_simulator():
    experiment = samples.experiment("qgi_table1").model_dump(mode="json")
    caption = caption_of(experiment, "table1", "reduced", "rooms")
    assert caption.startswith("Table I.")
    assert "reduced scale" in caption
    assert "own rooms, not AI2-THOR" in caption


def test_a_table_and_a_figure_of_one_name_keep_their_own_captions():
    experiment = samples.experiment("privacy_utility").model_dump(mode="json")
    table, figure = (
        caption_of(experiment, "privacy_utility", "reduced", "rooms", kind) for kind in ("table", "figure")
    )
    assert table.startswith("Is there a defence")
    assert figure.startswith("Privacy against utility")
