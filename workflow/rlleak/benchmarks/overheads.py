"""What protection costs a client and a server in a round: seconds and bytes, beside computing the gradient itself.

Seconds are those of one core's processor time, the least of several where a piece of work is short.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice, tee
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlleak.configuration.defences import parts_of
from rlleak.errors import ProtocolError
from rlleak.federation import encryption
from rlleak.federation.flat_updates import count, flattened, shapes_of
from rlleak.federation.secure_aggregation.agreement import Agreement, usual_threshold
from rlleak.federation.secure_aggregation.client import Client
from rlleak.federation.secure_aggregation.rounds import message_bytes
from rlleak.federation.secure_aggregation.server import Server
from rlleak.sharing.defences import applied
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.noise import clipping
from rlleak.sharing.sending import Client as Device
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import SharedUpdate, capture
from rlleak.sharing.victims import Training

Update = Mapping[str, Tensor]
Row = dict[str, Any]
DISTINCT = 4
"""Clients whose updates differ; more clients send the same ones again, which costs the same."""
LIMIT = 1.0
"""What clients agree on before any of them has an update: its length, so that no number is larger. Longer ones are
shortened."""
MOST_MASKED = 10**8
"""Numbers that all clients of a round mask in all; of larger rounds one client's work and the server's are measured."""
MOST_ENCRYPTED = 2**19
"""Numbers that are encrypted for each number of clients but the smallest; what they cost is scaled to all."""
_ENOUGH = 0.5
"""Seconds after which a piece of work is not measured again."""
_MOST_REPEATS = 5


class Clock:
    """Processor time by who spends it; of nested work each part counts once."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def of(self, who: str) -> Iterator[None]:
        """What runs inside is spent by `who`, but for what runs inside another `of` inside it."""
        self._turn()
        self._running.append(who)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def each(self, who: str, items: Iterator[bytes]) -> Iterator[bytes]:
        """The items, the making of which is spent by `who`."""
        while True:
            with self.of(who):
                item = next(items, None)
            if item is None:
                return
            yield item

    def _turn(self) -> None:
        now = process_time()
        if self._running:
            self.spent[self._running[-1]] += now - self._since
        self._since = now


def repeated(work: Callable[[], Any]) -> Iterator[tuple[float, Any]]:
    """Seconds of a piece of work and what came out, again and again until that is enough."""
    spent, times = 0.0, 0
    while not times or (spent < _ENOUGH and times < _MOST_REPEATS):
        begin = process_time()
        made = work()
        seconds = process_time() - begin
        spent, times = spent + seconds, times + 1
        yield seconds, made


