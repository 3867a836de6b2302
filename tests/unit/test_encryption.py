"""A server adds updates that it cannot read; clients read the sum."""

import numpy as np
import pytest
import tenseal
import torch

from rlleak.errors import ConfigurationError, ProtocolError
from rlleak.federation.encryption import CHUNK, Client, Server, new_keys

SHAPES = {"weight": (CHUNK + 5,), "bias": (2, 3)}
"""Two ciphertexts."""
CLIENTS = 3


def update(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 1e-3 for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def keys() -> bytes:
    return new_keys()


@pytest.fixture(scope="module")
def clients(keys: bytes) -> list[Client]:
    return [Client(keys, SHAPES, CLIENTS) for _ in range(CLIENTS)]


def test_clients_read_the_sum_of_updates_that_the_server_added(clients: list[Client]) -> None:
    updates = [update(number) for number in range(CLIENTS)]
    server = Server(clients[0].public_context())
    messages = server.added([client.encrypted(own) for client, own in zip(clients, updates, strict=True)])
    found = clients[-1].decrypted(messages)
    for name, shape in SHAPES.items():
        assert found[name].shape == shape
        assert (found[name] - sum(own[name].double() for own in updates)).abs().max() < 1e-6


def test_the_server_cannot_decrypt_what_it_gets(clients: list[Client], keys: bytes) -> None:
    public = clients[0].public_context()
    assert not tenseal.context_from(public).has_secret_key()
    message = next(iter(clients[0].encrypted(update(0))))
    as_server = tenseal.ckks_vector_from(Server(public)._context, message)
    with pytest.raises(ValueError, match="secret_key"):
        as_server.decrypt()
    with pytest.raises(ConfigurationError, match="must not get the secret key"):
        Server(keys)


def test_another_key_and_the_bytes_themselves_say_nothing(clients: list[Client]) -> None:
    own = update(0)
    first, again = (list(clients[0].encrypted(own)) for _ in range(2))
    assert first[0] != again[0]
    stranger = tenseal.ckks_vector_from(tenseal.context_from(new_keys()), first[0]).decrypt()
    correlation = np.corrcoef(stranger, own["weight"][:CHUNK].numpy())[0, 1]
    assert abs(correlation) < 0.1


def test_a_sum_with_another_key_or_scale_in_it_is_refused(clients: list[Client]) -> None:
    server, own = Server(clients[0].public_context()), list(clients[0].encrypted(update(0)))
    stranger = Client(new_keys(), SHAPES, CLIENTS).encrypted(update(1))
    with pytest.raises(ProtocolError, match=r"a decrypted sum holds .* beyond ±3: an update in it is under another"):
        clients[0].decrypted(server.added([own, stranger]))
    coarse = [tenseal.ckks_vector(clients[0]._context, [0.0] * size, scale=2.0**30) for size in (CHUNK, 11)]
    with pytest.raises(ProtocolError, match=r"does not go with the others \(.*scale"):
        list(server.added([own, [vector.serialize() for vector in coarse]]))


def test_memory_is_bounded_by_a_chunk(clients: list[Client]) -> None:
    messages = clients[0].encrypted(update(0))
    assert len(next(messages)) < 150_000
    assert len(next(messages)) < 150_000
    assert next(messages, None) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5])
def test_what_would_spoil_the_sum_is_refused(clients: list[Client], value: float) -> None:
    with pytest.raises(ProtocolError, match="'bias' holds"):
        next(clients[0].encrypted(update(0) | {"bias": torch.full((2, 3), value)}))


def test_damaged_and_missing_messages_are_named(clients: list[Client], keys: bytes) -> None:
    server, messages = Server(clients[0].public_context()), list(clients[0].encrypted(update(0)))
    with pytest.raises(ProtocolError, match="damaged"):
        list(server.added([messages, [messages[0][:100], messages[1]]]))
    with pytest.raises(ProtocolError, match="different lengths"):
        list(server.added([messages, messages[:1]]))
    with pytest.raises(ProtocolError, match="messages are missing"):
        clients[0].decrypted(messages[:1])
    with pytest.raises(ConfigurationError, match="no keys"):
        Server(b"nonsense")
    with pytest.raises(ConfigurationError, match="do not fit"):
        Client(keys, SHAPES, clients=2**20)
