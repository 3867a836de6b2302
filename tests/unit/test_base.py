"""The base of the house: artefacts whole or not at all, names with suggestions, seeds from labels alone."""

import platform
import re
import resource
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from rlleak.artefacts import (
    provenance,
    read_json,
    read_table,
    read_tensors,
    write_json,
    write_table,
    write_tensors,
    write_text,
)
from rlleak.errors import ConfigurationError, CorruptArtefactError, ResourceError
from rlleak.registry import Registry
from rlleak.seeds import derive


def test_tensors_come_back_as_they_were_written(tmp_path):
    stored = {"image": torch.rand(2, 3), "layout": np.array([1, 2], dtype=np.int64)}
    write_tensors(tmp_path / "deep" / "file.safetensors", "test", stored, {"loss": {"gamma": 0.99}})
    tensors, description = read_tensors(tmp_path / "deep" / "file.safetensors", "test", ["image"])
    assert torch.equal(tensors["image"], stored["image"])
    assert tensors["layout"].tolist() == [1, 2]
    assert description == {"loss": {"gamma": 0.99}}


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "update.safetensors"
    write_tensors(path, "update", {"image": torch.rand(64)}, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorruptArtefactError, match=r"update\.safetensors.*run again"):
        read_tensors(path, "update")


def test_a_file_of_another_kind_or_with_something_missing_is_refused(tmp_path):
    path = tmp_path / "update.safetensors"
    write_tensors(path, "update", {"image": torch.rand(4)}, {})
    with pytest.raises(CorruptArtefactError, match="holds no detector but update"):
        read_tensors(path, "detector")
    with pytest.raises(CorruptArtefactError, match=r"missing: box"):
        read_tensors(path, "update", ["image", "box"])


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(CorruptArtefactError, match="nowhere"):
        read_tensors(tmp_path / "nowhere.safetensors", "update")


def test_a_failed_write_leaves_what_was_there_and_no_rubbish(tmp_path):
    path = tmp_path / "numbers.json"
    write_json(path, {"kept": 1})
    with pytest.raises(TypeError):
        write_json(path, {"unserialisable": object()})
    with pytest.raises(ResourceError, match=r"numbers\.json cannot be written \(the disk is full\); free some disk"):
        _write_and_fail(path)
    assert read_json(path) == {"kept": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["numbers.json"]


def _write_and_fail(path):
    class Full(pd.DataFrame):
        def to_csv(self, *args, **kwargs):
            raise OSError("the disk is full")

    write_table(path, Full({"a": [1]}))


def test_a_disk_that_takes_no_more_is_named_and_what_was_there_stays(tmp_path):
    kept = tmp_path / "update.safetensors"
    write_tensors(kept, "update", {"image": torch.rand(4)}, {})
    before = kept.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ResourceError, match=r"update\.safetensors cannot be written .*what is finished is kept"):
            write_tensors(kept, "update", {"image": torch.rand(10_000)}, {})
        with pytest.raises(ResourceError, match=r"metrics\.parquet cannot be written"):
            write_table(tmp_path / "metrics.parquet", pd.DataFrame({"value": np.random.default_rng(0).random(10_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert kept.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_a_place_that_is_no_folder_is_named(tmp_path):
    tmp_path.joinpath("results").write_text("")
    with pytest.raises(ResourceError, match=r"verdicts\.csv cannot be written"):
        write_text(tmp_path / "results" / "verdicts.csv", "")


@pytest.mark.parametrize("content", [b"\xff", b"{", b""])
def test_json_that_is_none_is_named(tmp_path, content):
    tmp_path.joinpath("tuned.json").write_bytes(content)
    with pytest.raises(CorruptArtefactError, match=r"tuned\.json cannot be read as JSON"):
        read_json(tmp_path / "tuned.json")


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_tables_come_back_and_broken_ones_are_named(tmp_path, ending):
    path = tmp_path / f"metrics{ending}"
    table = pd.DataFrame({"metric": ["iou"], "value": [0.5]})
    write_table(path, table)
    pd.testing.assert_frame_equal(read_table(path), table, check_dtype=False)
    path.write_bytes(b"")
    with pytest.raises(CorruptArtefactError, match="metrics"):
        read_table(path)


def test_provenance_names_versions_and_revision():
    record = provenance(device="cpu")
    # A build's suffix (+cpu) stands in one of the two only, as torch was packaged.
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert record["versions"]["python"] == platform.python_version()
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|unknown", record["revision"])
    assert record["device"] == "cpu"


def test_an_unknown_name_gets_a_suggestion():
    registry = Registry("attack", {"qgi": "rlleak.seeds:derive", "rgi": "rlleak.seeds:derive"})
    assert registry.load("qgi") is derive
    assert registry.module("rgi") == "rlleak.seeds"
    with pytest.raises(ConfigurationError, match="unknown attack 'qgl'; did you mean 'qgi'"):
        registry.load("qgl")
    with pytest.raises(ConfigurationError, match="there is: qgi, rgi"):
        registry.module("something else")


def test_seeds_differ_by_label_and_agree_between_processes():
    assert derive(1, "victim", 3) != derive(1, "victim", 4)
    assert derive(1, "victim", 3) != derive(2, "victim", 3)
    assert derive(1, "ab", "c") != derive(1, "a", "bc")
    command = [sys.executable, "-c", "from rlleak.seeds import derive; print(derive(1, 'victim', 3))"]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == derive(1, "victim", 3)


def test_importing_the_package_imports_no_heavy_library():
    program = "import rlleak, rlleak.attacks, rlleak.learners, sys; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "False"
