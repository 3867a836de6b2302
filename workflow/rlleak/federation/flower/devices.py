"""What a node does with a server's parameters: `update`, of which nothing but the result leaves it.

Flower starts a new process for each message, so a device is made anew for each round, from a file of its own: "client",
its number; "seed", its own; and "experience", where its transitions lie, if it recorded them before, or "memory", where
it keeps environment and replay between rounds, if it plays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from rlleak.artefacts import read_json, read_tensors, write_tensors
from rlleak.configuration.federation import FederatedSettings
from rlleak.errors import ConfigurationError
from rlleak.federation.client import Client
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
    """One of the victims in a file of recorded transitions: shares the gradient of its first ones."""

    def __init__(self, own: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        self.number, self._seed, self._said = own["client"], own["seed"], said
        recorded = load_recorded(own["experience"], said["network"]["setting"])
        if self.number not in range(len(recorded.victims)):
            raise ConfigurationError(f"{own['experience']} holds {len(recorded.victims)} clients, no {self.number}")
        rows = np.flatnonzero(recorded.victim == recorded.victims[self.number])
        self._experience = recorded.select(rows).first(said["batch"])

    def update(self, parameters: Mapping[str, Tensor], round: int) -> Sent:
        """See `Device`."""
        training = prepare_training(self._experience, **self._said["network"], parameters=parameters)
        made = capture(training.network, training.loss, training.batch, self._said["batch"])
        own_seed = derive(self._seed, round)
        train = training_of(training.network, training.objective)
        shared = defend(made, self._said["defence"], own_seed, [0], training.batch.observation, train)
        return Sent(*({name: value[0] for name, value in group.items()} for group in (shared.gradients, shared.known)))


class PlayingDevice:
    """`rlleak.federation.client.Client`, which goes on where it was in the round before."""

    def __init__(self, own: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        self.number, self._memory = own["client"], Path(own["memory"])
        settings = FederatedSettings.model_validate(said["training"])
        self._client = Client(settings, said["defence"], own["seed"], home=self.number)

    def update(self, parameters: Mapping[str, Tensor], round: int) -> Sent:
        """See `Device`. What it then remembers is on its disk before anything is sent."""
        try:
            if self._memory.exists():
                tensors, description = read_tensors(self._memory, _MEMORY)
                self._client.restore(tensors, description["added"])
            self._client.play(parameters, round)
            sent = self._client.update(parameters, round)
            tensors, added = self._client.kept()
            write_tensors(self._memory, _MEMORY, tensors, {"added": added})
        finally:
            self._client.close()
        return sent


def device_of(path: str | Path, said: Mapping[str, Any]) -> Device:
    """The device that a node's own file describes, for what the server says of the task (`Task.said`).

    Raises ConfigurationError where one of them lacks something, CorruptArtefactError where a file cannot be read.
    """
    try:
        return (PlayingDevice if said["training"] else RecordedDevice)(read_json(path), said)
    except KeyError as error:
        raise ConfigurationError(f"{path} or the server's task does not say {error}; give it") from error
