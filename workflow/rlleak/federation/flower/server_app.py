"""The server's side as a Flower app: rounds of federated training by an honest-but-curious server.

It follows the protocol to the letter, and keeps what arrives. A client that sends what does not fit, or nothing in
time, is left out of the round with a line that says why; the round goes on. Its state is written after every round, and
a run that is started again goes on from there. A round of secure aggregation has one sum: a run that ends while masks
are taken off goes on with the next round, and does not move by this one ("lost" in the record).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from rlleak.artefacts import read_tensors, write_json, write_tensors
from rlleak.errors import ProtocolError, RlleakError
from rlleak.federation.flower.exchange import asked, joined
from rlleak.federation.flower.keeping import Keeper
from rlleak.federation.flower.messages import packed
from rlleak.federation.flower.processes import ENDS
from rlleak.federation.flower.securing import SecureRound
from rlleak.federation.flower.serving import Serving, as_asked, serving_of
from rlleak.federation.flower.task import Task
from rlleak.sharing.sending import Sent

_KIND = "state of a federated server"

app = ServerApp()


class Received(NamedTuple):
    """What a round has given. messages: what the server moves by; clients: whose updates are in them, how many.

    happened: what came of every node.
    """

    messages: list[Sent | None]
    clients: int
    happened: list[dict[str, Any]]


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Serves the task that `flwr run --run-config 'task="<file>"'` names."""
    try:
        serve(grid, Task.load(str(context.run_config["task"])))
    except RlleakError as error:
        note(f"{ENDS}{error}")
        raise


def serve(grid: Grid, task: Task) -> None:
    """All rounds that are not yet done; `<keeps>/record.json` says how each went.

    Raises ProtocolError where too few clients join, or too few updates of a round can be used; what was reached before
    is kept.
    """
    serving, state = serving_of(task), Path(task.keeps) / "server.safetensors"
    keeper, record = Keeper(Path(task.keeps), task.kept_rounds), _resumed(serving, state)
    for round in range(len(record), task.rounds):
        nodes = joined(grid, task.clients, task.least_clients, task.join_timeout, note)
        keeper.begin(round)
        start = time.monotonic()
        try:
            if task.is_secure(round):
                secure = SecureRound(grid, serving, keeper, task, round, note)
                clients = secure.collect(nodes)
                _check_enough(clients, task)
                lost = {"round": round, "seconds": time.monotonic() - start, "clients": secure.happened, "lost": True}
                write_tensors(state, _KIND, serving.kept(), {"record": [*record, lost]})
                received = _summed(secure, clients, serving, keeper, round)
            else:
                received = _collected(grid, nodes, serving, keeper, task, round)
        except ProtocolError as error:
            raise ProtocolError(f"round {round}: {error}; the {round} rounds before are kept in {state}") from error
        serving.aggregate(received.messages)
        record.append({"round": round, "seconds": time.monotonic() - start, "clients": received.happened})
        write_tensors(state, _KIND, serving.kept(), {"record": record})
        note(f"round {round}: {received.clients} of {len(nodes)} updates, {record[-1]['seconds']:.1f} s")
    write_json(Path(task.keeps) / "record.json", record)


def _collected(grid: Grid, nodes: list[int], serving: Serving, keeper: Keeper, task: Task, round: int) -> Received:
    """A plain round: every client's update."""
    question = packed({"parameters": serving.parameters}, {**task.said, "round": round})
    received: dict[int, Sent] = {}
    happened = []
    for answer in asked(grid, dict.fromkeys(nodes, question), round, task.round_timeout):
        entry: dict[str, Any] = {"seconds": answer.seconds, "bytes": answer.bytes}
        try:
            client, groups = answer.read(task.clients, round)
            if client in received:
                raise ProtocolError(f"another has sent the update of client {client} in this round")
            sent = as_asked(groups, serving.expected())
            keeper.keep(serving.seen(sent), round, client)
            received[client] = sent
            happened.append({**entry, "client": client})
        except RlleakError as error:
            note(f"round {round}: node {answer.node} is left out: {error}")
            happened.append({**entry, "left_out": str(error)})
    _check_enough(len(received), task)
    return Received([received.get(client) for client in range(task.clients)], len(received), happened)


def _summed(secure: SecureRound, clients: int, serving: Serving, keeper: Keeper, round: int) -> Received:
    """The end of a secure round: the mean that the sum gives, as an update over the transitions of all in it."""
    total = secure.unmask()
    mean = Sent({name: (value / clients).float() for name, value in total.items()})
    seen = serving.seen(mean)
    keeper.keep_mean(replace(seen, batch_size=seen.batch_size * clients), round)
    return Received([mean], clients, secure.happened)


def _check_enough(updates: int, task: Task) -> None:
    if updates < task.least_clients:
        raise ProtocolError(f"{updates} updates can be used, needed are {task.least_clients}")


def _resumed(serving: Serving, state: Path) -> list[dict[str, Any]]:
    """What is recorded of the rounds that are done; the server then stands after them."""
    if not state.exists():
        return []
    kept, description = read_tensors(state, _KIND)
    serving.restore(kept, len(description["record"]))
    note(f"going on after {len(description['record'])} rounds")
    return description["record"]


def note(line: str) -> None:
    """A line for whoever watches the run."""
    print(line, flush=True)
