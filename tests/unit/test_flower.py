"""Clients and server over Flower: real processes on loopback, and what the server does with clients that misbehave."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from connections import watched
from flwr.app import Array, ArrayRecord, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from rlleak.artefacts import read_json
from rlleak.attacks.closed_form import closed_form
from rlleak.configuration.attacks import AttackSettings
from rlleak.configuration.federation import FederatedSettings
from rlleak.errors import ProtocolError, ResourceError
from rlleak.federation.client import Client
from rlleak.federation.flower.messages import packed, unpacked
from rlleak.federation.flower.processes import federation
from rlleak.federation.flower.server_app import serve
from rlleak.federation.flower.task import Task
from rlleak.federation.server import Server
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import SharedUpdate

TRAINING = FederatedSettings.model_validate(
    {
        **{"environment": "CartPole", "learner": "dqn", "network": {"vector_width": 0, "hidden": [64, 64]}},
        **{"clients": 2, "steps": 1, "warm_up": 20, "replay": 50, "exploration": 0.1, "learning_rate": 1e-3},
        "size": {"runs": 1, "rounds": 4, "evaluations": 1, "episodes": 1},
    }
)
UNDEFENDED = {"method": "none"}
SEEDS = (11, 12)


def task(folder: Path, **changes: object) -> Task:
    asked = {"training": TRAINING, "clients": 2, "seed": 5, "keeps": str(folder / "kept"), "round_timeout": 60}
    return Task.model_validate({**asked, **changes})


def own_files(folder: Path) -> list[dict[str, str]]:
    """What each node alone is told."""
    told = []
    for number, seed in enumerate(SEEDS):
        own = folder / f"client{number}.json"
        own.write_text(json.dumps({"client": number, "seed": seed, "memory": str(folder / f"memory{number}")}))
        told.append({"client": str(own)})
    return told


def observed(number: int) -> torch.Tensor:
    """What a client's first update is made of, lived through again from its private seed."""
    client = Client(TRAINING, UNDEFENDED, SEEDS[number])
    client.play(Server(TRAINING, UNDEFENDED, 5).parameters, 0)
    return client.drawn(0)["observation"]


def test_a_server_reconstructs_what_clients_in_other_processes_saw_and_nobody_speaks_beyond_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(psutil.Process().children(recursive=True))
    with (
        watched(tmp_path / "hook", monkeypatch) as seen,
        federation(tmp_path / "logs", own_files(tmp_path), start_timeout=600) as running,
    ):
        started = psutil.Process().children(recursive=True)
        (went,) = running.run(task(tmp_path, round_timeout=900), timeout=1200)
        started += psutil.Process().children(recursive=True)
    assert not any(process.is_running() for process in {*started} - before)
    for number in range(2):
        update = SharedUpdate.load(tmp_path / "kept" / "round0" / f"client{number}.safetensors")
        found = closed_form(update, AttackSettings(method="closed_form"), seed=0)
        torch.testing.assert_close(found.linear_input, observed(number), rtol=1e-4, atol=1e-5)
    assert sorted(entry["client"] for entry in went["clients"]) == [0, 1]
    assert seen.processes >= {"flower-superlink", "flower-supernode", "flwr-serverapp", "flwr-clientapp"}
    assert seen.connected
    assert seen.listened
    assert not seen.beyond


def test_a_process_that_connects_beyond_loopback_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An address kept for documentation (RFC 5737): nobody answers there.
    connects = "import socket; s = socket.socket(); s.settimeout(0.2); s.connect_ex(('192.0.2.1', 9))"
    asks = "import socket; socket.gethostbyname('telemetry.invalid')"
    with watched(tmp_path / "hook", monkeypatch) as seen:
        for code in (connects, asks):
            subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)
    assert seen.beyond == {"192.0.2.1", "telemetry.invalid"}


@pytest.fixture
def _as_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flower's own process says of itself before it calls a server app."""
    for name in ("task_id", "run_id", "node_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)


class Wire:
    """Stands in for Flower's grid: each node answers as its function says, or not at all (None)."""

    def __init__(self, *nodes: Callable[[RecordDict], RecordDict | Error | None]) -> None:
        self.nodes = nodes
        self._waiting: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        return range(len(self.nodes))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        names = []
        for message in messages:
            names.append(f"{message.metadata.group_id}/{message.metadata.dst_node_id}")
            message.metadata.__dict__["_message_id"] = names[-1]
            self._waiting[names[-1]] = message
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterable[Message]:
        answers = []
        for name in names:
            question = self._waiting.pop(name, None)
            answer = self.nodes[question.metadata.dst_node_id](question.content) if question else None
            if answer is not None:
                answers.append(Message(answer, reply_to=question))
        return answers


def honest(number: int) -> Callable[[RecordDict], RecordDict]:
    """A client that plays, in this process."""
    client = Client(TRAINING, UNDEFENDED, SEEDS[number])

    def answer(question: RecordDict) -> RecordDict:
        groups, said = unpacked(question)
        client.play(groups["parameters"], said["round"])
        sent = client.update(groups["parameters"], said["round"])
        return packed({"gradients": sent.gradients}, {"client": number, "round": said["round"]})

    return answer


def spoilt(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], **says: object):
    """A client that sends something else than its update, or says something else."""

    def answer(question: RecordDict) -> RecordDict:
        groups, said = unpacked(honest(1)(question))
        return packed({"gradients": change(groups["gradients"])}, {**said, **says})

    return answer


