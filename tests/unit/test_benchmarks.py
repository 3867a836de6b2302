"""`make bench` in its quick form: rows that describe themselves, a reference that computes the same, memory as said."""

import json
import subprocess
import sys
from dataclasses import asdict

import attack_cases  # noqa: F401  (keeps torch to one thread)
import pytest
import torch
from rich.console import Console

from rlleak.attacks.passes import GradientMatching
from rlleak.attacks.signals import ErrorDirection
from rlleak.benchmarks import bench, measure, transitions
from rlleak.benchmarks.cases import Case, arithmetic, engine, network, reference, shared_update
from rlleak.learners.specification import Convolution, NetworkSpec


@pytest.mark.parametrize("target", ["exact", "noisy"])
def test_engine_and_reference_do_the_same_work(target: str) -> None:
    case = Case("matching", "S1", 1, 1, target, quick=True)
    update = shared_update(case)
    own, plain = engine(update, case), reference(update)
    for _ in range(5):
        torch.testing.assert_close(own(), plain().expand(1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("target", ["exact", "residual"])
def test_transitions_side_by_side_go_where_one_alone_goes(target: str) -> None:
    case = Case("transitions", "Hopper", 3, 1, target, quick=True)
    victims, prior = transitions.victims_of(case), transitions.prior_of(case)
    together, alone = transitions.side_by_side(victims, prior), transitions.one_at_a_time(victims, prior)
    for _ in range(20):
        torch.testing.assert_close(together()[0], alone(), rtol=1e-3, atol=1e-4)
    row = measure.measure(case)
    assert row["problems"] == 3 * transitions.RESTARTS
    assert row["iterations_per_second"] == pytest.approx(1000 / row["ms"])


def test_a_row_says_what_was_measured_and_how_fast_the_machine_is() -> None:
    row = measure.measure(Case("matching", "S2", 2, 1, quick=True))
    assert row["ms"] > 0
    assert min(row["reference_ms"], row["speedup"]) > 0
    assert row["share_of_machine"] > 0
    assert row["gflops"] == pytest.approx(row["mflop"] / row["ms"])
    whole = measure.measure(Case("closed_form", "S2", 2, 1, quick=True))
    assert whole["ms"] > 0


def test_what_cannot_be_measured_has_a_row_that_says_why() -> None:
    if not torch.cuda.is_available():
        assert measure.measure(Case("paper_scale", "S1", 2, 1, device="cuda", quick=True))["note"] == "no GPU here"
    assert "public rooms" in measure.measure(Case("prior_only", "S1", 2, 1, quick=True))["note"]
    assert "failed" in bench.run(Case("matching", "S9", 1, 1, quick=True))["note"]


def test_the_bench_writes_a_list_of_rows_and_prints_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "LONGEST", 1200)  # a busy machine is no failure
    monkeypatch.setattr(bench, "cases", lambda quick: iter([Case("matching", "S2", 1, 1, quick=quick)]))
    console = Console(record=True, width=150)
    bench.bench(tmp_path / "bench.json", quick=True, console=console)
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert {"what", "scene", "victims", "threads", "ms", "reference_ms", "speedup", "peak_mb"} <= set(row)
    assert {"machine", "date", "versions", "revision"} <= set(row)
    assert "matching" in console.export_text()


def test_arithmetic_is_counted_as_by_hand() -> None:
    spec = NetworkSpec(
        image_shape=(1, 6, 6), convolutions=(Convolution(channels=2, kernel=3, stride=1),), hidden=(), outputs=3
    )
    convolution, linear = 2 * 16 * 9 * 2, 2 * 32 * 3
    assert arithmetic(spec, "exact") == 5 * convolution + 4 * linear
    assert arithmetic(spec, "noisy") == 5 * convolution + 6 * linear
    assert arithmetic(network(Case("matching", "S1", 1, 1)), "exact") == pytest.approx(414e6, rel=0.01)


@pytest.mark.parametrize("target", ["exact", "noisy"])
def test_the_engine_holds_no_more_memory_than_its_estimate(target: str) -> None:
    case = Case("matching", "S1", 6, 1, target)
    done = subprocess.run(
        [sys.executable, "-m", "rlleak.benchmarks.measure", json.dumps(asdict(case)), "--memory"],
        capture_output=True,
        text=True,
        check=True,
    )
    row = json.loads(done.stdout)
    assert 0.4 * row["estimated_mb"] < row["peak_above_start_mb"] <= row["estimated_mb"]


def test_a_noisy_target_is_never_copied_while_it_is_matched() -> None:
    case = Case("matching", "S1", 2, 1, "noisy")
    update = shared_update(case)
    matching = GradientMatching(update, "image")
    signal = ErrorDirection(update.gradients["head.bias"])
    inputs = {"image": torch.rand(2, *update.architecture.image_shape), "vector": torch.rand(2, 4)}
    matching(inputs, signal)
    with torch.profiler.profile(profile_memory=True) as profile:
        matching(inputs, signal)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < update.gradients["hidden.0.weight"][0].numel() * 4 / 10
