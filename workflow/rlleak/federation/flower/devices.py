"""What a node does with a server's parameters: `update`, of which nothing but the result leaves it.

Flower starts a new process for each message, so a device is made anew for each round, from a file of its own: "client",
its number; "seed", its own; "defence", what it does to an update before it sends it, whatever the server says; and
"experience", where its transitions lie, if it recorded them before, or "memory", where it keeps environment, replay and
its last answer between rounds, if it plays; and, if it is to share in sums alone, "least_summed", of how many at least.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rlleak.artefacts import read_json, read_tensors, write_tensors
from rlleak.configuration.defences import defence_settings, parts_of
from rlleak.configuration.federation import FederatedSettings
from rlleak.errors import ConfigurationError, ProtocolError
from rlleak.federation.client import Client
from rlleak.federation.learning import of_role, with_role
from rlleak.seeds import derive
from rlleak.sharing.defences import defend
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import capture
from rlleak.sharing.victims import prepare_training
from rlleak.simulators.recorded import load_recorded

_MEMORY = "memory of a federated client"


class Device(Protocol):
    """number: by which the server knows it."""

    number: int

    def update(self, parameters: Mapping[str, Tensor], round: int) -> Sent:
        """What is sent for the server's parameters in a round, counted from 0."""
        ...


class RecordedDevice:
    """One of the victims in a file of recorded transitions: shares the gradient of its first ones.

    It remembers no round. The same question has the same answer, and another one draws anew: between two messages of
    other parameters no noise cancels. Raises ConfigurationError for a defence that keeps something for the next round.
    """

    def __init__(self, own: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        self.number, self._seed, self._said = own["client"], own["seed"], said
        self._defence = _own_defence(own, said)
        if keeping := [part["method"] for part in parts_of(self._defence) if part.get("error_feedback")]:
            raise ConfigurationError(
                f"client {self.number} remembers nothing that {keeping[0]} could add to its next update; "
                f"take error_feedback out of its defence"
            )
        recorded = load_recorded(own["experience"], said["network"]["setting"])
        if self.number not in range(len(recorded.victims)):
            raise ConfigurationError(f"{own['experience']} holds {len(recorded.victims)} clients, no {self.number}")
        rows = np.flatnonzero(recorded.victim == recorded.victims[self.number])
        self._experience = recorded.select(rows).first(said["batch"])

    def update(self, parameters: Mapping[str, Tensor], round: int) -> Sent:
        """See `Device`."""
        training = prepare_training(self._experience, **self._said["network"], parameters=parameters)
        made = capture(training.network, training.loss, training.batch, self._said["batch"])
        own_seed = derive(self._seed, round, _digest(parameters))
        train = training_of(training.network, training.objective)
        shared = defend(made, self._defence, own_seed, [0], training.batch.observation, train)
        return Sent(*({name: value[0] for name, value in group.items()} for group in (shared.gradients, shared.known)))


class PlayingDevice:
    """`rlleak.federation.client.Client`, which goes on where it was in the round before.

    Asked again for the round that it answered last, it sends that answer again, whatever the parameters: what it drew
    for a round is on one update alone. Its memory is of one task, defence and seed.
    """

    def __init__(self, own: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        self.number, self._seed, self._memory = own["client"], own["seed"], Path(own["memory"])
        self._settings = FederatedSettings.model_validate(said["training"])
        self._defence = _own_defence(own, said)
        of = [self._settings.model_dump(mode="json"), self._defence, self._seed, self.number]
        self._belongs_to = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()

    def update(self, parameters: Mapping[str, Tensor], round: int) -> Sent:
        """See `Device`. What it then remembers is on its disk before anything is sent.

        Raises ProtocolError for a round before the last one, ConfigurationError for a memory that is not its own or
        from which its environment does not go on, CorruptArtefactError for one that cannot be read.
        """
        tensors, said = self._remembered()
        last = said.get("round", -1)
        if round < last:
            raise ProtocolError(
                f"client {self.number} answered round {last} and is asked for round {round}; resume the server, or "
                f"give the client another memory than {self._memory} and another seed"
            )
        if round == last:
            return Sent(of_role(tensors, "gradients"), of_role(tensors, "known"), said["bits"], said["beside"])
        client = Client(self._settings, self._defence, self._seed, home=self.number)
        try:
            if said:
                self._restore(client, tensors, said["added"])
            client.play(parameters, round)
            sent = client.update(parameters, round)
            self._remember(client, sent, round)
        finally:
            client.close()
        return sent

    def _remembered(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Nothing, before its first round."""
        if not self._memory.exists():
            return {}, {}
        tensors, said = read_tensors(self._memory, _MEMORY)
        if said.get("belongs_to") != self._belongs_to:
            # With the seed of before it would draw the noise of before.
            raise ConfigurationError(
                f"{self._memory} is not of client {self.number} with this task, defence and seed; "
                f"give the client another memory and another seed"
            )
        return tensors, said

    def _restore(self, client: Client, tensors: Mapping[str, Tensor], added: int) -> None:
        client.restore(tensors, added)
        if not torch.equal(client.kept()[0]["environment/episode"], tensors["environment/episode"]):
            raise ConfigurationError(
                f"{self._settings.environment} did not go the same way again, so client {self.number} cannot go on "
                f"from {self._memory}; train it in one process, which need not be resumed"
            )

    def _remember(self, client: Client, sent: Sent, round: int) -> None:
        tensors, added = client.kept()
        answer = with_role(sent.gradients, "gradients") | with_role(sent.known, "known")
        said = {"added": added, "round": round, "bits": sent.bits, "beside": sent.beside}
        write_tensors(self._memory, _MEMORY, tensors | answer, {**said, "belongs_to": self._belongs_to})


def device_of(path: str | Path, said: Mapping[str, Any]) -> Device:
    """The device that a node's own file describes, for what the server says of the task (`Task.said`).

    Raises ConfigurationError where one of them lacks something, or where they say different defences;
    CorruptArtefactError where a file cannot be read.
    """
    try:
        return (PlayingDevice if said["training"] else RecordedDevice)(read_json(path), said)
    except KeyError as error:
        raise ConfigurationError(f"{path} or the server's task does not say {error}; give it") from error


def _own_defence(own: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """A client's defence, with all its values. A server that takes it for another would misread the update."""
    defence, taken_for = (defence_settings(given["defence"]) for given in (own, said))
    if defence != taken_for:
        raise ConfigurationError(
            f"client {own['client']} defends itself by {json.dumps(defence)}, and the server says "
            f"{json.dumps(taken_for)}; serve the client's defence, or change it in the client's own file"
        )
    return defence


def _digest(parameters: Mapping[str, Tensor]) -> str:
    """Of names, shapes and every bit."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        value = parameters[name].detach().cpu().contiguous().numpy()
        digest.update(json.dumps([name, str(value.dtype), value.shape]).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
