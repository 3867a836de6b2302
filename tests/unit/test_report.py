"""The report is one page that needs nothing else, shows every claim, and survives hostile text."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import published_samples as samples
import pytest

from rlleak.artefacts import write_json, write_table
from rlleak.errors import CorruptArtefactError
from rlleak.publishing.forest import forest, limits
from rlleak.publishing.left_open import choices, contradictions
from rlleak.publishing.report import Sources, Study, render
from rlleak.publishing.terminal import print_verdicts
from rlleak.publishing.verdicts import judge, read_verdicts

CONFIGURATION = {"scale": "reduced", "simulator": "rooms", "device": "cpu", "seeds": {"private": 1, "attacker": 2}}


@pytest.fixture(scope="module")
def verdicts():
    generator = np.random.default_rng(0)
    rows = samples.rows(
        {
            ("dqn", attack, "S1", metric): shift + generator.standard_normal(24)
            for attack, shift in (("qgi", 20.0), ("qgi_joint", 10.0))
            for metric in ("psnr_rgb", "ssim_rgb", "psnr_depth", "ssim_depth", "iou", "target_q_error")
        }
    )
    return judge(rows, samples.experiment("qgi_fig4"), scale="reduced", simulator="rooms", samples=200, seed=0)


@pytest.fixture
def study():
    one = samples.experiment("qgi_fig4")
    experiment = {
        **{"id": one.id, "title": one.title, "paper": one.paper, "publishes": ["fig4"]},
        "cells": [f"{cell.update}/{cell.defence}/{cell.attack}" for cell in one.cells(1)],
        "claims": {claim.id: claim.quote for claim in one.claims},
    }
    return Study(CONFIGURATION, {"victims": 24}, {"fig4": "a caption"}, [experiment])


@pytest.fixture
def sources(tmp_path):
    figure, sheet, table = tmp_path / "fig4.png", tmp_path / "sheet.png", tmp_path / "table1.html"
    for path in (figure, sheet):
        path.write_bytes(b"\x89PNG" + path.stem.encode())
    table.write_text("<table id='mine'></table>")
    statistics = pd.DataFrame(
        {
            **{"room_type": ["living_room"], "statistic": ["mean_luma"], "inside": [False]},
            **{f"{side}_{part}": [0.5] for side in ("rooms", "thor") for part in ("median", "p10", "p90")},
        }
    )
    write_table(tmp_path / "statistics.csv", statistics)
    write_json(
        tmp_path / "detector.json", {"mAP50": 0.4321, "AP50": {"Mug": 0.25, "Bed": None}, "provenance": {"a": 1}}
    )
    (tmp_path / "benchmarks" / "invert").mkdir(parents=True)
    (tmp_path / "benchmarks" / "invert" / "0.tsv").write_text("s\th:m:s\tmax_rss\n90.0\t0:01:30\t2048.0\n")
    (tmp_path / "benchmarks" / "gallery.tsv").write_text("s\th:m:s\tmax_rss\n6.0\t0:00:06\t-\n")
    return Sources(
        [table], [figure], sheet, tmp_path / "statistics.csv", tmp_path / "detector.json", tmp_path / "benchmarks"
    )


class Page(HTMLParser):
    """Collects what a browser would load and whether the tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]
        if tag not in ("meta", "img", "input", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_loads_nothing_from_anywhere(verdicts, sources, study):
    page = Page(render(verdicts, sources, study))
    assert page.open == []
    assert page.loaded
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)


def test_every_claim_stands_there_with_its_verdict_number_and_quote(verdicts, sources, study):
    text = render(verdicts, sources, study)
    assert text.count('<tr class="') == len(verdicts)
    for claim in verdicts.itertuples():
        assert claim.claim in text
    assert "As shown in Fig. 4, the joint optimization shows performance drops" in text
    assert len(re.findall('<svg class="forest"', text)) == (verdicts["verdict"] != "NOT RUN").sum()


def test_counts_add_up(verdicts, sources, study):
    text = render(verdicts, sources, study)
    counted = {name: int(count) for name, count in re.findall(r'data-verdict="([A-Z ]+)" aria[^>]*><b>(\d+)</b>', text)}
    assert counted == verdicts["verdict"].value_counts().to_dict()
    assert "NOT RUN" in counted  # predicted_q_error is missing


