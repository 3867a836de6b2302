"""The READMEs tell what there is: tables are the models', examples are valid, what they point to exists."""

import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import yaml

from rlleak.configuration import defences
from rlleak.configuration.axes import Learner, Policy
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Claim, Experiment, Product, Publication
from rlleak.sharing import DEFENCES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "config/README.md").read_text()
FRONT = (ROOT / "README.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """A table's rows by their first cell: the names there, and all that is said of them."""
    table = TEXT.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {line.split("|", 2)[1]: line.split("|", 2)[2] for line in table}


def named(text: str) -> set[str]:
    return set(re.findall(r"`([A-Za-z0-9_]+)`", text))


def test_every_axis_and_value_is_listed() -> None:
    axes = {next(iter(named(axis))): said for axis, said in rows("axis").items()}
    assert set(axes) == set(Product.model_fields)
    for axis, values in (("learner", Learner), ("policy", Policy)):
        assert named(axes[axis]) >= set(get_args(values)), axis
    assert named(axes["setting"]) >= {"S1", "S2", *ENVIRONMENTS}


def test_every_kind_of_defence_is_listed_with_its_keys() -> None:
    listed = rows("method")
    assert set().union(*map(named, listed)) == set(DEFENCES)
    models = {
        get_args(model.model_fields["method"].annotation)[0]: model for model in vars(defences).values() if keyed(model)
    }
    for names, said in listed.items():
        for name in named(names):
            assert named(said) >= set(models[name].model_fields) - {"method"}, name


def keyed(thing: object) -> bool:
    return isinstance(thing, type) and "method" in getattr(thing, "model_fields", {})


def test_its_examples_make_an_experiment() -> None:
    content = {"id": "mine", "paper": "mine", "title": "mine", "metrics": ["psnr_rgb"]}
    for example in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL):
        content |= yaml.safe_load(example)
    experiment = Experiment.model_validate(content)
    assert experiment.claims
    assert experiment.publishes


def test_every_key_of_claims_and_publications_is_told() -> None:
    told = TEXT[TEXT.index("**What is published**") :]
    for key in (*Claim.model_fields, *Publication.model_fields):
        assert re.search(rf"\b{key}\b", told), key


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:workflow/)?rlleak/[a-z_/]+(?:\.py)?)`", TEXT))))
def test_files_that_it_points_to_exist(path: str) -> None:
    assert (ROOT / "workflow" / path.removeprefix("workflow/")).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(rlleak\.[a-z_.]+\.[A-Z_]+)`", TEXT))))
def test_names_that_it_points_to_exist(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute)


def test_every_command_that_they_name_is_the_makefiles() -> None:
    commands = set(re.findall(r"^([a-z0-9_ -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for line in commands for name in line.split()}
    for given in re.findall(r"`make ([^`]+)`", TEXT + FRONT):
        words = [word.rstrip(",;") for word in given.split() if "=" not in word]
        assert set(words) <= known, given


def test_every_table_and_figure_is_in_the_list_of_commands() -> None:
    listed = FRONT[FRONT.index("## One line per table and figure") : FRONT.index("## What came out")]
    for name in yaml.safe_load((ROOT / "config/config.yaml").read_text())["experiments"]:
        for published in yaml.safe_load((ROOT / f"config/experiments/{name}.yaml").read_text())["publishes"]:
            assert re.search(rf"\b{published['name']}\b", listed), published["name"]
