"""What a run needs is announced, and a machine that lacks it is told so in one line."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.planning import check, needs

CONFIG = Path(__file__).resolve().parents[2] / "config"
Usage = namedtuple("Usage", "total used free")


def study(**changes: object):
    return load_study({**read_yaml(CONFIG / "config.yaml"), **changes}, CONFIG)


def test_the_paper_scale_stays_below_40_gb() -> None:
    assert 0 < needs(study(scale="paper")).disk < 40e9


def test_more_victims_need_more_disk() -> None:
    smoke, reduced, paper = (needs(study(scale=scale)).disk for scale in ("smoke", "reduced", "paper"))
    assert smoke < reduced < paper


def test_too_little_disk_is_said_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10, 10, 1e6))
    with pytest.raises(ResourceError, match=r"too little free disk .*0\.0 GB, but disk at the peak"):
        check(study(scale="paper"), tmp_path / "results", [], cores=1)


def test_what_is_already_there_needs_no_disk_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = needs(study(scale="smoke")).disk
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10, 10, needed - 1_000_000))
    with pytest.raises(ResourceError, match="too little free disk"):
        check(study(scale="smoke"), tmp_path, [], cores=1)
    tmp_path.joinpath("big").write_bytes(bytes(2_000_000))
    check(study(scale="smoke"), tmp_path, [], cores=1)


def test_a_gpu_that_is_asked_for_and_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ResourceError, match="device is cuda, but torch sees no GPU"):
        check(study(scale="smoke", device="cuda"), tmp_path, ["invert"], cores=1)
    check(study(scale="smoke", device="cuda"), tmp_path, ["tabulate"], cores=1)


def test_a_network_that_cannot_be_trained_is_named_before_work_starts(tmp_path: Path) -> None:
    networks = read_yaml(CONFIG / "config.yaml")["networks"]
    wide = {**networks["mnih2015"], "convolutions": [{"channels": 4, "kernel": 100, "stride": 4}]}
    asked = study(scale="paper", experiments=["federated_curves"], networks={**networks, "mnih2015": wide})
    with pytest.raises(ConfigurationError, match=r"network .mnih2015. cannot be built for Pong: .*kernel 100"):
        check(asked, tmp_path, ["train_federated"], cores=1)