def test_the_answer_comes_first_and_a_papers_refuted_claims_stand_apart_from_ours(verdicts, sources, study):
    theirs, ours = verdicts["claim"][:2]
    refuted = verdicts["claim"].isin([theirs, ours])
    mixed = verdicts.assign(verdict=np.where(refuted, "NOT REPRODUCED", "REPRODUCED"))
    (experiment,) = study.experiments
    text = render(mixed, sources, dataclasses.replace(study, experiments=[{**experiment, "own": [ours]}]))
    answer = text[text.index('id="answer"') : text.index('id="verdicts"')]
    above, below = answer.split("Claims of ours that this run contradicts: 1")
    assert (f"#claim-{theirs}" in above, f"#claim-{ours}" in above) == (True, False)
    assert (f"#claim-{theirs}" in below, f"#claim-{ours}" in below) == (False, True)
    assert "ours, beside QGI / RGI" in above


def test_why_claims_are_open_and_what_would_decide_them_is_said_above_all_verdicts(verdicts, sources, study):
    reasons = ["part of the interval satisfies it; were it as measured, about 1,000 victims would decide it"] * 2
    reasons += [reasons[0].replace("1,000", "40"), "3 runs are too few for an interval; 5 give one"]
    few = verdicts.head(5).assign(verdict=["INCONCLUSIVE"] * 4 + ["NOT RUN"], n=24)
    text = render(
        few.assign(reason=[*reasons, "no iou of qgi S1: it runs at scale paper only; note: …"]), sources, study
    )
    answer = " ".join(text[text.index('id="answer"') : text.index('id="verdicts"')].split())
    assert "4 of 5 claims are judged here" in answer
    assert "inconclusive, 3: part of the interval satisfies it; 3 say how many victims would decide them" in answer
    assert "1 want at most twice as many, 1 at most ten times" in answer
    assert "inconclusive, 1: runs are too few for an interval; 5 give one" not in answer  # its first reason alone
    assert "inconclusive, 1: runs are too few for an interval" in answer
    assert "not run, 1: what it needs runs at scale paper only" in answer


def test_every_link_inside_the_page_leads_somewhere(verdicts, sources, study):
    text = render(verdicts, sources, study)
    targets = re.findall(r'href="#([^"]+)"', text)
    assert {"figure-fig4", "table-table1"} <= set(targets)
    assert set(targets) <= set(re.findall(r'id="([^"]+)"', text))


def test_it_says_what_ran_and_that_the_rooms_are_not_unitys(verdicts, sources, study):
    text = render(verdicts, sources, study)
    for said in (
        "own rooms, not AI2-THOR",
        "torch 2.",
        "0.4321",
        "living room",
        "What the papers leave open",
        "make fig4",
    ):
        assert said in text
    assert "<td>invert</td><td>1</td><td>1.5</td><td>2.00</td>" in text


def test_smoke_scale_says_that_it_judges_nothing(verdicts, sources, study):
    smoke = Study({**CONFIGURATION, "scale": "smoke"}, study.sizes, study.captions, study.experiments)
    assert "judges nothing" in render(verdicts, sources, smoke)


def test_text_is_escaped(verdicts, sources, study):
    hostile = verdicts.assign(reason="<script>alert(1)</script>")
    page = render(hostile, sources, study)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_a_page_without_rooms_or_claims_can_be_written(verdicts, study):
    assert "Verdicts" in render(verdicts.iloc[:0], Sources(), study)


def test_verdict_files_are_joined_in_order_and_odd_ones_refused(verdicts, tmp_path):
    for index in range(2):
        write_table(tmp_path / f"{index}.csv", verdicts)
    write_table(tmp_path / "none.csv", verdicts.iloc[:0])
    paths = [tmp_path / "0.csv", tmp_path / "none.csv", tmp_path / "1.csv"]
    assert len(read_verdicts(paths)) == 2 * len(verdicts)
    assert read_verdicts([]).empty
    write_table(tmp_path / "odd.csv", verdicts.drop(columns="reason"))
    with pytest.raises(CorruptArtefactError, match=r"odd\.csv"):
        read_verdicts([tmp_path / "odd.csv"])


def test_a_missing_figure_is_named(verdicts, study, tmp_path):
    with pytest.raises(CorruptArtefactError, match=r"gone\.png"):
        render(verdicts, Sources(figures=[tmp_path / "gone.png"]), study)


def test_statistics_without_a_column_are_refused(verdicts, study, tmp_path):
    write_table(tmp_path / "odd.csv", pd.DataFrame({"room_type": ["kitchen"], "statistic": ["tv"]}))
    with pytest.raises(CorruptArtefactError, match="column"):
        render(verdicts, Sources(statistics=tmp_path / "odd.csv"), study)


