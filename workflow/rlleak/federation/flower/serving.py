"""Servers behind the Flower app: they average and move the parameters, and know what an update that they see is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from rlleak.errors import ProtocolError
from rlleak.federation.flat_updates import Shapes, flattened, shapes_of, unflattened
from rlleak.federation.flower.task import Task
from rlleak.federation.learning import Learner, of_role
from rlleak.federation.server import Server
from rlleak.learners import LOSSES
from rlleak.learners.critic import CriticLoss
from rlleak.learners.loss import Loss
from rlleak.learners.networks import PolicyNetwork, build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import SharedUpdate

_LARGEST = 1e18
"""Of an arriving number, in magnitude: its square, which the server's optimiser keeps, must not overflow float32."""


class Serving(Protocol):
    """parameters: what every client is sent, by name."""

    parameters: dict[str, Tensor]

    def expected(self) -> Shapes:
        """The shapes of what each client sends in the round that is next."""
        ...

    def seen(self, sent: Sent) -> SharedUpdate:
        """One client's message as an update of the parameters that it was sent."""
        ...

    def aggregate(self, messages: Sequence[Sent | None]) -> list[int]:
        """Moves the parameters by the mean of a round's messages, and says whose were used."""
        ...

    def kept(self) -> dict[str, Tensor]:
        """All that `restore` goes on from."""
        ...

    def restore(self, kept: Mapping[str, Tensor], round: int) -> None:
        """Goes on from there, with that round next."""
        ...


class RecordedServing:
    """Gradient descent on the mean update of recorded clients."""

    def __init__(self, task: Task) -> None:
        network: Mapping[str, Any] = task.network or {}
        self._batch, self._defence, self._step_size = task.batch, task.defence, task.step_size
        self._spec = NetworkSpec.model_validate(dict(network["architecture"]))
        self._loss: Loss = LOSSES.load(network["learner"])(**network["constants"])
        self.parameters = _parameters(build_network(self._spec, network["network_seed"]))

    def expected(self) -> Shapes:
        """See `Serving`."""
        return shapes_of(self.parameters)

    def seen(self, sent: Sent) -> SharedUpdate:
        """See `Serving`."""
        return _seen(sent, self._spec, self.parameters, self._loss, self._batch, self._defence)

    def aggregate(self, messages: Sequence[Sent | None]) -> list[int]:
        """See `Serving`. Raises ProtocolError where there is none."""
        used = [place for place, message in enumerate(messages) if message is not None]
        if not used:
            raise ProtocolError("no client sent an update that can be used; ask them again")
        for name, value in self.parameters.items():
            mean = torch.stack([messages[place].gradients[name] for place in used]).mean(0)
            self.parameters[name] = value - self._step_size * mean
        return used

    def kept(self) -> dict[str, Tensor]:
        """See `Serving`."""
        return self.parameters

    def restore(self, kept: Mapping[str, Tensor], round: int) -> None:
        """See `Serving`."""
        self.parameters = dict(kept)


class TrainingServing:
    """`rlleak.federation.server.Server`; of the networks in a message the critic's is the one that is looked at."""

    def __init__(self, task: Task) -> None:
        self._server = Server(task.training, task.defence, task.seed)
        self._learner, self._defence, self._batch = Learner(task.training), task.defence, task.training.batch
        self.aggregate, self.kept, self.restore = self._server.aggregate, self._server.kept, self._server.restore

    @property
    def parameters(self) -> dict[str, Tensor]:
        """See `Serving`: all networks, by "role/name"."""
        return self._server.parameters

    def expected(self) -> Shapes:
        """See `Serving`."""
        return self._server.expected

    def seen(self, sent: Sent) -> SharedUpdate:
        """See `Serving`."""
        critic = Sent(of_role(sent.gradients, "critic"), of_role(sent.known, "critic"))
        loss, spec = self._learner.loss, self._learner.specs["critic"]
        if isinstance(loss, CriticLoss):
            actor = PolicyNetwork(self._learner.specs["actor"])
            actor.load_state_dict(of_role(self.parameters, "target_actor"))
            loss = replace(loss, actor=actor)
        return _seen(critic, spec, of_role(self.parameters, "critic"), loss, self._batch, self._defence)


def as_asked(groups: Mapping[str, Mapping[str, Tensor]], expected: Shapes) -> Sent:
    """A client's message, its numbers in the parameters' float32, whatever it computes in.

    Raises ProtocolError where its tensors, in all networks, are not those expected, or hold what would spoil the
    parameters: see `flattened`.
    """
    numbers = flattened(groups.get("gradients", {}), expected, _LARGEST)
    return Sent(unflattened(numbers, expected), groups.get("known", {}))


def serving_of(task: Task) -> Serving:
    """The server that a task asks for, with fresh parameters."""
    return TrainingServing(task) if task.training else RecordedServing(task)


def _parameters(network: PolicyNetwork) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _seen(
    sent: Sent,
    spec: NetworkSpec,
    parameters: Mapping[str, Tensor],
    loss: Loss,
    batch: int,
    defence: Mapping[str, Any],
) -> SharedUpdate:
    gradients, known = ({name: value[None] for name, value in group.items()} for group in (sent.gradients, sent.known))
    about = {"others": loss.others, "known": known, "defence": dict(defence)}
    held = {name: value.clone() for name, value in parameters.items()}
    return SharedUpdate(spec, held, gradients, loss.constants, batch, **about).check("its update")
