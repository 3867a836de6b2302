"""A finished run can be kept: what it says, and the machine that said it."""

import json

import pytest

from rlleak.errors import CorruptArtefactError
from rlleak.publishing.reference import keep


def test_a_run_is_kept_with_its_revision_and_without_its_bulk(tmp_path):
    run = tmp_path / "results" / "reduced"
    files = ("report.html", "verdicts.csv", "tables/table1.csv", "figures/fig1.png", "rooms/experience/0.safetensors")
    for name in files:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    (run / "rooms" / "detector.json").write_text(json.dumps({"provenance": {"revision": "abc", "versions": {}}}))
    (run / "rooms" / "rounds.json").write_text(json.dumps([{"round": 1}]))
    keep(run, tmp_path / "reference")
    kept = {path.name for path in (tmp_path / "reference" / "reduced").iterdir()}
    assert kept == {"verdicts.csv", "table1.csv", "fig1.png", "detector.json", "machine.json"}
    machine = json.loads((tmp_path / "reference" / "reduced" / "machine.json").read_text())
    assert "abc" in machine["revisions"]
    assert machine["versions"]["python"]
    assert machine["command"] == "make reproduce SCALE=reduced"


def test_an_unfinished_run_is_not_kept(tmp_path):
    (tmp_path / "reduced").mkdir()
    with pytest.raises(CorruptArtefactError, match="make reproduce SCALE=reduced"):
        keep(tmp_path / "reduced", tmp_path / "reference")
