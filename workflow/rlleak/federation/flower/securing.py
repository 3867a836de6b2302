"""The server's side of secure aggregation over Flower: it asks every node in four rounds, and learns the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from rlleak.errors import ConfigurationError, ProtocolError, RlleakError
from rlleak.federation.flower.exchange import Answer, asked
from rlleak.federation.flower.keeping import Keeper
from rlleak.federation.flower.messages import Groups, packed
from rlleak.federation.flower.protocol import (
    Step,
    arrays_of,
    bytes_of,
    groups_of_keys,
    keys_of,
    masked_of,
    revealed_of,
)
from rlleak.federation.flower.serving import Serving
from rlleak.federation.flower.task import Task
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.client import Request, Revealed
from rlleak.federation.secure_aggregation.primitives import PublicKeys
from rlleak.federation.secure_aggregation.server import Server


class SecureRound:
    """One round of federated training of which the server sees the sum (`rlleak.federation.secure_aggregation`).

    A node that answers a question with what does not fit, or not in time, has dropped out, with a line that says why:
    nobody asks it again. happened: what came of every node, over all questions.
    """

    def __init__(
        self, grid: Grid, serving: Serving, keeper: Keeper, task: Task, round: int, note: Callable[[str], None]
    ) -> None:
        if task.secure_aggregation is None:
            raise ConfigurationError("the task says nothing of secure_aggregation; give its threshold")
        self._grid, self._serving, self._keeper, self._note = grid, serving, keeper, note
        self._task, self._round = task, round
        self._server = Server(Agreement(serving.expected(), task.clients, **task.secure_aggregation.model_dump()))
        self._node_of: dict[int, int] = {}
        self._happened: dict[int, dict[str, Any]] = {}

    @property
    def happened(self) -> list[dict[str, Any]]:
        """One entry per node: `client`, if its update is in the sum, else `left_out`, why; its seconds and bytes."""
        return list(self._happened.values())

    def collect(self, nodes: Iterable[int]) -> int:
        """How many clients sent a masked update; the server has seen nothing of any, and the round may begin again.

        Raises ProtocolError where they are fewer than the threshold.
        """
        keys = self._server.keys(self._advertised(nodes))
        received = self._server.routed(self._shared(keys))
        self._masked(received)
        return len(self._server.request().survivors)

    def unmask(self) -> dict[str, Tensor]:
        """The sum of what was collected, float64 by name. From here on clients do not answer this round again.

        Raises ProtocolError where fewer than the threshold are left.
        """
        return self._server.total(self._revealed(self._server.request()))

    def _advertised(self, nodes: Iterable[int]) -> dict[int, PublicKeys]:
        keys: dict[int, PublicKeys] = {}

        def admit(client: int, groups: Groups) -> None:
            pair = keys_of(groups).get(client)
            if pair is None:
                raise ProtocolError("it advertises no keys of its own")
            self._server.check_keys(pair)
            if len({*pair, *(key for other in keys.values() for key in other)}) < 2 * (len(keys) + 1):
                raise ProtocolError("its keys are not two of its own")
            keys[client] = pair

        question = self._question("advertise", {}, {"agreement": self._server.agreement.said})
        self._ask("advertise", dict.fromkeys(nodes, question), admit)
        return keys

    def _shared(self, keys: Mapping[int, PublicKeys]) -> dict[int, dict[int, bytes]]:
        shares: dict[int, dict[int, bytes]] = {}

        def admit(client: int, groups: Groups) -> None:
            sealed = bytes_of(groups.get("shares", {}))
            self._server.check_shares(client, sealed)
            shares[client] = sealed

        question = self._question("share", groups_of_keys(keys))
        self._ask("share", {self._node_of[client]: question for client in keys}, admit)
        return shares

    def _masked(self, received: Mapping[int, Mapping[int, bytes]]) -> None:
        def admit(client: int, groups: Groups) -> None:
            masked = masked_of(groups)
            self._server.receive(client, masked)
            self._keeper.keep_masked(masked, self._round, client)

        parameters = dict(self._serving.parameters)
        questions = {
            self._node_of[client]: self._question(
                "mask", {"parameters": parameters, "shares": arrays_of(sealed)}, self._task.said
            )
            for client, sealed in received.items()
        }
        self._ask("mask", questions, admit)

    def _revealed(self, request: Request) -> dict[int, Revealed]:
        answers: dict[int, Revealed] = {}

        def admit(client: int, groups: Groups) -> None:
            answer = revealed_of(groups)
            self._server.check_revealed(client, answer)
            answers[client] = answer

        question = self._question("reveal", {}, request._asdict())
        self._ask("reveal", {self._node_of[client]: question for client in request.survivors}, admit)
        return answers

    def _question(self, step: Step, groups: Groups, said: Mapping[str, Any] | None = None) -> RecordDict:
        return packed(groups, {**(said or {}), "step": step, "round": self._round})

    def _ask(self, step: Step, questions: Mapping[int, RecordDict], admit: Callable[[int, Groups], None]) -> None:
        """Hands every answer that fits to `admit`, which raises where one does not."""
        for answer in asked(self._grid, questions, self._round, self._task.round_timeout):
            entry = self._happened.setdefault(answer.node, {"seconds": 0.0, "bytes": 0})
            entry["seconds"] += answer.seconds
            entry["bytes"] += answer.bytes
            try:
                entry["client"] = self._admitted(answer, admit)
            except RlleakError as error:
                self._note(f"round {self._round}: node {answer.node} drops out when asked to {step}: {error}")
                # By then its update is in the sum; its shares are not needed if others' suffice.
                if step != "reveal":
                    entry.pop("client", None)
                    entry["left_out"] = f"asked to {step}: {error}"

    def _admitted(self, answer: Answer, admit: Callable[[int, Groups], None]) -> int:
        client, groups = answer.read(self._task.clients, self._round)
        if self._node_of.get(client, answer.node) != answer.node:
            raise ProtocolError(f"another node is client {client} in this round")
        admit(client, groups)
        # Only now: who breaks the protocol under another's number does not keep that one out.
        self._node_of[client] = answer.node
        return client
