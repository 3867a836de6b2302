"""Secure aggregation over Flower: who drops out, breaks the protocol, or is asked for a second sum of one round."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
import torch
from flower_nodes import (
    LIMIT,
    TRAINING,
    Wire,
    honest,
    masked,
    own_files,
    says_nothing_of,
    task,
    torch_file,
)
from flwr.app import Context, Message, RecordDict

from rlleak.artefacts import read_json
from rlleak.errors import ProtocolError
from rlleak.federation.flower import client_app
from rlleak.federation.flower.keeping import Keeper
from rlleak.federation.flower.messages import packed, unpacked
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
from rlleak.federation.flower.serving import serving_of
from rlleak.federation.flower.task import Task
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.server import Server as MaskedServer
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import SharedUpdate


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
    "a number without end": ("share", lambda sent: {"shares": _bytes(60, ["9" * 5000])}, "holds no bytes of a client"),
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


@pytest.mark.usefixtures("_as_a_server")
def test_who_breaks_the_protocol_under_anothers_number_does_not_keep_that_one_out(tmp_path: Path) -> None:
    intruder = protecting(0, instead=lambda sent: {name: _bytes(32, [0]) for name in sent}, at="advertise")
    serve(Wire(intruder, *map(protecting, range(3))), securely(tmp_path, 3))
    (went,) = read_json(tmp_path / "kept" / "record.json")
    assert [entry.get("client") for entry in went["clients"]] == [None, 0, 1, 2]


@pytest.mark.usefixtures("_as_a_server")
def test_by_a_sum_that_cannot_be_nothing_moves_and_the_next_round_goes_on(tmp_path: Path) -> None:
    fresh = serving_of(securely(tmp_path, 2)).parameters
    once = iter([True])

    def unmasked(sent: dict) -> dict:
        """Of the right type and shape, in one round, and without the masks that others take off again."""
        return {"masked": {"update": torch.zeros_like(sent["masked"]["update"])}} if next(once, False) else sent

    nodes, two_rounds = [protecting(0), protecting(1, instead=unmasked, at="mask"), protecting(2)], 2
    asked = securely(tmp_path, 2, rounds=two_rounds)
    with pytest.raises(ProtocolError, match=r"round 0: the sum of 3 updates holds .* beyond ±192"):
        serve(Wire(*nodes), asked)
    for name, value in torch_file(tmp_path).items():
        if name in fresh:
            assert torch.equal(value, fresh[name])
    serve(Wire(*nodes), asked)
    assert [bool(round.get("lost")) for round in read_json(tmp_path / "kept" / "record.json")] == [True, False]


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
    # Beside secrets of a round it may come to hold: no other user of the machine reads it.
    (rounds,) = tmp_path.glob("*.rounds.json")
    assert rounds.stat().st_mode & 0o077 == 0
    with pytest.raises(ProtocolError, match="refuses to mask round 2: it answered round 2 in the open"):
        asks(2, {"step": "advertise", "agreement": AGREEMENT.said})


@pytest.mark.usefixtures("_as_a_server")
def test_a_client_that_shares_in_sums_alone_does_so_whatever_the_server_asks(tmp_path: Path) -> None:
    told = own_files(tmp_path)[0]
    own = Path(told["client"])
    own.write_text(json.dumps({**json.loads(own.read_text()), "least_summed": 3}))

    def asks(said: Mapping[str, object]) -> RecordDict:
        question = Message(packed({}, {"round": 2, **said}), dst_node_id=1, message_type="train")
        question.metadata.__dict__["_message_id"] = "question"
        return client_app.train(question, Context(1, 1, told, RecordDict(), {})).content

    with pytest.raises(ProtocolError, match="client 0 shares in sums of 3 or more alone, and is asked in the open"):
        asks({})
    pair, all_three = (Agreement(AGREEMENT.shapes, 3, threshold, LIMIT).said for threshold in (2, 3))
    with pytest.raises(ProtocolError, match="is asked for one of 2"):
        asks({"step": "advertise", "agreement": pair})
    assert unpacked(asks({"step": "advertise", "agreement": all_three}))[0].keys() == {"sealing", "masking"}


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
