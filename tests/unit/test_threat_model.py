"""No attack opens a private file: the kernel is asked, since files are also read by code that Python does not see."""

import ctypes
import os
import runpy
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import attack_cases
import pytest
import torch
import transition_victims

from rlleak.artefacts import write_json, write_tensors
from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.attacks.transitions import ATTACKS as ON_TRANSITIONS
from rlleak.attacks.transitions.reconstruction import load_all
from rlleak.sharing.private import PrivateSide

INVERT = Path(__file__).resolve().parents[2] / "workflow/scripts/invert.py"
_ALL_READING = 0x00000001 | 0x00000020  # IN_ACCESS | IN_OPEN


class Params(SimpleNamespace):
    def items(self):
        return vars(self).items()

    def get(self, name: str):
        return getattr(self, name, None)


@contextmanager
def opened_within(*folders: Path) -> Iterator[set[str]]:
    """The names of all files that are opened in these folders by anybody, as inotify tells at the end."""
    library = ctypes.CDLL(None, use_errno=True)
    watch = library.inotify_init1(os.O_NONBLOCK)
    places = {library.inotify_add_watch(watch, str(folder).encode(), _ALL_READING): folder for folder in folders}
    assert watch >= 0
    assert min(places) >= 0
    seen: set[str] = set()
    try:
        yield seen
        while True:
            try:
                events = os.read(watch, 1 << 16)
            except BlockingIOError:
                break
            while events:
                place, _, _, length = struct.unpack_from("iIII", events)
                name = events[16 : 16 + length].rstrip(b"\0").decode()
                seen.add(str(places[place] / name))
                events = events[16 + length :]
    finally:
        os.close(watch)


def results(folder: Path, method: str) -> SimpleNamespace:
    """The files of an attack job, laid out as the workflow lays them out, with the victims' truth beside them."""
    learner = METHODS[method].learners[0]
    spec = attack_cases.SMALL
    _, batch, update = attack_cases.victims(2, learner, spec)
    files = SimpleNamespace(
        shared=folder / "shared/0.safetensors",
        settings=folder / "tuned/attack.json",
        public=folder / "public/rooms/attack.safetensors",
        private=folder / "private/0.safetensors",
        experience=folder / "experience/private/0.safetensors",
        reconstruction=folder / "reconstructions/0.safetensors",
    )
    for file in vars(files).values():
        file.parent.mkdir(parents=True, exist_ok=True)
    update.save(files.shared)
    settings = attack_cases.settings(method, iterations=3)
    write_json(files.settings, {"settings": settings.model_dump(mode="json")})
    public = {"image": batch.observation["image"] * 0.5, "vector": batch.observation["vector"] * 0.5}
    write_tensors(files.public, "public rooms", public, {})
    truth = PrivateSide(
        vector=batch.observation["vector"],
        action=batch.action,
        layout=torch.ones(2, dtype=torch.int64),
        victim=torch.arange(2),
        image=batch.observation["image"],
    )
    truth.save(files.private)
    truth.save(files.experience)
    return files


@pytest.mark.parametrize("method", list(ATTACKS))
def test_an_attack_job_opens_the_shared_file_and_no_private_one(method: str, tmp_path: Path) -> None:
    files = results(tmp_path, method)
    job = SimpleNamespace(
        input={
            "shared": str(files.shared),
            "settings": str(files.settings),
            "public": str(files.public),
            "prior": [],
            "library": [str(INVERT)],
        },
        output=SimpleNamespace(reconstruction=str(files.reconstruction)),
        params=Params(seed=3, settings=None),
        config={"device": "cpu", "memory_limit_gb": 2},
        log=[str(tmp_path / "log")],
        threads=1,
        rule="invert",
    )
    folders = [files.shared.parent, files.private.parent, files.experience.parent]
    with opened_within(*folders) as opened:
        runpy.run_path(str(INVERT), init_globals={"snakemake": job}, run_name="__main__")
    assert len(Reconstruction.load(files.reconstruction)) == 2
    assert str(files.shared) in opened
    assert not {str(files.private), str(files.experience)} & opened


def test_attacks_on_transitions_open_the_shared_file_and_their_prior_and_no_private_one(tmp_path: Path) -> None:
    update, truth = transition_victims.shared_by(2)
    names = ("shared", "priors", "private", "experience", "reconstructions")
    files = {name: tmp_path / name / "0.safetensors" for name in names}
    for file in files.values():
        file.parent.mkdir()
    update.save(files["shared"])
    transition_victims.prior_of_world().save(files["priors"])
    flat = {name: value.flatten(0, 1) for name, value in truth.items()}
    private = PrivateSide(
        action=torch.zeros(2, dtype=torch.int64),
        victim=torch.arange(2),
        vector=flat["state"],
        next_vector=flat["next_state"],
        continuous_action=flat["action"],
        reward=flat["reward"],
    )
    for name in ("private", "experience"):
        private.save(files[name])
    script = INVERT.with_name("invert_transitions.py")
    asked = {name: transition_victims.settings(name, step_size=None).model_dump(mode="json") for name in ON_TRANSITIONS}
    job = SimpleNamespace(
        input={"shared": str(files["shared"]), "priors": [str(files["priors"])], "library": [str(script)]},
        output=SimpleNamespace(reconstruction=str(files["reconstructions"])),
        wildcards=SimpleNamespace(setting="Hopper"),
        params=Params(seed=3, attacks=asked),
        config={"device": "cpu", "memory_limit_gb": 2},
        log=[str(tmp_path / "log")],
        threads=1,
        rule="invert_transitions",
    )
    with opened_within(*(files[name].parent for name in names[:4])) as opened:
        runpy.run_path(str(script), init_globals={"snakemake": job}, run_name="__main__")
    assert set(load_all(files["reconstructions"])) == set(ON_TRANSITIONS)
    assert {str(files["shared"]), str(files["priors"])} <= opened
    assert not {str(files["private"]), str(files["experience"])} & opened


def test_the_watch_would_have_seen_a_private_file_opened(tmp_path: Path) -> None:
    files = results(tmp_path, "qgi")
    with opened_within(files.private.parent) as opened:
        PrivateSide.load(files.private)
    assert str(files.private) in opened
