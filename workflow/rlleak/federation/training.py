"""Federated training in one process: R runs of n clients, from the code of `Client` and `Server`, side by side.

    train(settings, defence, runs, seed, *, checkpoint=None, progress=False) -> Trained

`settings` is made by `rlleak.configuration.federation.federated`; `Trained` has the learning curve and what clients
paid.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.configuration.federation import FederatedSettings
from rlleak.errors import CorruptArtefactError
from rlleak.federation.accounting import client_epsilon, transition_epsilon
from rlleak.federation.clients import Clients
from rlleak.federation.evaluation import Evaluation
from rlleak.federation.server import Servers
from rlleak.seeds import derive
from rlleak.sharing.defences import message_bytes

logger = logging.getLogger(__name__)

CURVE = ("run", "round", "environment_steps", "return")
_KIND = "federated training"
_SECONDS = 60.0


@dataclass(frozen=True)
class Trained:
    """R runs of one training.

    curve: columns `CURVE`, a row per run and evaluation, the first before any update; environment_steps of all clients
    of a run together; return: mean over the episodes of the server's policy without exploration. message_bytes: that
    one client sends in one round, on average. epsilon: what the defence guarantees each client over all rounds, None
    where it guarantees nothing; transition_epsilon: the same of one transition (`accounting`). seconds: of the CPU, per
    run. parameters: "role/name" -> (R, *shape), at the end.
    """

    curve: pd.DataFrame
    message_bytes: int
    epsilon: float | None
    transition_epsilon: float | None
    seconds: float
    parameters: Mapping[str, Tensor] = field(repr=False)


def train(
    settings: FederatedSettings,
    defence: Mapping[str, Any],
    runs: int,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Trains R = `runs` policies, each with clients, environments and initial networks of its own.

    defence: an entry of config/defences.yaml, with all its values. What run i starts from, explores and is evaluated on
    depends on the seed and on i, never on the defence: runs are paired over defences. checkpoint: written every minute
    and at the end: a killed training goes on from there, to the same end where the simulator goes the same way again,
    else with a new episode in that environment, and where states are images with new replays; whoever called removes
    it. progress: says ten times on standard output how far it is. A run from which every update is spoilt in a round
    stays as it is in that round.

    Raises SimulatorError where the environment's package is not installed, ConfigurationError where a defence cannot
    be applied to these updates.
    """
    training = _Training(settings, defence, runs, seed)
    try:
        training.resume(checkpoint)
        training.run(checkpoint, progress)
    finally:
        training.clients.close()
    return training.result()


class _Training:
    def __init__(self, settings: FederatedSettings, defence: Mapping[str, Any], runs: int, seed: int) -> None:
        self.settings, self.defence = settings, defence
        self.seeds = [derive(seed, "run", run) for run in range(runs)]
        players = [[derive(own, "client", client) for client in range(settings.clients)] for own in self.seeds]
        self.clients = Clients(settings, defence, players)
        self.servers = Servers(settings, defence, [derive(own, "network") for own in self.seeds])
        self.evaluation = Evaluation(settings, self.seeds)
        self.round, self.rows, self._before = 0, [], 0.0
        words = json.dumps([settings.model_dump(mode="json"), dict(defence), runs, seed], sort_keys=True)
        self.belongs_to = hashlib.sha256(words.encode()).hexdigest()
        size = settings.size
        self._evaluated = {math.ceil(size.rounds * part / size.evaluations) for part in range(size.evaluations + 1)}
        self._begun = self._saved = time.monotonic()
        self._cpu = time.process_time()

    def run(self, checkpoint: Path | None, progress: bool) -> None:
        if not self.rows:
            self._evaluate()
        rounds = self.settings.size.rounds
        while self.round < rounds:
            parameters = self.servers.parameters
            self.clients.play(parameters, self.round)
            shared = self.clients.update(parameters, self.round)
            used = self.servers.step(shared.gradients, self.round)
            if not used.all():
                self._tell_exclusions(used)
            self.round += 1
            if self.round in self._evaluated:
                self._evaluate()
            if progress and self.round % max(1, rounds // 10) == 0:
                self._tell()
            if checkpoint is not None and (time.monotonic() - self._saved > _SECONDS or self.round == rounds):
                self._save(checkpoint)

    def _tell_exclusions(self, used: Tensor) -> None:
        left = [f"{run}.{client}" for run, client in (~used).nonzero().tolist()]
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        logger.warning(
            "round %d: NaN or Inf from client %s%s (run.client); the round goes on without",
            self.round,
            ", ".join(left[:5]),
            more,
        )

    def _evaluate(self) -> None:
        earned = self.evaluation.returns(self.servers.parameters).mean(axis=1)
        settings = self.settings
        steps = settings.clients * (settings.warm_up + settings.steps * self.round) if self.round else 0
        self.rows += [[run, self.round, steps, float(value)] for run, value in enumerate(earned)]

    def _tell(self) -> None:
        last = [row[3] for row in self.rows[-len(self.seeds) :]]
        print(
            f"{self.settings.environment}, {self.defence['method']}: round {self.round:,} of "
            f"{self.settings.size.rounds:,}; return {np.mean(last):.1f} ({min(last):.1f} to {max(last):.1f} over "
            f"{len(last)} runs)",
            flush=True,
        )

    def _seconds(self) -> float:
        return self._before + time.process_time() - self._cpu

    def _save(self, path: Path) -> None:
        played, added = self.clients.kept()
        tensors = {f"server/{name}": value for name, value in self.servers.kept().items()}
        # A replay of images is left out: gigabytes a minute.
        large = self.clients.learner.environment.image_shape is not None
        tensors |= {
            f"clients/{name}": value for name, value in played.items() if not (large and name.startswith("replay/"))
        }
        said = {"round": self.round, "added": added, "rows": self.rows, "seconds": self._seconds()}
        write_tensors(path, _KIND, tensors, {**said, "belongs_to": self.belongs_to})
        self._saved = time.monotonic()

    def resume(self, path: Path | None) -> None:
        """Goes on from the checkpoint if there is one of this very training; any other is ignored."""
        try:
            tensors, said = read_tensors(path, _KIND) if path else ({}, {})
        except CorruptArtefactError:
            return
        if said.get("belongs_to") != self.belongs_to:
            return
        groups: dict[str, dict[str, Tensor]] = {"server": {}, "clients": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = value
        self.servers.restore(groups["server"])
        self.clients.restore(groups["clients"], said["added"])
        self.round, self.rows, self._before = said["round"], said["rows"], said["seconds"]
        print(f"{self.settings.environment}: goes on after round {self.round:,}", flush=True)

    def result(self) -> Trained:
        learner, rounds = self.clients.learner, self.settings.size.rounds
        sent = {role: message_bytes(self.defence, spec) for role, spec in learner.specs.items()}
        total = sum(sent[role] for round in range(rounds) for role in learner.trained_in(round))
        guaranteed = [counted(self.settings, self.defence) for counted in (client_epsilon, transition_epsilon)]
        parameters = {name: value.clone() for name, value in self.servers.parameters.items()}
        return Trained(
            pd.DataFrame(self.rows, columns=list(CURVE)),
            round(total / rounds),
            *(value if math.isfinite(value) else None for value in guaranteed),
            self._seconds() / len(self.seeds),
            parameters,
        )