def pickled(question: RecordDict) -> RecordDict:
    """A client that would have code run at the server."""
    content = honest(1)(question)
    array = Array(np.zeros(1))
    array.data = np.array([{"an": "object"}], dtype=object).dumps()
    content["gradients"] = ArrayRecord({"critic/head.bias": array})
    return content


BAD = {
    "other shapes": (spoilt(lambda sent: {name: value[..., :1] for name, value in sent.items()}), "shape"),
    "NaN": (spoilt(lambda sent: {name: value * torch.nan for name, value in sent.items()}), "NaN"),
    "tensors left out": (spoilt(lambda sent: dict(list(sent.items())[1:])), "do not fit"),
    "nothing in it": (spoilt(lambda sent: {}), "no gradient"),
    "another's number": (spoilt(lambda sent: sent, client=0), "another has sent"),
    "no number": (spoilt(lambda sent: sent, client="1; rm"), "it says to be client"),
    "another round": (spoilt(lambda sent: sent, round=7), "round 7"),
    "pickled": (pickled, "cannot be read"),
    "failing": (lambda question: Error(code=1, reason="out of memory"), "out of memory"),
    "silent": (lambda question: None, "nothing arrived within 0.5 s"),
}


@pytest.mark.usefixtures("_as_a_server")
@pytest.mark.parametrize(("node", "reason"), BAD.values(), ids=BAD)
def test_a_client_that_misbehaves_is_left_out_and_the_round_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], node: Callable, reason: str
) -> None:
    asked = task(tmp_path, round_timeout=0.5)
    serve(Wire(honest(0), node), asked)
    (went,) = read_json(tmp_path / "kept" / "record.json")
    (left_out,) = (entry["left_out"] for entry in went["clients"] if "left_out" in entry)
    assert reason in left_out
    assert "node 1 is left out" in capsys.readouterr().out
    # The server stands where it would with the honest client alone.
    kept, expected = torch_file(tmp_path), Server(TRAINING, UNDEFENDED, 5)
    alone = unpacked(honest(0)(packed({"parameters": expected.parameters}, {"round": 0})))[0]["gradients"]
    expected.aggregate([Sent(alone), None])
    for name, value in expected.kept().items():
        torch.testing.assert_close(kept[name], value)


def torch_file(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "kept" / "server.safetensors")


@pytest.mark.usefixtures("_as_a_server")
def test_a_round_without_enough_updates_ends_the_run_and_loses_nothing_of_the_rounds_before(tmp_path: Path) -> None:
    second = honest(1)
    going = iter([True, False])
    serve_two = task(tmp_path, rounds=3, least_clients=2, round_timeout=0.5)
    with pytest.raises(ProtocolError, match="round 1 has 1 updates that can be used, needed are 2"):
        serve(Wire(honest(0), lambda question: second(question) if next(going) else None), serve_two)
    before = torch_file(tmp_path)
    asked: list[int] = []

    def again(question: RecordDict) -> RecordDict:
        asked.append(unpacked(question)[1]["round"])
        return second(question)

    serve(Wire(honest(0), again), serve_two)
    assert asked == [1, 2]
    assert any(not torch.equal(value, before[name]) for name, value in torch_file(tmp_path).items())


@pytest.mark.usefixtures("_as_a_server")
def test_too_few_clients_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"1 of 2 clients joined within 0\.3 s, needed are 2"):
        serve(Wire(honest(0)), task(tmp_path, least_clients=2, join_timeout=0.3))


def test_what_cannot_start_says_why_and_leaves_nobody_behind(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ResourceError, match=f"port {port} of 127.0.0.1 is not free"),
            federation(tmp_path, [], port=port),
        ):
            pass
    with (
        pytest.raises(ResourceError, match=r"does not listen in time|ended with status"),
        federation(tmp_path, own_files(tmp_path), start_timeout=0.2),
    ):
        pass
    assert psutil.Process().children(recursive=True) == before
