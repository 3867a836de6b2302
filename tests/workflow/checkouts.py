"""A copy of the workflow in a temporary folder, and Snakemake run in it as a user would."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("Snakefile", "workflow", "config")


@dataclass
class Checkout:
    """A folder with the workflow in it."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        """Runs Snakemake with the default profile; `check` fails the test if it ends with an error."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        variables = {**kept, "SNAKEMAKE_PROFILE": "workflow/profiles/default", **environment}
        done = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=170)
        if check:
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def path(self, name: str) -> Path:
        return self.folder / name

    def edit(self, name: str, **changes: object) -> None:
        """Changes keys of a YAML file; `a__b` is key b within a."""
        path = self.path(name)
        content = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *outer, last = key.split("__")
            place = content
            for part in outer:
                place = place[part]
            place[last] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def planned(self, *arguments: str) -> list[dict[str, str]]:
        """The jobs that a dry run announces: `rule`, its wildcards, and `input` as one string."""
        return parse_jobs(self.snakemake("--dry-run", *arguments).stdout)

    def planned_rules(self, *arguments: str) -> Counter:
        return Counter(job["rule"] for job in self.planned(*arguments))


def parse_jobs(text: str) -> list[dict[str, str]]:
    """Jobs from what a dry run prints."""
    jobs: list[dict[str, str]] = []
    for line in text.splitlines():
        if found := re.match(r"\s*(?:local)?rule (\w+):", line):
            jobs.append({"rule": found[1], "input": ""})
        elif found := re.match(r"\s+(input|wildcards): (.*)", line):
            if found[1] == "input":
                jobs[-1]["input"] = found[2]
            else:
                jobs[-1] |= dict(part.split("=", 1) for part in found[2].split(", "))
    return jobs


def copy_workflow(folder: Path) -> Checkout:
    """The workflow's files in a new folder, with their dates."""
    folder.mkdir(parents=True)
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".snakemake"))
        else:
            shutil.copy2(source, folder / name)
    return Checkout(folder)


def stub_scripts(checkout: Checkout, delay: float = 0.0) -> None:
    """Replaces each script by one that makes its outputs at once, and imports (on paper) what the script imports."""
    for script in checkout.path("workflow/scripts").glob("*.py"):
        imports = [
            node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        lines = ["if False:", "    pass", *(f"    {ast.unparse(node)}" for node in imports)]
        lines += ["import time", "from pathlib import Path", f"time.sleep({delay})"]
        lines += ["for path in snakemake.output:", "    Path(path).write_text(snakemake.rule)"]
        script.write_text("\n".join(lines) + "\n")


def tiny_study(checkout: Checkout, experiments: Sequence[str] = ("tiny",)) -> None:
    """Two attacks on one learner in one setting, a table, a figure and a claim, all at scale smoke."""
    where = {"learner": "dqn", "attack": "qgi", "setting": "S2"}
    claim = {
        "id": "better",
        "where": "Table 0",
        "quote": "it is better",
        "kind": "relation",
        "left": {"metric": "iou", "where": where},
        "op": ">",
        "right": {"metric": "iou", "where": {**where, "attack": "prior_only"}},
    }
    experiment = {
        "id": "tiny",
        "paper": "A paper",
        "title": "A title",
        "grid": [{"learner": ["dqn"], "attack": ["qgi", "prior_only"], "setting": ["S2"]}],
        "metrics": ["iou"],
        "publishes": [
            {"kind": "table", "name": "a_table", "builder": "table2", "caption": "A caption"},
            {"kind": "figure", "name": "a_figure", "builder": "fig4", "caption": "A caption"},
        ],
        "claims": [claim],
    }
    checkout.path("config/experiments/tiny.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
    checkout.edit("config/config.yaml", scale="smoke", experiments=list(experiments), loopback=None)
