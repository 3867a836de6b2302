"""The four rounds in one process: every message passes from object to object as it would over a wire."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.client import Client
from rlleak.federation.secure_aggregation.server import Server

Message = Literal["keys", "shares", "masked update", "revealed shares"]
MESSAGES: tuple[Message, ...] = ("keys", "shares", "masked update", "revealed shares")
_NUMBER_BYTES = 4
"""Of a client's number beside what it belongs to."""


def securely_summed(
    updates: Sequence[Mapping[str, Tensor]], agreement: Agreement, dropping: Mapping[int, Message] | None = None
) -> dict[str, Tensor]:
    """The sum of the updates of all who sent a masked one, float64, name -> tensor.

    updates: client i's at place i. dropping: client -> the first message that it does not send any more.
    Raises ProtocolError as `Client` and `Server` do.
    """
    server = Server(agreement)
    clients = {number: Client(number, agreement) for number in range(len(updates))}

    def sending(message: Message) -> list[int]:
        """Who still sends this."""
        gone = {
            number for number, first in (dropping or {}).items() if MESSAGES.index(first) <= MESSAGES.index(message)
        }
        return [number for number in clients if number not in gone]

    keys = server.keys({number: clients[number].advertise() for number in sending("keys")})
    received = server.routed({number: clients[number].share(keys) for number in sending("shares")})
    for number in sending("masked update"):
        server.receive(number, clients[number].mask(received[number], updates[number]))
    request = server.request()
    return server.total({number: clients[number].reveal(request) for number in sending("revealed shares")})


def message_bytes(message: Any) -> int:
    """How long a message is on the wire, without framing: its bytes and arrays, and 4 for a client's number."""
    if isinstance(message, Mapping):
        return sum(_NUMBER_BYTES + message_bytes(part) for part in message.values())
    if isinstance(message, tuple):
        return sum(map(message_bytes, message))
    if isinstance(message, np.ndarray):
        return message.nbytes
    return len(message) if isinstance(message, bytes) else _NUMBER_BYTES
