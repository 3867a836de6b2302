"""Clients side by side: R runs of n clients each, which play, remember, and share what their updates are made of."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.learning import Learner, Parameters, in_runs, of_role, with_role
from rlleak.federation.over_clients import goes_together, over_clients
from rlleak.federation.replay import Replay
from rlleak.federation.tracing import Traced
from rlleak.seeds import derive
from rlleak.sharing.defences import applied
from rlleak.sharing.sending import Client as Device
from rlleak.sharing.sending import Gradients, Sent
from rlleak.simulators.side_by_side import side_by_side

_BLOCK = 128
"""Rounds whose random numbers are drawn at once."""


class Shared(NamedTuple):
    """What clients send in a round: gradients, "role/name" -> (R, n, *shape); known: as `Sent.known`, (R, n, *shape).

    bits, beside: as `Sent` says of each message.
    """

    gradients: dict[str, Tensor]
    known: dict[str, Tensor]
    bits: float
    beside: float

    def of(self, run: int, client: int) -> Sent:
        """One client's message."""
        gradients, known = ({name: t[run, client] for name, t in group.items()} for group in self[:2])
        return Sent(gradients, known, self.bits, self.beside)


class Clients:
    """R runs of n clients: what each lives through depends on its own seed and on the parameters that it is sent.

    seeds: R sequences of n. defence: an entry of config/defences.yaml, with all its values. Parameters are given as
    (R, *shape) by "role/name", as `rlleak.federation.server.Servers` has them. What a defence draws, it draws for all
    that play side by side from the first one's seed. first_home: of active perception, in whose room the first one
    lives (`rlleak.simulators.homes`); the others in those that follow.
    Raises SimulatorError where the environment's package is not installed, or a player of rooms does not start.
    """

    def __init__(
        self,
        settings: FederatedSettings,
        defence: Mapping[str, Any],
        seeds: Sequence[Sequence[int]],
        first_home: int = 0,
    ) -> None:
        self.settings, self.defence, self.learner = settings, dict(defence), Learner(settings)
        self.shape = (len(seeds), len(seeds[0]))
        self._seeds = [seed for run in seeds for seed in run]
        players = [derive(seed, "environment") for seed in self._seeds]
        homes = settings.at_home(range(first_home, first_home + len(players)))
        self.environments = side_by_side(settings.environment, players, **homes)
        self.replay = Replay(self.learner.environment, len(self._seeds), settings.replay)
        self._generator = torch.Generator()
        self._numbers: tuple[int, dict[str, np.ndarray]] = (-1, {})
        # A client's batch of images is as much work, and as much memory, as one call should be.
        self._together = self.learner.environment.image_shape is None
        gradients = {role: over_clients(partial(self._gradient, role), self._together) for role in self.learner.specs}
        self._gradients = {role: Traced(made) if self._together else made for role, made in gradients.items()}
        self._act = Traced(vmap(self.learner.act))
        self._kept: dict[str, Tensor] = {}

    def play(self, parameters: Parameters, round: int) -> None:
        """The round's steps of each client's environment; before the first of all, its random ones."""
        if not self.replay.added:
            for drawn in self._warm_up():
                self._step(self._any(drawn))
        for step in range(self.settings.steps):
            self._step(self._explored(self._greedy(parameters), round, step))

    def update(self, parameters: Parameters, round: int) -> Shared:
        """What each sends: the defended gradient of each role that is trained in this round."""
        rows = self.drawn(round)
        self._generator.manual_seed(derive(self._seeds[0], "defence", round))
        gradients, known, bits, beside = {}, {}, 32.0, 0.0
        for role in self.learner.trained_in(round):
            values = self._gradients[role](parameters, rows)
            sent = Sent(values)
            if self.defence["method"] != "none":
                sent = self._defended(role, values, parameters, rows)
            gradients |= with_role(sent.gradients, role)
            known |= with_role(sent.known, role)
            bits, beside = sent.bits, beside + sent.beside
        return Shared(gradients, known, bits, beside)

    def drawn(self, round: int) -> dict[str, Tensor]:
        """The transitions (R, n, B, ...) that the round's updates are made from: what stays private."""
        places = torch.from_numpy(self._of_round("drawn", round))
        return {name: value.unflatten(0, self.shape) for name, value in self.replay.draw(places).items()}

    def _gradient(self, role: str, parameters: Parameters, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return grad(self.learner.objective(role, parameters, rows))(of_role(parameters, role))

    def _defended(self, role: str, gradients: Gradients, parameters: Parameters, rows: Mapping[str, Tensor]) -> Sent:
        said: dict[str, float] = {}
        spec, count = self.learner.specs[role], self.settings.batch

        def defend(
            parameters: Parameters, rows: Mapping[str, Tensor], own: Gradients, kept: Gradients
        ) -> tuple[Gradients, Gradients, Gradients]:
            def gradient(weights: Gradients, chosen: Tensor) -> Gradients:
                part = {name: value[chosen] for name, value in rows.items()}
                return grad(self.learner.objective(role, parameters, part))(dict(weights))

            network, seen = of_role(parameters, role), self.learner.seen_by(role, rows)
            device = Device(self._generator, {}, spec, network, seen, gradient, count, kept or None)
            sent = applied(Sent(own), device, self.defence)
            said.update(bits=sent.bits, beside=sent.beside)
            return dict(sent.gradients), dict(sent.known), dict(sent.kept)

        together = self._together and goes_together(self.defence)
        before = of_role(self._kept, role)
        values, known, kept = over_clients(defend, together)(parameters, rows, dict(gradients), before)
        self._kept |= with_role(kept, role)
        return Sent(values, known, **said)

    def _greedy(self, parameters: Parameters) -> np.ndarray:
        return self._act(parameters, in_runs(self.environments.states, self.shape)).flatten(0, 1).numpy()

    def _explored(self, actions: np.ndarray, round: int, step: int) -> np.ndarray:
        """DQN: with a chance that falls any action; else noise on it."""
        drawn, final = self._of_round("explored", round)[:, step], self.settings.exploration
        if self.learner.environment.continuous:
            return np.clip(actions + final * drawn, -1, 1).astype(np.float32)
        passed = round / max(1.0, self.settings.exploration_share * self.settings.size.rounds)
        chance = max(final, 1.0 - (1.0 - final) * passed)
        return np.where(drawn[:, 0] < chance, self._any(drawn[:, 1:]), actions)

    def _any(self, drawn: np.ndarray) -> np.ndarray:
        """Every action alike, from numbers (C, A or 1) in [0, 1)."""
        if self.learner.environment.continuous:
            return (2 * drawn - 1).astype(np.float32)
        return (drawn[:, 0] * self.learner.environment.actions).astype(np.int64)

    def _step(self, actions: np.ndarray) -> None:
        before = self.environments.states
        stepped = self.environments.step(actions)
        states = with_role(before, "observation") | with_role(stepped.following, "next_observation")
        self.replay.add({**states, "action": actions, "reward": stepped.reward, "terminated": stepped.terminated})

    def _warm_up(self) -> np.ndarray:
        """Random numbers (steps, C, A or 1) for what is done before anything was learnt."""
        width = self.learner.environment.actions if self.learner.environment.continuous else 1
        drawn = [np.random.default_rng(derive(seed, "warm up")) for seed in self._seeds]
        return np.stack([own.random((self.settings.warm_up, width)) for own in drawn], axis=1)

    def _of_round(self, what: str, round: int) -> np.ndarray:
        """Random numbers (C, ...) of a round: they depend on each client's seed and on the round alone."""
        block = round // _BLOCK
        if self._numbers[0] != block:
            own = [np.random.default_rng(derive(seed, "block", block)) for seed in self._seeds]
            self._numbers = block, self._draw(own)
        return self._numbers[1][what][:, round % _BLOCK]

    def _draw(self, own: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        settings, environment = self.settings, self.learner.environment
        drawn = np.stack([each.random((_BLOCK, settings.batch), np.float32) for each in own])
        if environment.continuous:
            explored = [each.standard_normal((_BLOCK, settings.steps, environment.actions)) for each in own]
        else:
            explored = [each.random((_BLOCK, settings.steps, 2)) for each in own]
        return {"drawn": drawn, "explored": np.stack(explored)}

    def kept(self) -> tuple[dict[str, Tensor], int]:
        """All that `restore` goes on from: tensors by name, and how many transitions each has lived through."""
        simulators = {f"environment/{name}": torch.from_numpy(v) for name, v in self.environments.kept().items()}
        replay = {f"replay/{name}": value for name, value in self.replay.kept.items()}
        return simulators | replay | {f"kept/{name}": value for name, value in self._kept.items()}, self.replay.added

    def restore(self, tensors: Mapping[str, Tensor], added: int) -> None:
        """Goes on from there; environments that do not go the same way again begin new episodes.

        Without what is named "replay/...", clients remember nothing and play their first random steps again.
        """
        self.environments.restore({name: value.numpy() for name, value in of_role(tensors, "environment").items()})
        if remembered := of_role(tensors, "replay"):
            self.replay.restore(remembered, added)
        self._kept = of_role(tensors, "kept")

    def close(self) -> None:
        self.environments.close()
