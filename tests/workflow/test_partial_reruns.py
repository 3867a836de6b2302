"""What a change touches is done again, and nothing else; shown for every stage on a finished (stubbed) run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import Checkout, copy_workflow, stub_scripts, tiny_study

PUBLISHED = {"tabulate", "plot", "judge", "verdicts", "report", "all"}
SCORED = {"score", *PUBLISHED}
ATTACKED = {"tune", "share", "invert", *SCORED}
LIVED = {"simulate", "simulate_public", "remember_rooms", "withhold", *ATTACKED}
EVERYTHING = {"collect_views", "train_detector", *LIVED}

# A library file -> the rules that must run again after it has changed.
LIBRARY = {
    "simulators/player/agent.py": EVERYTHING,
    "simulators/rooms/builder.py": {"gallery", *EVERYTHING},
    "simulators/collector.py": EVERYTHING,
    "simulators/rooms/gallery.py": {"gallery", "report", "all"},
    "simulators/detector_training.py": EVERYTHING - {"collect_views"},
    "simulators/active_perception.py": EVERYTHING,
    "learners/dqn.py": {"withhold", "remember_rooms", *ATTACKED},
    "sharing/update.py": ATTACKED,
    "sharing/defences.py": ATTACKED,
    "simulators/replay.py": LIVED,
    "sharing/victims.py": {"withhold", "remember_rooms", *ATTACKED},
    "sharing/private.py": {"withhold", "remember_rooms", *ATTACKED},
    "attacks/tuning.py": ATTACKED,
    "attacks/qgi.py": ATTACKED,
    "metrics/values.py": SCORED,
    "publishing/tables.py": {"tabulate", "plot", "report", "all"},
    "publishing/ablation.py": {"plot", "report", "all"},
    "publishing/verdicts.py": {"judge", "verdicts", "report", "all"},
    "publishing/report.py": {"report", "all"},
    "learners/reinforce.py": set(),
    "attacks/rgi.py": set(),
    "attacks/__init__.py": set(),
    "simulators/unity.py": set(),
    "planning.py": set(),
}

# A change of the configuration -> the rules that must run again.
CONFIGURATION = {
    "seeds__private": ("config/config.yaml", 5, {"simulate", "withhold", "share", "invert", *SCORED}),
    "losses__reinforce__entropy_weight": ("config/config.yaml", 0.5, {"report", "all"}),
    "perception__depth_limit": ("config/config.yaml", 9, LIVED),
    "device": ("config/config.yaml", "cpu", {"report", "all"}),
    "simulation__grid_size": ("config/config.yaml", 0.2, {"gallery", *EVERYTHING}),
    "iterations__image": ("config/scales/smoke.yaml", 41, ATTACKED),
    "bootstrap_samples": ("config/scales/smoke.yaml", 99, {"judge", "verdicts", "report", "all"}),
    "detector__epochs": ("config/scales/smoke.yaml", 3, EVERYTHING - {"collect_views"}),
    "title": ("config/experiments/tiny.yaml", "Another title", PUBLISHED),
    "claims": ("config/experiments/tiny.yaml", [], {"tabulate", "judge", "verdicts", "report", "all"}),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A run with every result in place; tests leave it as they found it."""
    checkout = copy_workflow(tmp_path_factory.mktemp("finished") / "checkout")
    tiny_study(checkout)
    stub_scripts(checkout)
    checkout.snakemake()
    return checkout


@pytest.fixture
def changed(finished: Checkout, request: pytest.FixtureRequest) -> Iterator[tuple[Checkout, Path]]:
    """The finished run and a file in it, which is put back afterwards, date and all."""
    path = finished.path(request.param)
    kept = path.with_name(f"{path.name}.kept")
    shutil.copy2(path, kept)
    yield finished, path
    shutil.copy2(kept, path)
    kept.unlink()


def test_a_finished_run_has_nothing_to_do_and_keeps_no_shared_file(finished: Checkout) -> None:
    assert finished.planned_rules() == {}
    assert list(finished.path("results/smoke/rooms/shared").rglob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [(f"workflow/rlleak/{name}", rules) for name, rules in LIBRARY.items()],
    indirect=["changed"],
    ids=list(LIBRARY),
)
def test_a_changed_library_file_redoes_what_imports_it(changed: tuple[Checkout, Path], expected: set[str]) -> None:
    checkout, path = changed
    with path.open("a") as file:
        file.write("\n# changed\n")
    assert set(checkout.planned_rules()) == expected


@pytest.mark.parametrize("changed", ["workflow/rlleak/attacks/qgi.py"], indirect=True)
def test_a_changed_attack_leaves_other_attacks_alone(changed: tuple[Checkout, Path]) -> None:
    checkout, path = changed
    with path.open("a") as file:
        file.write("\n# changed\n")
    redone = [job["attack"] for job in checkout.planned() if "attack" in job]
    assert set(redone) == {"qgi"}


@pytest.mark.parametrize("changed", ["workflow/rlleak/attacks/qgi.py", "workflow/scripts/simulate.py"], indirect=True)
def test_a_newer_date_alone_redoes_nothing(changed: tuple[Checkout, Path]) -> None:
    checkout, path = changed
    path.touch()
    assert checkout.planned_rules() == {}


@pytest.mark.parametrize("changed", ["workflow/scripts/score.py"], indirect=True)
def test_a_changed_script_redoes_its_rule(changed: tuple[Checkout, Path]) -> None:
    checkout, path = changed
    path.write_text(path.read_text() + "# changed\n")
    assert set(checkout.planned_rules()) == SCORED


@pytest.mark.parametrize(
    ("changed", "key", "value", "expected"),
    [(file, key, value, rules) for key, (file, value, rules) in CONFIGURATION.items()],
    indirect=["changed"],
    ids=list(CONFIGURATION),
)
def test_a_changed_setting_redoes_what_depends_on_it(
    changed: tuple[Checkout, Path], key: str, value: object, expected: set[str]
) -> None:
    checkout, path = changed
    checkout.edit(str(path.relative_to(checkout.folder)), **{key: value})
    assert set(checkout.planned_rules()) == expected


def test_a_lost_reconstruction_needs_sharing_and_inverting_only(finished: Checkout) -> None:
    lost = next(finished.path("results/smoke/rooms/reconstructions").rglob("qgi/0.safetensors"))
    lost.unlink()
    rules = finished.planned_rules(str(lost.relative_to(finished.folder)))
    lost.write_text("invert")
    assert rules == {"share": 1, "invert": 1}
