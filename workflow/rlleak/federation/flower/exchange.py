"""Asking Flower's nodes, and taking their answers one by one as they arrive."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from rlleak.errors import ProtocolError
from rlleak.federation.flower.messages import Groups, unpacked

# Seconds between two looks. Flower's own `send_and_receive` looks every 3, and gives no answer before it has the last.
_PAUSE = 0.2


class Answer(NamedTuple):
    """What came of one node. content: its answer, None where there is none; seconds: from the question to its arrival.

    reason: why there is none.
    """

    node: int
    content: RecordDict | None
    seconds: float
    reason: str = ""

    @property
    def bytes(self) -> int:
        """How long its arrays are."""
        return sum(record.count_bytes() for record in self.content.array_records.values()) if self.content else 0

    def read(self, clients: int, round: int) -> tuple[int, Groups]:
        """Which client it says to be, and what it sent. Raises ProtocolError where that cannot be said."""
        if self.content is None:
            raise ProtocolError(self.reason)
        groups, said = unpacked(self.content)
        client = said.get("client")
        if type(client) is not int or client not in range(clients) or said.get("round") != round:
            raise ProtocolError(
                f"it says to be client {client!r} of {clients}, in round {said.get('round')!r}; this is round {round}"
            )
        return client, groups


def joined(grid: Grid, clients: int, least: int, timeout: float, note: Callable[[str], None]) -> list[int]:
    """The nodes that are there once so many clients are, or when the time is up (seconds).

    Raises ProtocolError where fewer than `least` came.
    """
    end = time.monotonic() + timeout
    while len(nodes := sorted(grid.get_node_ids())) < clients and time.monotonic() < end:
        time.sleep(_PAUSE)
    if len(nodes) < least:
        raise ProtocolError(f"{len(nodes)} of {clients} clients joined within {timeout:g} s, needed are {least}")
    if len(nodes) < clients:
        note(f"{len(nodes)} of {clients} clients joined within {timeout:g} s; going on without the others")
    return nodes


def asked(grid: Grid, questions: Mapping[int, RecordDict], round: int, timeout: float) -> Iterator[Answer]:
    """Every node's answer as soon as it is there; those who do not answer in time (seconds) come last, without one.

    questions: by node.
    """
    start = time.monotonic()
    messages = [
        Message(content, dst_node_id=node, message_type="train", group_id=str(round))
        for node, content in questions.items()
    ]
    # Flower names no message that it could not hand on; its node is reported as silent.
    names = grid.push_messages(messages)
    waiting = {name or f"not sent to {node}": node for name, node in zip(names, questions, strict=True)}
    while waiting and time.monotonic() < start + timeout:
        for reply in grid.pull_messages([name for name in names if name in waiting]):
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            if node is None:
                continue
            seconds = time.monotonic() - start
            if reply.has_error():
                yield Answer(node, None, seconds, f"its app failed: {reply.error.reason}")
            else:
                yield Answer(node, reply.content, seconds)
        time.sleep(_PAUSE)
    for node in waiting.values():
        yield Answer(node, None, timeout, f"nothing arrived within {timeout:g} s")