@pytest.mark.parametrize(
    ("expected", "allowed"),
    [
        ("> 21 dB", (21, float("inf"))),
        ("difference < 0 %", (float("-inf"), 0)),
        ("< 1e-06", (float("-inf"), 1e-6)),
        ("22.81 ± 3 dB", (19.81, 25.81)),
        ("difference > -2.5", (-2.5, float("inf"))),
    ],
)
def test_what_an_expectation_allows_is_read_from_its_words(expected, allowed):
    assert limits(expected) == pytest.approx(allowed)


def test_a_drawn_interval_stays_inside_its_row_and_is_empty_without_a_number():
    drawn = str(forest("> 21 dB", 25.0, 22.0, 28.0))
    places = [float(x) for x in re.findall(r"[MH]([\d.]+)", drawn)]
    assert all(0 <= place <= 120 for place in places)
    assert str(forest("> 21 dB", float("nan"), float("nan"), float("nan"))) == ""
    assert "<circle" in str(forest("> 21 dB", 25.0, float("nan"), float("nan")))


def test_the_terminal_shows_judged_claims_counts_and_where_the_report_is(verdicts, capsys):
    mixed = verdicts.copy()
    mixed.loc[0, "verdict"] = "NOT COMPARABLE"
    mixed.loc[0, "statement"] = "left out of the terminal"
    print_verdicts(mixed, "results/reduced/report.html")
    said = capsys.readouterr().out
    assert "REPRODUCED: " in said
    assert f"of {len(mixed)} claims" in said
    assert "results/reduced/report.html" in said
    assert "left out" not in said
    print_verdicts(mixed, everything=True)
    assert "left out" in capsys.readouterr().out


def test_the_terminal_shows_everything_when_nothing_can_be_judged(verdicts, capsys):
    print_verdicts(verdicts.assign(verdict="NOT COMPARABLE"))
    assert "mean iou of qgi" in " ".join(capsys.readouterr().out.split())


def test_what_the_papers_leave_open_is_said_with_the_configuration_that_ran() -> None:
    shape = {"convolutions": [{"channels": 8, "kernel": 4, "stride": 2}], "vector_width": 16, "hidden": [32]}
    trained = {"trained": {"batch": 32, "learning_rate": 1e-4, "target_every": 50}}
    federated = {"trained": {"federation": "plain"}}
    networks = {"plain": shape, "critic": shape | {"outputs": 1} | trained, "last": shape | federated}
    answers = dict(choices({"networks": networks, "experiments": ["qgi_table1"]}))
    plain, rest = answers["Layers and widths of the networks"].split("; critic: ")
    critic, last = rest.split("; last: ")
    assert last.endswith("ReLU; as undefended federated training of plain left it")
    assert plain == "plain: convolutions 8@4x4/2; box through 16; hidden 32; ReLU"
    assert critic.endswith("; outputs: 1; trained with Adam on public transitions, batches of 32, learning rate 0.0001")
    normal = dict(choices({"networks": {"own": shape | {"normalise": "home"}}}))["Layers and widths of the networks"]
    assert normal.endswith("ReLU; vectors normalised by running statistics, each client's own, kept at home")
    flat = {"flat": {"hidden": [8]}}
    assert dict(choices({"networks": flat}))["Layers and widths of the networks"] == "flat: hidden 8; ReLU"
    beyond = dict(choices({"experiments": ["beyond_noise", "beyond_batch"]})).keys() - answers.keys()
    assert beyond == {
        "Which transitions an update over several is made from",
        "How noise on a gradient is drawn and measured",
    }


def test_what_rgias_summary_leaves_open_or_contradicts_is_said_only_where_it_ran() -> None:
    limits = {"state": 0.31, "change": 0.32, "action": 0.33, "reward": 0.34, "least_reward": 0.35}
    without, ran = (
        {"transition_thresholds": limits, "experiments": [name]} for name in ("qgi_table1", "rgia_frozenlake")
    )
    added = dict(choices(ran)).keys() - dict(choices(without)).keys()
    assert len(added) == 8
    assert all(question.startswith("RGIA: ") for question in added)
    said = dict(choices(ran))["RGIA: when something counts as recovered"]
    assert all(str(value) in said for value in limits.values())
    more = set(contradictions(ran)) - set(contradictions(without))
    assert sorted("10^-2" in says for says, _ in more) == [False, True]
