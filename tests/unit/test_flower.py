"""Clients and server over Flower: real processes on loopback, and what the server does with clients that misbehave."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import torch
from connections import watched
from flwr.app import Array, ArrayRecord, Context, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from rlleak.artefacts import read_json, read_tensors
from rlleak.attacks.closed_form import closed_form
from rlleak.configuration.attacks import AttackSettings
from rlleak.configuration.federation import FederatedSettings
from rlleak.errors import ProtocolError, ResourceError
from rlleak.federation.client import Client
from rlleak.federation.flower import client_app
from rlleak.federation.flower.keeping import MASKED, Keeper
from rlleak.federation.flower.messages import packed, unpacked
from rlleak.federation.flower.processes import federation
from rlleak.federation.flower.protocol import (
    answered,
    answered_in_the_open,
    arrays_of,
    bytes_of,
    groups_of_keys,
    keys_of,
    masked_of,
    revealed_of,
)
from rlleak.federation.flower.server_app import serve
from rlleak.federation.flower.task import Task
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.server import Server as MaskedServer
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
SEEDS = (11, 12, 13)
LIMIT = 64.0
"""Beyond all numbers of these updates."""


def task(folder: Path, **changes: object) -> Task:
    asked = {"training": TRAINING, "clients": 2, "seed": 5, "keeps": str(folder / "kept"), "round_timeout": 60}
    return Task.model_validate({**asked, **changes})


def own_files(folder: Path) -> list[dict[str, str]]:
    """What each node alone is told."""
    told = []
    for number, seed in enumerate(SEEDS[:2]):
        own = folder / f"client{number}.json"
        knows = {"client": number, "seed": seed, "memory": str(folder / f"memory{number}"), "defence": UNDEFENDED}
        own.write_text(json.dumps(knows))
        told.append({"client": str(own)})
    return told


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


def masked(folder: Path, round: int, client: int) -> np.ndarray:
    """What arrived of a client behind secure aggregation."""
    return read_tensors(folder / "kept" / f"round{round}" / f"masked{client}.safetensors", MASKED)[0]["update"].numpy()


def says_nothing_of(numbers: np.ndarray, update: Mapping[str, torch.Tensor], agreement: Agreement) -> bool:
    """Whether what is masked, decoded as a sum is, has no more to do with an update than random numbers have."""
    decoded, plain = (
        torch.cat([group[name].flatten().double() for name in agreement.shapes])
        for group in (agreement.decode(numbers), update)
    )
    # The correlation of N independent pairs is beyond 5 / sqrt(N) once in two million times.
    return bool(torch.corrcoef(torch.stack([decoded, plain]))[0, 1].abs() < 5 / agreement.numbers**0.5)


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


def protecting(number: int, silent: str = "", instead: Callable[[dict], dict] = dict, at: str = ""):
    """A client that takes part in secure aggregation, until it is asked for what it is `silent` about.

    What it keeps between two questions is text, as in a process of its own. instead: changes its groups in step `at`.
    """
    plain, kept = honest(number), "null"

    def answer(question: RecordDict) -> RecordDict | None:
        nonlocal kept
        groups, said = unpacked(question)
        if said["step"] == silent:
            return None
        made, state = answered(
            number, json.loads(kept), groups, said, lambda: unpacked(plain(question))[0]["gradients"]
        )
        kept = json.dumps(state)
        return packed(instead(made) if said["step"] == at else made, {"client": number, "round": said["round"]})

    return answer


def securely(folder: Path, threshold: int, **changes: object) -> Task:
    secure = {"threshold": threshold, "limit": LIMIT}
    return task(folder, clients=3, secure_aggregation=secure, round_timeout=0.5, **changes)


def mean_of(folder: Path, clients: Iterable[int]) -> dict[str, torch.Tensor]:
    """The mean of what clients send in the open, through the same server; their files are left in the folder."""
    asked = list(clients)
    serve(Wire(*[honest(number) for number in asked]), task(folder, clients=3, join_timeout=0.1))
    sent = [SharedUpdate.load(folder / "kept" / "round0" / f"client{number}.safetensors") for number in asked]
    return {name: sum(update.gradients[name] for update in sent) / len(sent) for name in sent[0].gradients}


@pytest.mark.usefixtures("_as_a_server")
def test_the_server_sees_and_moves_by_the_sum_and_no_masked_message_tells_an_update(tmp_path: Path) -> None:
    plain = mean_of(tmp_path / "plain", range(3))
    serve(Wire(*map(protecting, range(3))), securely(tmp_path, 3))
    mean = SharedUpdate.load(tmp_path / "kept" / "round0" / "mean.safetensors")
    agreement = Agreement({f"critic/{name}": tuple(value.shape[1:]) for name, value in plain.items()}, 3, 3, LIMIT)
    assert mean.batch_size == 3 * TRAINING.batch
    for name, value in plain.items():
        torch.testing.assert_close(mean.gradients[name], value, rtol=1e-6, atol=agreement.error / 3)
    for name, value in torch_file(tmp_path / "plain").items():
        torch.testing.assert_close(torch_file(tmp_path)[name], value)
    arrived = [masked(tmp_path, 0, number) for number in range(3)]
    for number, numbers in enumerate([*arrived, sum(arrived[1:], arrived[0])]):
        path = tmp_path / "plain" / "kept" / "round0" / f"client{number % 3}.safetensors"
        own = {f"critic/{name}": value[0] for name, value in SharedUpdate.load(path).gradients.items()}
        assert says_nothing_of(numbers, own, agreement)
        assert not says_nothing_of(agreement.encode(own), own, agreement)


@pytest.mark.usefixtures("_as_a_server")
@pytest.mark.parametrize("silent", ["advertise", "share", "mask", "reveal"])
def test_a_client_that_drops_out_is_survived_where_the_threshold_allows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], silent: str
) -> None:
    nodes = protecting(0), protecting(1, silent=silent), protecting(2)
    serve(Wire(*nodes), securely(tmp_path, 2))
    (went,) = read_json(tmp_path / "kept" / "record.json")
    # Who has sent a masked update is in the sum, whether or not it then helps to take masks off.
    stay = [0, 1, 2] if silent == "reveal" else [0, 2]
    assert sorted(entry["client"] for entry in went["clients"] if "left_out" not in entry) == stay
    assert f"node 1 drops out when asked to {silent}: nothing arrived within 0.5 s" in capsys.readouterr().out
    mean = SharedUpdate.load(tmp_path / "kept" / "round0" / "mean.safetensors").gradients
    if silent in ("mask", "reveal"):
        for name, value in mean_of(tmp_path / "plain", stay).items():
            torch.testing.assert_close(mean[name], value, rtol=1e-6, atol=1e-6)
    again = protecting(0), protecting(1, silent=silent), protecting(2)
    with pytest.raises(ProtocolError, match=r"round 0: secure aggregation ends .* needs 3 of 3 clients and 2 are"):
        serve(Wire(*again), securely(tmp_path / "strict", 3))
    assert not (tmp_path / "strict" / "kept" / "round0" / "mean.safetensors").exists()


def _bytes(length: int, clients: Iterable[int]) -> dict[str, torch.Tensor]:
    return {str(client): torch.zeros(length, dtype=torch.uint8) for client in clients}


UNFIT = {
    "keys of other lengths": ("advertise", lambda sent: {"sealing": _bytes(5, [1]), "masking": _bytes(32, [1])}, "key"),
    "a key that all agree on": ("advertise", lambda sent: {name: _bytes(32, [1]) for name in sent}, "no X25519 key"),
    "one key twice": ("advertise", lambda sent: dict.fromkeys(sent, sent["sealing"]), "not two of its own"),
    "shares for some": ("share", lambda sent: {"shares": {"0": sent["shares"]["0"]}}, "shares to everybody else"),
    "shares cut short": ("share", lambda sent: {"shares": _bytes(9, [0, 2])}, "shares to everybody else"),
    "words for numbers": ("share", lambda sent: {"shares": {"all": torch.zeros(1)}}, "holds no bytes of a client"),
    "a plain update": ("mask", lambda sent: {"gradients": {"critic/head.bias": torch.zeros(2)}}, "no masked update"),
    "another type": ("mask", lambda sent: {"masked": {"update": torch.zeros(9)}}, "agreed on are uint32"),
    "shares nobody asked for": ("reveal", lambda sent: {**sent, "maskings": _bytes(16, [0])}, "that were asked for"),
}


@pytest.mark.usefixtures("_as_a_server")
@pytest.mark.parametrize(("at", "instead", "reason"), UNFIT.values(), ids=UNFIT)
def test_who_breaks_the_protocol_has_dropped_out_with_a_line_that_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str, instead: Callable[[dict], dict], reason: str
) -> None:
    serve(Wire(protecting(0), protecting(1, instead=instead, at=at), protecting(2)), securely(tmp_path, 2))
    said = capsys.readouterr().out
    assert f"node 1 drops out when asked to {at}" in said
    assert reason in said


AGREEMENT = Agreement({"weight": (6,)}, clients=3, threshold=2)


class Asked:
    """Three clients that have one update per round, asked by a server that may ask again; kept: text, as on a disk."""

    def __init__(self) -> None:
        self.updates = [{"weight": torch.linspace(-1, 1, 6).roll(number)} for number in range(3)]
        self.kept = ["null"] * 3

    def says(self, number: int, step: str, groups: Mapping, round: int, **more: object) -> dict:
        question = {"step": step, "round": round, **more}
        made, kept = answered(number, json.loads(self.kept[number]), groups, question, lambda: self.updates[number])
        self.kept[number] = json.dumps(kept)
        return made

    def masked(self, round: int, present: Iterable[int], until: str = "reveal") -> torch.Tensor | None:
        """The sum of those present; none, if the server does not come to take masks off."""
        server = MaskedServer(AGREEMENT)
        said = {"agreement": AGREEMENT.said}
        keys = server.keys({n: keys_of(self.says(n, "advertise", {}, round, **said))[n] for n in range(3)})
        told = groups_of_keys(keys)
        received = server.routed({n: bytes_of(self.says(n, "share", told, round)["shares"]) for n in range(3)})
        for n in present:
            server.receive(n, masked_of(self.says(n, "mask", {"shares": arrays_of(received[n])}, round)))
        if until != "reveal":
            return None
        request = server.request()
        answers = {n: revealed_of(self.says(n, "reveal", {}, round, **request._asdict())) for n in request.survivors}
        return server.total(answers)["weight"]

    def plain(self, number: int, round: int) -> None:
        self.kept[number] = json.dumps(answered_in_the_open(number, json.loads(self.kept[number]), round))


def test_two_sums_of_one_round_whose_difference_is_an_update_are_refused() -> None:
    asked = Asked()
    # Masks that nobody took off tell nothing: so far a server may die and begin again.
    assert asked.masked(7, range(3), until="mask") is None
    whole = asked.masked(7, range(3))
    with pytest.raises(ProtocolError, match="client 0 refuses to begin round 7: it is in round 7, which is over"):
        asked.masked(7, range(2))
    with pytest.raises(ProtocolError, match="client 1 refuses to reveal: round 7 is over"):
        asked.says(1, "reveal", {}, 7, survivors=(0, 1), dropped=(2,))
    torch.testing.assert_close(whole, sum(one["weight"].double() for one in asked.updates), atol=1e-6, rtol=0)
    assert asked.masked(8, range(2), until="mask") is None
    with pytest.raises(ProtocolError, match="client 0 refuses to begin round 7: it is in round 8; go on"):
        asked.masked(7, range(2))


def test_a_round_is_answered_masked_or_in_the_open_and_never_both() -> None:
    asked = Asked()
    asked.plain(0, 3)
    asked.plain(0, 3)
    with pytest.raises(ProtocolError, match="client 0 refuses to mask round 3: it answered round 3 in the open"):
        asked.masked(3, range(3))
    asked.masked(4, range(3), until="mask")
    for round in (3, 4):
        with pytest.raises(ProtocolError, match=f"client 0 refuses to answer round {round} in the open"):
            asked.plain(0, round)
    asked.plain(0, 5)
    assert json.loads(asked.kept[0]) == {"plain": 5, "round": 4, "stage": "end"}


def test_after_a_round_a_client_keeps_no_secret_of_it() -> None:
    asked = Asked()
    asked.masked(7, range(3), until="mask")
    assert {"sealing", "secrets", "held"} < set(json.loads(asked.kept[0]))
    asked.masked(7, range(3))
    assert [json.loads(kept) for kept in asked.kept] == [{"plain": -1, "round": 7, "stage": "end"}] * 3


@pytest.mark.usefixtures("_as_a_server")
def test_a_client_remembers_its_rounds_in_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Sent({"weight": torch.zeros(6)})
    monkeypatch.setattr(client_app, "_update", lambda path, groups, said: update)
    told = own_files(tmp_path)[0]

    def asks(run: int, said: Mapping[str, object]) -> RecordDict:
        question = Message(packed({}, {"round": 2, **said}), dst_node_id=1, message_type="train")
        question.metadata.__dict__["_message_id"] = "question"
        return client_app.train(question, Context(run, 1, told, RecordDict(), {})).content

    assert unpacked(asks(1, {}))[0].keys() == {"gradients"}
    with pytest.raises(ProtocolError, match="refuses to mask round 2: it answered round 2 in the open"):
        asks(2, {"step": "advertise", "agreement": AGREEMENT.said})


class KilledError(Exception):
    """Of a process, from outside."""


@pytest.mark.usefixtures("_as_a_server")
def test_a_server_that_was_killed_when_it_had_the_sum_goes_on_with_the_next_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, two_rounds = [protecting(number) for number in range(3)], securely(tmp_path, 2, rounds=2)

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as during:
        during.setattr(Keeper, "keep_mean", killed)
        with pytest.raises(KilledError):
            serve(Wire(*nodes), two_rounds)
    before = torch_file(tmp_path)
    serve(Wire(*nodes), two_rounds)
    after = torch_file(tmp_path)
    first, second = read_json(tmp_path / "kept" / "record.json")
    assert first["lost"]
    assert "lost" not in second
    assert [entry.get("client") for entry in second["clients"]] == [0, 1, 2]
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.usefixtures("_as_a_server")
def test_no_mask_is_taken_off_a_sum_of_too_few_updates(tmp_path: Path) -> None:
    steps: list[str] = []
    kept, away = protecting(1), iter([True])

    def late(question: RecordDict) -> RecordDict | None:
        steps.append(unpacked(question)[1]["step"])
        return None if steps[-1] == "mask" and next(away, False) else kept(question)

    def watching(question: RecordDict) -> RecordDict | None:
        steps.append(unpacked(question)[1]["step"])
        return first(question)

    first, third = protecting(0), protecting(2)
    nodes, all_three = (watching, late, third), securely(tmp_path, 2, least_clients=3)
    with pytest.raises(ProtocolError, match="round 0: 2 updates can be used, needed are 3"):
        serve(Wire(*nodes), all_three)
    assert "reveal" not in steps
    assert not (tmp_path / "kept" / "round0" / "mean.safetensors").exists()
    # So the round may begin again.
    serve(Wire(*nodes), all_three)
    (went,) = read_json(tmp_path / "kept" / "record.json")
    assert len([entry for entry in went["clients"] if "client" in entry]) == 3


def test_a_client_keeps_its_order_over_processes() -> None:
    agreement = Agreement({"weight": (3,)}, clients=3, threshold=2)
    said = {"step": "advertise", "round": 0, "agreement": agreement.said}
    with pytest.raises(ProtocolError, match="client 0 advertised no keys in round 0"):
        answered(0, None, {}, {"step": "share", "round": 0}, dict)
    _, kept = answered(0, None, {}, said, dict)
    refused = ("mask", 0, "the next is share"), ("share", 1, "no keys in round 1"), ("leave", 0, "no step 'leave'")
    for step, round, why in refused:
        with pytest.raises(ProtocolError, match=why):
            answered(0, kept, {}, {"step": step, "round": round}, lambda: {"weight": torch.zeros(3)})
    with pytest.raises(ProtocolError, match="what is to be agreed on cannot be read"):
        answered(0, None, {}, {**said, "agreement": {"clients": 3}}, dict)


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