def least(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a piece of work, the least of several times, and what came out that time."""
    return min(repeated(work), key=lambda one: one[0])


def measure(
    training: Training, size: int, defences: Mapping[str, Mapping[str, Any]], clients: Sequence[int]
) -> list[Row]:
    """All rows of one network: its gradient, every defence, secure aggregation and encryption.

    training: a network and transitions of several clients, `size` of each in an update. defences: entries of
    config/defences.yaml by name. clients: how many take part in a round.
    Row: parameters, transitions, protection, name, clients (NaN where it does not matter), client_seconds and
    server_seconds (of a round; NaN: the server does nothing), sent_bytes and received_bytes (of one client in a round;
    received: beyond the sum itself), error (of a sum of updates no longer than LIMIT: the largest of its numbers', over
    their root mean square), whole (False: see MOST_MASKED and MOST_ENCRYPTED).
    """
    held = min(DISTINCT, len(training.batch) // size)
    kept = training._replace(batch=training.batch.select(slice(0, held * size)))
    shared = capture(*kept, size)
    updates = [{name: value[row] for name, value in shared.gradients.items()} for row in range(held)]
    rows = list(defence_rows(kept, shared, updates[0], defences))
    within = [shortened(update) for update in updates]
    rows += [secure_aggregation_row(within, each) for each in clients]
    rows += encryption_rows(within, clients)
    return [{"parameters": count(shapes_of(updates[0])), "transitions": size, **row} for row in rows]


def defence_rows(
    training: Training, shared: SharedUpdate, update: Update, defences: Mapping[str, Mapping[str, Any]]
) -> Iterator[Row]:
    """The gradient's row, and one for each defence that an update over so many transitions can have.

    A defence's seconds come on top of the gradient's, but for local steps, whose own gradients take its place.
    """
    size, gradients = shared.batch_size, Sent(update)
    first = training.batch.select(slice(0, size))
    seconds, _ = least(lambda: capture(training.network, training.loss, first, size))
    yield _row("gradient", "gradient", client_seconds=seconds, sent_bytes=gradients.bytes)
    train = training_of(training.network, training.objective)
    for name, settings in defences.items():
        if settings["method"] == "none" or _steps(settings) > size:
            continue
        device = Device(
            torch.Generator().manual_seed(0), {}, shared.architecture, shared.parameters, first.observation, train, size
        )
        seconds, sent = least(lambda device=device, settings=settings: applied(gradients, device, settings))
        yield _row("defence", name, client_seconds=seconds, sent_bytes=sent.bytes)


def _steps(settings: Mapping[str, Any]) -> int:
    """Transitions that a defence needs in an update."""
    return max(part["steps"] if part["method"] == "local_steps" else 1 for part in parts_of(settings))


def shortened(update: Update) -> Update:
    """An update as clients send it who agreed on LIMIT: every number of it is within ±LIMIT."""
    sent = clipping(Sent(update), Device(torch.Generator()), norm=LIMIT)
    # Of a single number rounding may leave a unit too much.
    return {name: value.clamp(-LIMIT, LIMIT) for name, value in sent.gradients.items()}


def secure_aggregation_row(updates: Sequence[Update], clients: int) -> Row:
    """A round of secure aggregation of updates within LIMIT, nobody dropping out; the least seconds of several where
    that is quick."""
    rounds = [row for _, row in repeated(lambda: _aggregate(updates, clients))]
    return rounds[0] | {who: min(row[who] for row in rounds) for who in ("client_seconds", "server_seconds")}


def _aggregate(updates: Sequence[Update], clients: int) -> Row:
    clock = Clock()
    shapes, threshold = shapes_of(updates[0]), usual_threshold(clients)
    agreement = Agreement(shapes, clients, threshold, LIMIT)
    whole = clients * agreement.numbers <= MOST_MASKED
    # In too large a round the others mask one number, which takes them through the protocol, and the server adds the
    # first one's vector in their place: its own work is the same.
    theirs = agreement if whole else Agreement({"": (1,)}, clients, threshold, LIMIT)
    given = [
        updates[number % len(updates)] if whole or not number else {"": torch.zeros(1)} for number in range(clients)
    ]
    parties = [Client(number, theirs if number else agreement) for number in range(clients)]

    def of(number: int) -> str:
        return "other clients" if number else "client"

    def step(message: Callable[[Client], Any]) -> dict[int, Any]:
        sent = {}
        for party in parties:
            with clock.of(of(party.number)):
                sent[party.number] = message(party)
        return sent

    with clock.of("server"):
        server = Server(agreement)
    advertised = step(lambda party: party.advertise())
    with clock.of("server"):
        keys = server.keys(advertised)
    sealed = step(lambda party: party.share(keys))
    with clock.of("server"):
        received = server.routed(sealed)
    for party in parties:
        with clock.of(of(party.number)):
            masked = party.mask(received[party.number], given[party.number])
        if whole or not party.number:
            arriving = masked
        with clock.of("server"):
            server.receive(party.number, arriving)
    with clock.of("server"):
        request = server.request()
    revealed = step(lambda party: party.reveal(request))
    # One vector in everybody's place is no sum, as the server finds when all of its work is done.
    with clock.of("server"), nullcontext() if whole else suppress(ProtocolError):
        total = server.total(revealed)
    sent = (advertised[0], sealed[0], arriving, revealed[0])
    return _row(
        "secure aggregation",
        f"{threshold} must stay",
        clients=clients,
        client_seconds=clock.spent["client"],
        server_seconds=clock.spent["server"],
        sent_bytes=sum(map(message_bytes, sent)),
        received_bytes=message_bytes(keys) + message_bytes(received[0]) + message_bytes(request),
        error=_error(total, given, [1] * clients) if whole else float("nan"),
        whole=whole,
    )


def encryption_rows(updates: Sequence[Update], clients: Sequence[int]) -> Iterator[Row]:
    """A round of encrypted updates within LIMIT for each number of clients, the smallest on whole updates.

    Two clients encrypt; of more, the second one's messages are added again and again, which costs the server the same.
    """
    shapes = shapes_of(updates[0])
    numbers = count(shapes)
    for each in sorted(clients):
        part = numbers if each == min(clients) else min(numbers, MOST_ENCRYPTED)
        pair = [
            {"": torch.from_numpy(flattened(update, shapes, LIMIT)[:part])}
            for update in islice([*updates, *updates], 2)
        ]
        yield _encrypt(pair, each, numbers / part)


def _encrypt(pair: Sequence[Update], clients: int, scale: float) -> Row:
    clock, keys = Clock(), encryption.new_keys()
    client = encryption.Client(keys, shapes_of(pair[0]), clients, LIMIT)
    server = encryption.Server(client.public_context())
    lengths: list[int] = []

    def counted(messages: Iterator[bytes]) -> Iterator[bytes]:
        for message in messages:
            lengths.append(len(message))
            yield message

    own = counted(clock.each("client", client.encrypted(pair[0])))
    others = tee(clock.each("other clients", client.encrypted(pair[1])), clients - 1)
    with clock.of("client"):
        total = client.decrypted(clock.each("server", server.added([own, *others])))
    return _row(
        "encryption",
        f"CKKS, ring of {encryption.DEGREE}",
        clients=clients,
        client_seconds=clock.spent["client"] * scale,
        server_seconds=clock.spent["server"] * scale,
        sent_bytes=round(sum(lengths) * scale),
        # The sum comes back encrypted; beyond the plain sum that every client gets anyway.
        received_bytes=round((sum(lengths) - 4 * count(client.shapes)) * scale),
        error=_error(total, pair, [1, clients - 1]),
        whole=scale == 1,
    )


def _error(total: Update, updates: Sequence[Update], weights: Sequence[int]) -> float:
    worst, square, numbers = 0.0, 0.0, 0
    for name, found in total.items():
        exact = sum(weight * update[name].double() for weight, update in zip(weights, updates, strict=True))
        worst = max(worst, float((found - exact).abs().max()))
        square, numbers = square + float(exact.square().sum()), numbers + exact.numel()
    return worst / float(np.sqrt(square / numbers)) if square else float("nan")


def _row(protection: str, name: str, **measured: float) -> Row:
    nothing = float("nan")
    missing = dict.fromkeys(("clients", "client_seconds", "server_seconds", "sent_bytes", "error"), nothing)
    return {
        "protection": protection,
        "name": name,
        **missing,
        "received_bytes": 0.0,
        "whole": True,
        **measured,
    }
