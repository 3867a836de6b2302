"""A workflow script ends in one line where a person can help, and its log holds all that it printed."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from rlleak.scripting import origin


class Params(dict):
    """Enough of Snakemake's Namedlist."""


def made_for(folder: Path, **params: object) -> SimpleNamespace:
    return SimpleNamespace(rule="simulate", log=[str(folder / "log")], params=Params(params))


def run(folder: Path, *body: str) -> subprocess.CompletedProcess:
    """A script of its own process, as Snakemake runs it, whose log is folder/log."""
    lines = [
        "import subprocess",
        "from types import SimpleNamespace",
        "from rlleak.errors import SimulatorError",
        "from rlleak.scripting import job",
        f"with job(SimpleNamespace(rule='simulate', log=[{str(folder / 'log')!r}])):",
        *(f"    {line}" for line in body),
    ]
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)


def test_what_a_user_can_mend_is_one_line_in_the_log_and_on_the_terminal(tmp_path: Path) -> None:
    done = run(tmp_path, "raise SimulatorError('no OpenGL library: apt-get install libegl1')")
    line = "simulate: no OpenGL library: apt-get install libegl1\n"
    assert done.returncode == 1
    assert tmp_path.joinpath("log").read_text() == line
    assert done.stderr == line


def test_the_log_holds_what_the_script_and_its_children_print(tmp_path: Path) -> None:
    done = run(tmp_path, "print('of the script')", "subprocess.run(['echo', 'of a child'])")
    assert done.returncode == 0
    assert sorted(tmp_path.joinpath("log").read_text().splitlines()) == ["of a child", "of the script"]
    assert done.stdout == done.stderr == ""


def test_a_disk_too_full_for_the_log_is_said_on_the_terminal(tmp_path: Path) -> None:
    tmp_path.joinpath("log").symlink_to("/dev/full")
    for body in ("print('a line of progress')", "raise SimulatorError('no OpenGL library')"):
        done = run(tmp_path, body)
        assert done.returncode != 0
        told = [line for line in done.stderr.splitlines() if line.startswith("simulate: ")]
        assert len(told) == 1
        assert ("the disk is full" if "progress" in body else "no OpenGL library") in told[0]
        assert "Traceback" not in done.stderr


def test_a_bug_keeps_its_traceback_in_the_log(tmp_path: Path) -> None:
    done = run(tmp_path, "1 / 0")
    assert done.returncode == 1
    log = tmp_path.joinpath("log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError" in log


def test_origin_tells_parameters_apart(tmp_path: Path) -> None:
    one, same, other = (origin(made_for(tmp_path, seed=seed, size={"a": 1})) for seed in (1, 1, 2))
    assert one == same
    assert one["parameters"] != other["parameters"]
    assert (one["rule"], one["seed"]) == ("simulate", 1)
