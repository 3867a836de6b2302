"""The server learns the sum of those who sent a masked update, within the bound that it states, and nothing else."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlleak.errors import ConfigurationError, ProtocolError
from rlleak.federation.secure_aggregation.agreement import Agreement, usual_threshold
from rlleak.federation.secure_aggregation.client import Client, Request
from rlleak.federation.secure_aggregation.primitives import add_mask, agreed, combined, masking_key
from rlleak.federation.secure_aggregation.rounds import MESSAGES, message_bytes, securely_summed
from rlleak.federation.secure_aggregation.server import Server

SHAPES = {"hidden.weight": (16, 9), "hidden.bias": (16,), "scalar": ()}


def update(seed: int, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) * 2 - 1 for name, shape in shapes.items()}


def plain_sum(updates: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: sum(one[name].double() for one in updates) for name in updates[0]}


@st.composite
def parties(draw) -> tuple[int, int, dict[int, str]]:
    """(clients, threshold, who sends nothing from which message on), of which enough stay."""
    threshold, silent = draw(st.integers(2, 5)), draw(st.lists(st.sampled_from(MESSAGES), max_size=3))
    clients = draw(st.integers(threshold + len(silent), threshold + len(silent) + 2))
    who = draw(st.permutations(range(clients)))
    return clients, threshold, dict(zip(who, silent, strict=False))


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(0, 40),
    limit=st.sampled_from([1.0, 3.7, 1000.0]),
    bits=st.sampled_from([32, 64]),
    party=parties(),
    seed=st.integers(0, 2**31),
)
def test_the_sum_is_that_of_those_who_sent_a_masked_update(width, limit, bits, party, seed) -> None:
    clients, threshold, gone = party
    shapes = {"weight": (3, width), "bias": (1,)}
    updates = [
        {name: limit * value for name, value in update(seed + number, shapes).items()} for number in range(clients)
    ]
    agreement = Agreement(shapes, clients, threshold, limit, bits)
    found = securely_summed(updates, agreement, gone)
    sent = [one for number, one in enumerate(updates) if gone.get(number) in (None, "revealed shares")]
    for name, expected in plain_sum(sent).items():
        assert torch.allclose(found[name], expected, rtol=0, atol=agreement.error)
    # Half a step per client: one number in 2^31 of the sum's range, up to the power of two.
    assert agreement.error <= 2 * clients * clients * limit / 2**31


@pytest.mark.parametrize("first", MESSAGES)
def test_below_the_threshold_there_is_no_sum_whenever_clients_fall_silent(first: str) -> None:
    agreement = Agreement(SHAPES, clients=5, threshold=4)
    with pytest.raises(ProtocolError, match="needs 4 of 5 clients and 3 are left"):
        securely_summed([update(number) for number in range(5)], agreement, {1: first, 4: first})


def masked_inputs(updates: list[dict[str, torch.Tensor]], agreement: Agreement) -> list[np.ndarray]:
    """What the server sees of each client."""
    clients, server = [Client(number, agreement) for number in range(len(updates))], Server(agreement)
    keys = server.keys({client.number: client.advertise() for client in clients})
    received = server.routed({client.number: client.share(keys) for client in clients})
    return [client.mask(received[client.number], own) for client, own in zip(clients, updates, strict=True)]


@pytest.mark.parametrize("bits", [32, 64])
def test_one_masked_update_looks_like_random_numbers(bits: int) -> None:
    shapes = {"weight": (200_000,)}
    zero, agreement = {"weight": torch.zeros(200_000)}, Agreement(shapes, clients=3, threshold=2, bits=bits)
    first, again = (masked_inputs([zero, zero, zero], agreement) for _ in range(2))
    for masked in first:
        for byte in range(bits // 8):
            # Every byte of every number: 1e-5 per test is 1 in 4,000 for all of them.
            counts = np.bincount(masked.view(np.uint8)[byte :: bits // 8], minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-5
    for one, other in ((first[0], again[0]), (first[0], first[1])):
        assert (one == other).mean() < 1e-3
    assert (sum(first[1:], first[0]) != 0).all(), "without the survivors' own masks the sum itself would be in the open"


def test_a_masked_update_that_comes_late_stays_hidden_from_who_recovered_its_clients_key() -> None:
    """What the second mask is for (Bonawitz et al. 2017, double masking)."""
    agreement = Agreement(SHAPES, clients=4, threshold=3)
    clients, server = [Client(number, agreement) for number in range(4)], Server(agreement)
    keys = server.keys({client.number: client.advertise() for client in clients})
    received = server.routed({client.number: client.share(keys) for client in clients})
    late, *others = (client.mask(received[client.number], update(client.number)) for client in clients)
    for client, masked in zip(clients[1:], others, strict=True):
        server.receive(client.number, masked)
    answers = [client.reveal(server.request()) for client in clients[1:]]
    key = masking_key(combined({n: answer.maskings[0] for n, answer in enumerate(answers, 1)}, 3, range(4)))
    assert key.public_key().public_bytes_raw() == keys[0].masking
    for other in (1, 2, 3):
        add_mask(late, agreed(key, keys[other].masking, "pairwise mask"), 1)
    assert len(np.unique(late - agreement.encode(update(0)))) > 0.9 * late.size


@pytest.fixture
def asked() -> tuple[Client, Server]:
    """A client of four that is about to be asked for shares, and its server; client 3 dropped out."""
    agreement = Agreement(SHAPES, clients=4, threshold=2)
    clients, server = [Client(number, agreement) for number in range(4)], Server(agreement)
    keys = server.keys({client.number: client.advertise() for client in clients})
    received = server.routed({client.number: client.share(keys) for client in clients})
    for client in clients[:3]:
        server.receive(client.number, client.mask(received[client.number], update(client.number)))
    return clients[0], server


def test_a_client_never_gives_both_shares_of_one_peer(asked: tuple[Client, Server]) -> None:
    client, server = asked
    with pytest.raises(ProtocolError, match="both shares of client 2"):
        client.reveal(Request(survivors=(0, 1, 2), dropped=(2, 3)))
    answer = client.reveal(server.request())
    assert set(answer.own_masks) == {0, 1, 2}
    assert set(answer.maskings) == {3}
    with pytest.raises(ProtocolError, match="every step is taken once"):
        client.reveal(Request(survivors=(0, 1), dropped=(2, 3)))


def test_no_secret_outlives_its_round(asked: tuple[Client, Server]) -> None:
    client, server = asked
    assert client.kept()["held"]
    client.reveal(server.request())
    assert client.kept() == {"stage": "end"}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request((0, 1), (2,)), "not those who sent shares"),
        (Request((1, 2), (0, 3)), "not those who sent shares"),
        (Request((0,), (1, 2, 3)), "needs 2 of 4 clients and 1 are left"),
    ],
)
def test_a_client_refuses_questions_that_do_not_fit_the_round(asked, request_: Request, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        asked[0].reveal(request_)


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"hidden.bias": torch.full((16,), float("nan"))}, "'hidden.bias' holds NaN or Inf"),
        ({"hidden.bias": torch.full((16,), float("inf"))}, "'hidden.bias' holds NaN or Inf"),
        ({"hidden.bias": torch.full((16,), -1.5)}, "'hidden.bias' holds 1.5, beyond ±1"),
        ({"hidden.bias": torch.zeros(15)}, r"'hidden.bias' has shape \(15,\)"),
        ({"hidden.bias": torch.zeros(16, dtype=torch.int64)}, "'hidden.bias' holds torch.int64"),
        ({"extra": torch.zeros(1)}, "extra"),
    ],
)
def test_what_would_spoil_the_sum_is_refused_before_it_is_masked(spoilt: dict[str, torch.Tensor], why: str) -> None:
    updates = [update(number) for number in range(3)]
    updates[1] |= spoilt
    with pytest.raises(ProtocolError, match=why):
        securely_summed(updates, Agreement(SHAPES, clients=3, threshold=2))


def test_shares_that_were_changed_on_their_way_are_refused() -> None:
    agreement = Agreement(SHAPES, clients=3, threshold=2)
    clients, server = [Client(number, agreement) for number in range(3)], Server(agreement)
    keys = server.keys({client.number: client.advertise() for client in clients})
    received = server.routed({client.number: client.share(keys) for client in clients})
    changed = bytearray(received[0][1])
    changed[20] ^= 1
    with pytest.raises(ProtocolError, match="client 0 cannot open the shares of client 1"):
        clients[0].mask(received[0] | {1: bytes(changed)}, update(0))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("wrong", ["masked update", "share"])
def test_a_sum_from_which_not_all_masks_came_off_is_none(bits: int, wrong: str) -> None:
    agreement = Agreement(SHAPES, clients=3, threshold=2, bits=bits)
    clients, server = [Client(number, agreement) for number in range(3)], Server(agreement)
    keys = server.keys({client.number: client.advertise() for client in clients})
    received = server.routed({client.number: client.share(keys) for client in clients})
    for client in clients:
        masked = client.mask(received[client.number], update(client.number))
        server.receive(client.number, masked[::-1].copy() if (client.number, wrong) == (1, "masked update") else masked)
    answers = {client.number: client.reveal(server.request()) for client in clients}
    if wrong == "share":
        answers[0].own_masks[2] = bytes(16)
    with pytest.raises(ProtocolError, match=r"the sum of 3 updates holds .* beyond ±3: a masked update or a share"):
        server.total(answers)


def test_the_server_sees_the_shares_of_nobody() -> None:
    agreement = Agreement(SHAPES, clients=3, threshold=2)
    clients, server = [Client(number, agreement) for number in range(3)], Server(agreement)
    keys = server.keys({client.number: client.advertise() for client in clients})
    sealed = clients[0].share(keys)
    held = clients[1]
    held.share(keys)
    held.mask({0: sealed[1]}, update(1))
    shares = held._held[0]
    assert not any(share in message for share in shares for message in sealed.values())
    assert message_bytes(sealed) == 2 * (4 + 12 + 2 * 16 + 16)


@pytest.mark.parametrize(("clients", "threshold"), [(2, 1), (3, 4), (1, 1)])
def test_thresholds_with_which_no_round_can_run_are_refused(clients: int, threshold: int) -> None:
    with pytest.raises(ConfigurationError, match=f"threshold {threshold} of {clients}"):
        Agreement(SHAPES, clients, threshold)


def test_more_than_two_thirds_must_stay_by_default() -> None:
    assert [usual_threshold(clients) for clients in (2, 3, 5, 10, 50)] == [2, 3, 4, 7, 34]
