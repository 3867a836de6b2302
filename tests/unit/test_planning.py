"""What a run needs is announced, and a machine that lacks it is told so in one line."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.planning import check, needs, shared_files_at_once

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


def test_a_folder_that_cannot_be_written_is_said_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = study(scale="smoke", experiments=["qgi_fig1"])
    foreign = tmp_path / "results" / "smoke" / "rooms"
    foreign.mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != foreign)
    with pytest.raises(ResourceError, match=r"smoke/rooms may not be written by you; .*chown"):
        check(asked, tmp_path / "results" / "smoke", [], cores=1)
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(ResourceError, match="file is no folder"):
        check(asked, tmp_path / "file" / "smoke", [], cores=1)


@pytest.mark.parametrize(("limit", "said"), [(1e-3, "of network .mnih2015. take .* GB; raise it"), (1e6, "lower it")])
def test_a_memory_limit_that_no_attack_can_keep_is_refused(limit: float, said: str, tmp_path: Path) -> None:
    asked = study(scale="smoke", experiments=["qgi_fig1"], memory_limit_gb=limit)
    with pytest.raises(ResourceError, match=rf"memory_limit_gb is .*{said}"):
        check(asked, tmp_path, ["invert"], cores=1)


@pytest.mark.parametrize("given", [["gpu=1", "shared_files=7"], {"gpu": 1, "shared_files": 7}, None])
def test_the_limit_on_shared_files_is_read_as_snakemake_reads_it(
    given: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("config.yaml").write_text(yaml.safe_dump({"resources": given} if given else None))
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path))
    if given:
        assert shared_files_at_once() == 7
    else:
        with pytest.raises(ConfigurationError, match="sets no limit on shared_files"):
            shared_files_at_once()


def test_a_gpu_that_is_asked_for_and_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ResourceError, match="device is cuda, but torch sees no GPU"):
        check(study(scale="smoke", device="cuda"), tmp_path, ["learn_prior"], cores=1)
    check(study(scale="smoke", device="cuda"), tmp_path, ["tabulate"], cores=1)


def test_a_network_that_cannot_be_trained_is_named_before_work_starts(tmp_path: Path) -> None:
    networks = read_yaml(CONFIG / "config.yaml")["networks"]
    wide = {**networks["mnih2015"], "convolutions": [{"channels": 4, "kernel": 100, "stride": 4}]}
    asked = study(scale="paper", experiments=["federated_curves"], networks={**networks, "mnih2015": wide})
    with pytest.raises(ConfigurationError, match=r"network .mnih2015. cannot be built for Pong: .*kernel 100"):
        check(asked, tmp_path, ["train_federated"], cores=1)
