"""The plan: every scale can be planned quickly on any machine, and shows who may read what."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest
from checkouts import ROOT, Checkout, copy_workflow

from rlleak.configuration.loading import load_study, read_yaml

# What an attack may read: what was shared with the server, and what comes from the attacker's own rooms and games.
OWN = {
    "invert": r"shared/|tuned/|public/(prior\.|rooms/)",
    "tune": r"networks/|experience/(\w+/\w+/)?public\.safetensors|experience/public_replay/",
    "remember_rooms": r"networks/|experience/(\w+/\w+/)?public\.safetensors",
    "invert_captured": r"loopback/.*/(updates|mean)\.safetensors|public/prior\.",
    "invert_transitions": r"shared/transitions/|priors/",
    "learn_transition_prior": r"experience/\w+/\w+/prior\.safetensors",
}


Plan = Callable[[str], tuple[list[dict[str, str]], float]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A scale's dry run, made once: the jobs, and how many of the processor's seconds it took."""

    @cache
    def planned(scale: str) -> tuple[list[dict[str, str]], float]:
        checkout = copy_workflow(tmp_path_factory.mktemp("plan") / scale)
        before = os.times()
        jobs = checkout.planned("--config", f"scale={scale}")
        after = os.times()
        return jobs, after.children_user + after.children_system - before.children_user - before.children_system

    return planned


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_a_dry_run_is_quick_and_its_jobs_are_few_enough(plan: Plan, scale: str) -> None:
    jobs, seconds = plan(scale)
    # Of the processor, not of the clock: other work on the machine is no slowness of the plan. It takes 5 to 9 s on an
    # idle machine, and twice as long where others share its caches.
    assert seconds < 30
    planned = Counter(job["rule"] for job in jobs)
    study = load_study({**read_yaml(ROOT / "config/config.yaml"), "scale": scale}, ROOT / "config")
    cells = study.attacked
    alone = [cell for cell in cells if not study.on_transitions(cell.attack)]
    together = {study.path(cell) for cell in cells if study.on_transitions(cell.attack)}
    shards = sum(len(study.shards(cell)) for cell in alone)
    assert planned["simulate"] == study.scale.shards
    assert planned["tune"] == sum(study.is_tuned(cell.attack) for cell in alone)
    assert planned["share"] == planned["invert"] == planned["score"] == shards
    kinds = ("share", "invert", "score")
    assert {planned[f"{kind}_transitions"] for kind in kinds} == {len(together)}
    assert planned["train_federated"] == len(study.cells()) - len(cells)
    assert planned["judge"] == len(study.experiments)
    assert planned.total() < 2000


def test_unity_is_planned_without_unity(checkout: Checkout) -> None:
    jobs = checkout.planned("--config", "simulator=thor", "scale=smoke")
    assert any("results/smoke/thor/" in job["input"] for job in jobs)


def test_an_attack_reads_nothing_of_the_victims_but_what_they_shared(plan: Plan) -> None:
    jobs, _ = plan("smoke")
    attacks = [job for job in jobs if job["rule"] in OWN]
    assert {job["rule"] for job in attacks} == set(OWN)
    for job in attacks:
        data = [path for path in job["input"].split(", ") if path.startswith("results/")]
        assert data
        for path in data:
            assert re.match(OWN[job["rule"]], path.removeprefix("results/smoke/rooms/")), path


def test_no_script_finds_the_private_seed_in_its_configuration(checkout: Checkout) -> None:
    checkout.path("workflow/scripts/told.py").write_text(
        "import json, pathlib\npathlib.Path(snakemake.output[0]).write_text(json.dumps(snakemake.config))\n"
    )
    with checkout.path("workflow/Snakefile").open("a") as file:
        file.write('\n\nrule told:\n    output:\n        "told.json",\n    script:\n        "scripts/told.py"\n')
    checkout.snakemake("told.json")
    seeds = json.loads(checkout.path("told.json").read_text())["seeds"]
    assert list(seeds) == ["attacker"]


def test_only_scoring_and_figures_read_the_private_side(plan: Plan) -> None:
    jobs, _ = plan("smoke")
    assert {job["rule"] for job in jobs if "rooms/private/" in job["input"]} == {
        "score",
        "score_transitions",
        "score_captured",
        "plot",
        "plot_federated_demo",
    }
    readers = {
        "experience/private/": {"share", "withhold", "federate_over_loopback"},
        "experience/replay/": {"share", "withhold"},
        r"experience/\w+/\w+/private/": {"share", "share_transitions", "withhold"},
    }
    for private, rules in readers.items():
        assert {job["rule"] for job in jobs if re.search(private, job["input"])} == rules


def test_a_table_and_a_figure_are_targets_of_their_own(checkout: Checkout) -> None:
    table = checkout.planned_rules("results/reduced/tables/table2.html", "--config", "scale=reduced")
    assert table["tabulate"] == 1
    assert not table["plot"]
    assert not table["report"]


def test_snakemakes_linter_is_content(checkout: Checkout) -> None:
    done = checkout.snakemake("--lint")
    assert "good condition" in done.stdout + done.stderr
