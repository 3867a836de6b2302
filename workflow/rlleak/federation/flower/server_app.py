"""The server's side as a Flower app: rounds of federated training by an honest-but-curious server.

It follows the protocol to the letter, and keeps what arrives. A client that sends what does not fit, or nothing in
time, is left out of the round with a line that says why; the round goes on. Its state is written after every round, and
a run that is started again goes on from there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from rlleak.artefacts import read_tensors, write_json, write_tensors
from rlleak.errors import ProtocolError, RlleakError
from rlleak.federation.flower.exchange import Answer, asked, joined
from rlleak.federation.flower.keeping import Keeper
from rlleak.federation.flower.messages import packed, unpacked
from rlleak.federation.flower.processes import ENDS
from rlleak.federation.flower.serving import Serving, serving_of
from rlleak.federation.flower.task import Task
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import SharedUpdate

_KIND = "state of a federated server"

app = ServerApp()


class Received(NamedTuple):
    """What one client sent, and what the server makes of it."""

    sent: Sent
    update: SharedUpdate


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
        received, happened = _collected(grid, nodes, serving, keeper, task, round)
        if len(received) < task.least_clients:
            raise ProtocolError(
                f"round {round} has {len(received)} updates that can be used, needed are {task.least_clients}; "
                f"the {round} rounds before are kept in {state}"
            )
        keeper.keep_mean([received[client].update for client in sorted(received)], round)
        serving.aggregate([received[client].sent if client in received else None for client in range(task.clients)])
        record.append({"round": round, "seconds": time.monotonic() - start, "clients": happened})
        write_tensors(state, _KIND, serving.kept(), {"record": record})
        note(f"round {round}: {len(received)} of {len(nodes)} updates, {record[-1]['seconds']:.1f} s")
    write_json(Path(task.keeps) / "record.json", record)


def _collected(
    grid: Grid, nodes: list[int], serving: Serving, keeper: Keeper, task: Task, round: int
) -> tuple[dict[int, Received], list[dict[str, Any]]]:
    """A round's updates by client, and what came of every node."""
    question = packed({"parameters": serving.parameters}, {**task.said, "round": round})
    received: dict[int, Received] = {}
    happened = []
    for answer in asked(grid, nodes, question, round, task.round_timeout):
        entry: dict[str, Any] = {"seconds": answer.seconds, "bytes": _bytes(answer)}
        try:
            client, sent = _read(answer, task.clients, round)
            if client in received:
                raise ProtocolError(f"another has sent the update of client {client} in this round")
            received[client] = Received(sent, serving.seen(sent))
            keeper.keep(received[client].update, round, client)
            happened.append({**entry, "client": client})
        except RlleakError as error:
            note(f"round {round}: node {answer.node} is left out: {error}")
            happened.append({**entry, "left_out": str(error)})
    return received, happened


def _read(answer: Answer, clients: int, round: int) -> tuple[int, Sent]:
    """Who sent it, and what. Raises ProtocolError where that cannot be said."""
    if answer.content is None:
        raise ProtocolError(answer.reason)
    groups, said = unpacked(answer.content)
    client = said.get("client")
    if type(client) is not int or client not in range(clients) or said.get("round") != round:
        raise ProtocolError(
            f"it says to be client {client!r} of {clients}, in round {said.get('round')!r}; this is round {round}"
        )
    return client, Sent(groups.get("gradients", {}), groups.get("known", {}))


def _bytes(answer: Answer) -> int:
    """How long the arrays of an answer are."""
    return sum(record.count_bytes() for record in answer.content.array_records.values()) if answer.content else 0


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
