"""Clients and server over Flower: real processes on loopback, and what the server does with clients that misbehave."""

import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import torch
from connections import watched
from flower_nodes import (
    LIMIT,
    SEEDS,
    TRAINING,
    UNDEFENDED,
    Wire,
    honest,
    masked,
    own_files,
    says_nothing_of,
    task,
    torch_file,
)
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, RecordDict

from rlleak.artefacts import read_json
from rlleak.attacks.closed_form import closed_form
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ProtocolError, ResourceError
from rlleak.federation.client import Client
from rlleak.federation.flower.messages import packed, unpacked
from rlleak.federation.flower.processes import federation
from rlleak.federation.flower.server_app import serve
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.server import Server
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import SharedUpdate


class Lived(NamedTuple):
    """What a client saw in its first round, and what it sends in both."""

    observed: torch.Tensor
    updates: list[dict[str, torch.Tensor]]


def lived() -> list[Lived]:
    """Two rounds of two clients, lived through again from their private seeds."""
    server, clients = Server(TRAINING, UNDEFENDED, 5), [Client(TRAINING, UNDEFENDED, seed) for seed in SEEDS[:2]]
    sent, observed = [], []
    for round in range(2):
        for client in clients:
            client.play(server.parameters, round)
        sent.append([client.update(server.parameters, round) for client in clients])
        observed.append([client.drawn(round)["observation/vector"] for client in clients])
        server.aggregate(sent[-1])
    return [Lived(observed[0][place], [sent[0][place].gradients, sent[1][place].gradients]) for place in range(2)]


def critic(update: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("critic/"): value for name, value in update.items() if name.startswith("critic/")}


def test_a_server_reconstructs_what_clients_in_other_processes_saw_and_nobody_speaks_beyond_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(psutil.Process().children(recursive=True))
    with (
        watched(tmp_path / "hook", monkeypatch) as seen,
        federation(tmp_path / "logs", own_files(tmp_path), start_timeout=600) as running,
    ):
        started = psutil.Process().children(recursive=True)
        secure = {
            "rounds": 2,
            "kept_rounds": 2,
            "plain_rounds": 1,
            "secure_aggregation": {"threshold": 2, "limit": LIMIT},
        }
        went = running.run(task(tmp_path, round_timeout=900, **secure), timeout=1200)
        started += psutil.Process().children(recursive=True)
    assert not any(process.is_running() for process in {*started} - before)
    clients, agreement = lived(), Agreement(Server(TRAINING, UNDEFENDED, 5).expected, 2, 2, LIMIT)
    for number, client in enumerate(clients):
        update = SharedUpdate.load(tmp_path / "kept" / "round0" / f"client{number}.safetensors")
        found = closed_form(update, AttackSettings(method="closed_form"), seed=0)
        torch.testing.assert_close(found.linear_input, client.observed, rtol=1e-4, atol=1e-5)
        assert says_nothing_of(masked(tmp_path, 1, number), client.updates[1], agreement)
    assert not list((tmp_path / "kept" / "round1").glob("client*"))
    mean = SharedUpdate.load(tmp_path / "kept" / "round1" / "mean.safetensors")
    for name, value in mean.gradients.items():
        plain = sum(critic(client.updates[1])[name] for client in clients) / 2
        torch.testing.assert_close(value[0], plain, rtol=1e-4, atol=1e-6)
    assert [sorted(entry["client"] for entry in round["clients"]) for round in went] == [[0, 1], [0, 1]]
    assert seen.processes >= {"flower-superlink", "supernode.py", "flwr-serverapp", "flwr-clientapp"}
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


def made_up(array: bytes) -> Callable[[RecordDict], RecordDict]:
    """A client that sends bytes in place of numpy's."""

    def answer(question: RecordDict) -> RecordDict:
        content = honest(1)(question)
        content["gradients"]["critic/head.bias"].data = array
        return content

    return answer


def nested(question: RecordDict) -> RecordDict:
    """A client whose words would have the server recurse for ever."""
    content = honest(1)(question)
    content["said"] = ConfigRecord({"json": "[" * 100_000})
    return content


def header(text: str) -> bytes:
    """An array file in numpy's format that begins like this, and holds nothing."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }"
BAD = {
    "other shapes": (spoilt(lambda sent: {name: value[..., :1] for name, value in sent.items()}), "shape"),
    "NaN": (spoilt(lambda sent: {name: value * torch.nan for name, value in sent.items()}), "NaN"),
    "tensors left out": (spoilt(lambda sent: dict(list(sent.items())[1:])), "not those agreed on"),
    "nothing in it": (spoilt(lambda sent: {}), "not those agreed on"),
    "whole numbers": (spoilt(lambda sent: {name: value.long() for name, value in sent.items()}), "torch.int64"),
    "too large": (spoilt(lambda sent: {name: value.sign() * 1e30 for name, value in sent.items()}), "beyond ±1e+18"),
    "an archive": (made_up(b"PK\x03\x04"), "cannot be read"),
    "half a header": (made_up(header("{'descr': (")), "cannot be read"),
    "more than there is memory": (made_up(header(HUGE)), "cannot be read"),
    "words without end": (nested, "cannot be read"),
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


@pytest.mark.usefixtures("_as_a_server")
@pytest.mark.parametrize("precision", [torch.float64, torch.float16], ids=str)
def test_a_client_may_compute_in_another_precision(tmp_path: Path, precision: torch.dtype) -> None:
    other = spoilt(lambda sent: {name: value.to(precision) for name, value in sent.items()})
    serve(Wire(honest(0), other), task(tmp_path, round_timeout=0.5))
    expected, kept = Server(TRAINING, UNDEFENDED, 5), torch_file(tmp_path)
    asked = packed({"parameters": expected.parameters}, {"round": 0})
    sent = [unpacked(honest(number)(asked))[0]["gradients"] for number in (0, 1)]
    rounded = {name: value.to(precision).float() for name, value in sent[1].items()}
    expected.aggregate([Sent(sent[0]), Sent(rounded)])
    for name, value in expected.kept().items():
        torch.testing.assert_close(kept[name], value)


@pytest.mark.usefixtures("_as_a_server")
def test_a_round_without_enough_updates_ends_the_run_and_loses_nothing_of_the_rounds_before(tmp_path: Path) -> None:
    second = honest(1)
    going = iter([True, False])
    serve_two = task(tmp_path, rounds=3, least_clients=2, round_timeout=0.5)
    with pytest.raises(ProtocolError, match="round 1: 1 updates can be used, needed are 2"):
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
