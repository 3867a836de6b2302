"""What the report says of environments: how good policies are, and whether the attacker's model foretells anything."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlleak.artefacts import write_json, write_table
from rlleak.errors import CorruptArtefactError
from rlleak.priors.transition_prior import nothing_known
from rlleak.publishing.environments import describe, environment_rows


def prior(tmp_path: Path, environment: str, name: str) -> Path:
    path = tmp_path / f"{name}.safetensors"
    replace(nothing_known(environment), held_out_error=0.5, no_change_error=1.0).save(path)
    return path


def test_each_environment_and_policy_has_a_row_in_the_studys_order(tmp_path: Path) -> None:
    returns = tmp_path / "Hopper.json"
    earned = {"trained": {"mean": 120.0, "std": 2.0}, "random": {"mean": 21.0, "std": 10.0}}
    write_json(returns, {"environment": "Hopper", "steps": 4000, "episodes": 5, "horizon": None, "returns": earned})
    files = [("random", "FrozenLake"), ("trained", "Hopper"), ("random", "Hopper")]
    priors = [(policy, prior(tmp_path, setting, f"{setting}.{policy}")) for policy, setting in files]
    write_table(tmp_path / "environments.csv", describe(priors, [returns]))
    rows = environment_rows(tmp_path / "environments.csv")
    assert [row[:2] for row in rows[1:]] == [["Hopper", "random"], ["Hopper", "trained"], ["FrozenLake", "random"]]
    assert rows[1][-1].startswith("120")
    assert rows[3][-2:] == ["–", "–"]
    assert {row[4] for row in rows[1:]} == {"no"}  # there is no model, whatever errors are written


def test_a_file_that_is_no_prior_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtefactError, match="absent"):
        describe([("random", tmp_path / "absent.safetensors")], [])
