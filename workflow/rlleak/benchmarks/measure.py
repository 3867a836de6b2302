"""One case in a process of its own: `python -m rlleak.benchmarks.measure '{"what": "matching", …}'` prints its row.

With --memory it prints the memory alone.

A process of its own, because how many threads and how much memory a process took at most it can say once.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch

from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.optimisation import Replayed
from rlleak.attacks.running import attack_bytes, process_peak
from rlleak.benchmarks.cases import Case, arithmetic, breaching, engine, network, reference, shared_update
from rlleak.benchmarks.transitions import measure_transitions
from rlleak.configuration.attacks import AttackSettings, StageSettings
from rlleak.configuration.loading import read_yaml, validated
from rlleak.errors import RlleakError
from rlleak.sharing.update import SharedUpdate

REPEATS, QUICK_REPEATS = 5, 2
REPEAT_SECONDS, QUICK_SECONDS = 0.3, 0.01
ATTACKS_FILE = Path("config/attacks.yaml")
PAPER_ITERATIONS = 20_000
_KNOWLEDGE = {"public": "public rooms", "prior": "a learnt prior"}
Row = dict[str, Any]


def peak_mb() -> float:
    """The most memory that this process ever held, MB."""
    return process_peak() / 2**20


def seconds_each(function: Callable[[], object], calls: int) -> float:
    """Seconds per call, over some."""
    begin = time.perf_counter()
    for _ in range(calls):
        function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / calls


def interleaved(functions: dict[str, Callable[[], object]], quick: bool) -> dict[str, list[float]]:
    """Seconds per call of each function, several times, in turns: whatever else the machine does meets all of them."""
    calls = {}
    for name, function in functions.items():
        for _ in range(2):
            function()
        once = seconds_each(function, 1)
        calls[name] = max(1, round((QUICK_SECONDS if quick else REPEAT_SECONDS) / once))
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(QUICK_REPEATS if quick else REPEATS):
        for name, function in functions.items():
            function()  # what ran before left its own data in the caches
            found[name].append(seconds_each(function, calls[name]))
    return found


def product(quick: bool) -> tuple[Callable[[], object], float]:
    """A matrix product to measure the machine's peak by, and its operations."""
    size = 128 if quick else 1024
    left, right, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    return (lambda: torch.mm(left, right, out=out)), 2.0 * size**3


def measure_memory(case: Case) -> tuple[Row, SharedUpdate, Callable[[], object]]:
    """What a few iterations of the engine hold at most, beside the estimate that chunks are cut by; and the engine."""
    before = peak_mb()
    update = shared_update(case)
    estimated = attack_bytes(update, AttackSettings(method="qgi"), len(update)) / 2**20
    iterate = engine(update, case)
    for _ in range(3):
        iterate()
    peak = peak_mb()
    return {"peak_mb": peak, "peak_above_start_mb": peak - before, "estimated_mb": estimated}, update, iterate


def measure_matching(case: Case) -> Row:
    """The engine beside plain autograd, one iteration on one victim, and beside the arithmetic's floor."""
    memory, update, iterate = measure_memory(case)
    multiply, operations = product(case.quick)
    found = interleaved({"engine": iterate, "reference": reference(update), "product": multiply}, case.quick)
    own = median(found["engine"]) / len(update)
    needed = arithmetic(network(case), case.target)
    fastest = operations / min(found["product"])
    return {
        "ms": own * 1e3,
        "reference_ms": median(found["reference"]) * 1e3,
        "speedup": median(b * len(update) / a for a, b in zip(found["engine"], found["reference"], strict=True)),
        **memory,
        "ms_fastest": min(found["engine"]) / len(update) * 1e3,
        "mflop": needed / 1e6,
        "gflops": needed / own / 1e9,
        "machine_gflops": fastest / 1e9,
        "share_of_machine": needed / own / fastest,
    }


def measure_breaching(case: Case) -> Row:
    """breaching's objective beside plain autograd."""
    update = shared_update(case)
    iterate = breaching(update)
    if isinstance(iterate, str):
        return {"note": iterate}
    found = interleaved({"breaching": iterate, "reference": reference(update)}, case.quick)
    return {
        "ms": median(found["breaching"]) * 1e3,
        "reference_ms": median(found["reference"]) * 1e3,
        "speedup": median(b / a for a, b in zip(found["breaching"], found["reference"], strict=True)),
        "peak_mb": peak_mb(),
        "note": "its objective, Adam and the box; without its total variation, which takes three channels",
    }


def measure_attack(case: Case) -> Row:
    """A whole attack of the registry on the update alone, milliseconds per victim; none for one that needs more."""
    update = shared_update(case)
    settings = _settings(case)
    begin = time.perf_counter()
    try:
        ATTACKS.load(case.what)(update, settings, seed=0, device=case.device)
    except RlleakError as failure:
        return {"note": str(failure)}
    each = (time.perf_counter() - begin) / len(update)
    lacks = " and ".join(words for knowledge, words in _KNOWLEDGE.items() if knowledge in METHODS[case.what].knows)
    note = f"the whole attack{f' without {lacks}' if lacks else ''}, per victim"
    return {"ms": each * 1e3, "peak_mb": peak_mb(), "note": note}


def _settings(case: Case) -> AttackSettings:
    entries = read_yaml(ATTACKS_FILE)
    entry = entries.get(case.what, {"method": case.what})
    settings = validated(AttackSettings, entry, ATTACKS_FILE)
    stage = StageSettings(step_size=0.1, iterations=5 if case.quick else 400)
    return settings.model_copy(update=dict.fromkeys(settings.stages, stage))


def measure_paper_scale(case: Case) -> Row:
    """On a GPU: milliseconds per iteration of all victims, and how long the paper's iterations would take."""
    if not torch.cuda.is_available():
        return {"note": "no GPU here"}
    update = shared_update(case)
    run = Replayed(engine(update, case), torch.device(case.device))
    for _ in range(10):
        run()
    torch.cuda.synchronize()
    each = median(seconds_each(run, 50) for _ in range(5))
    return {
        "ms": each * 1e3 / len(update),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
        "iteration_ms": each * 1e3,
        "extrapolated_seconds": each * PAPER_ITERATIONS,
        "note": f"extrapolated to {PAPER_ITERATIONS} iterations from 250; not a whole run",
    }


MEASURES = {
    "matching": measure_matching,
    "breaching": measure_breaching,
    "paper_scale": measure_paper_scale,
    "transitions": lambda case: measure_transitions(case, interleaved),
}


def measure(case: Case) -> Row:
    """The row of a case: what it is, what was measured, and on which device."""
    torch.set_num_threads(case.threads)
    found = MEASURES.get(case.what, measure_attack)(case)
    device = torch.cuda.get_device_name() if case.device == "cuda" and torch.cuda.is_available() else "cpu"
    return {**asdict(case), **found, "device": device}


if __name__ == "__main__":
    wanted = Case(**json.loads(sys.argv[1]))
    print(json.dumps(measure_memory(wanted)[0] if "--memory" in sys.argv else measure(wanted)))
