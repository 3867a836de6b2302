"""A run that is killed, or meets a broken file, loses nothing and says what is wrong in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkouts import ROOT, Checkout, stub_scripts, tiny_study

from rlleak.errors import ResourceError
from rlleak.stale_lock import holders, remove_stale_lock

_OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "SCALE", "SIMULATOR", "DEVICE", "CORES"}


def start(checkout: Checkout, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    environment = {**os.environ, "SNAKEMAKE_PROFILE": "workflow/profiles/default"}
    return subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def test_a_killed_run_is_resumed_where_it_was(checkout: Checkout) -> None:
    tiny_study(checkout)
    stub_scripts(checkout, delay=0.3)
    target = "results/smoke/rooms/experience/public.safetensors"
    running = start(checkout, target)
    wait_for(checkout.path("results/smoke/rooms/detector.json"))
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert remove_stale_lock(checkout.folder)
    finished = checkout.path("results/smoke/rooms/public/views.safetensors")
    before = finished.stat().st_mtime_ns
    checkout.snakemake(target)
    assert checkout.path(target).exists()
    assert finished.stat().st_mtime_ns == before


def test_a_lock_is_kept_while_its_run_lives(checkout: Checkout) -> None:
    tiny_study(checkout)
    stub_scripts(checkout, delay=5)
    running = start(checkout, "results/smoke/rooms/public/views.safetensors")
    try:
        wait_for(checkout.path(".snakemake/locks"))
        wait_for(checkout.path("results/smoke/rooms/logs"))
        assert running.pid in holders(checkout.folder)
        assert not remove_stale_lock(checkout.folder)
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()


def test_a_lock_that_somebody_else_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(ResourceError, match=r"the lock .*0\.input\.lock .* cannot be removed \(Permission denied\)"):
        remove_stale_lock(tmp_path)


def test_a_broken_file_is_named_in_one_line(checkout: Checkout) -> None:
    tiny_study(checkout)
    views = checkout.path("results/smoke/rooms/public/views.safetensors")
    views.parent.mkdir(parents=True)
    views.write_bytes(b"half a file")
    done = checkout.snakemake("results/smoke/rooms/detector.json", "--rerun-triggers", "params", check=False)
    assert done.returncode != 0
    log = checkout.path("results/smoke/rooms/logs/train_detector.log").read_text()
    assert len(log.strip().splitlines()) == 1
    assert "views.safetensors is truncated or not a file of this project" in log
    assert log.strip() in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "apt-get install"),
        ({"simulator": "thor", "simulation__platform": "Linux64"}, "X display"),
        ({"memory_limit_gb": 100_000}, "memory_limit_gb"),
    ],
    ids=["no GL library", "no display for Unity", "too little memory"],
)
def test_what_a_machine_lacks_is_said_before_work_starts(
    checkout: Checkout, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    tiny_study(checkout)
    checkout.edit("config/config.yaml", **change)
    # A machine without any graphics.
    tmp_path.joinpath("sitecustomize.py").write_text(
        "import ctypes.util\nctypes.util.find_library = lambda name: None\n"
    )
    bare = {"PYTHONPATH": str(tmp_path), "DISPLAY": "", "MUJOCO_GL": ""}
    done = checkout.snakemake(check=False, **bare)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr[-2000:]
    assert words in lines[0]
    assert not checkout.path("results/smoke").exists()


def _make(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`make` as a user calls it: these tests may themselves run under `make test`, which tells a make below it so."""
    outside = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
    return subprocess.run(["make", *words], cwd=folder, env=outside, capture_output=True, text=True, check=False)


def test_the_makefile_names_its_commands() -> None:
    done = _make("help")
    for command in ("smoke", "reproduce", "plan", "test", "table1", "fig3", "verdicts"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("SCALE=smok", "unknown SCALE 'smok'; there is: paper reduced smoke"),
        ("SCALE=", "unknown SCALE ''"),
        ("SCALE=reference", "unknown SCALE 'reference'"),
        ("SIMULATOR=unity", "unknown SIMULATOR 'unity'"),
        ("DEVICE=gpu", "unknown DEVICE 'gpu'"),
        ("CORES=0", "CORES is '0'; give a whole number above 0"),
    ],
)
def test_a_word_that_make_does_not_know_ends_before_anything_is_removed_or_run(word: str, said: str) -> None:
    done = _make("-n", "clean-results", word)
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_an_environment_without_pip_is_not_taken_for_one(tmp_path: Path) -> None:
    """Debian without python3-venv leaves a python and no pip; so does the next try."""
    for name in ("Makefile", "pyproject.toml", "envs", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    half = tmp_path / "half"
    half.write_text(
        "#!/bin/sh\nmkdir -p $3/bin; printf '#!/bin/sh\\nexit 1\\n' > $3/bin/python; chmod +x $3/bin/python\n"
        "echo ensurepip is not available; exit 1\n"
    )
    half.chmod(0o755)
    for _ in range(2):
        done = _make("setup", f"PYTHON={half}", folder=tmp_path)
        assert done.returncode != 0
        assert "no environment in .venv (ensurepip is not available): apt-get install python3-venv" in done.stdout
