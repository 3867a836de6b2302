"""The server of federated training: keeps the networks, takes the mean of what arrives, leaves out what is spoilt."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlleak.configuration.defences import parts_of
from rlleak.configuration.federation import FederatedSettings
from rlleak.errors import ProtocolError
from rlleak.federation.learning import TARGET, Learner
from rlleak.sharing.sending import Sent

logger = logging.getLogger(__name__)


class Servers:
    """Servers of R runs side by side, each with the networks of its own.

    parameters: "role/name" -> (R, *shape), target networks among them. seeds: (R,), of fresh networks. defence: what
    clients do, an entry of config/defences.yaml: FedAvg's weight differences are taken as `weight_differences` says.
    """

    def __init__(self, settings: FederatedSettings, defence: Mapping[str, Any], seeds: Sequence[int]) -> None:
        self.settings, self.learner = settings, Learner(settings)
        runs = [self.learner.fresh(seed) for seed in seeds]
        self._steps = next((part for part in parts_of(defence) if part["method"] == "local_steps"), None)
        self._flat: dict[str, Tensor] = {}
        self.parameters: dict[str, Tensor] = {}
        for role in [name for own in self.learner.specs for name in (own, TARGET + own)]:
            names = [name for name in runs[0] if name.startswith(f"{role}/")]
            parts = {name: torch.stack([run[name] for run in runs]) for name in names}
            self._flat[role] = torch.cat([part.flatten(1) for part in parts.values()], dim=1)
            sizes = [part[0].numel() for part in parts.values()]
            # Views: what moves the flat tensor moves them.
            cut = self._flat[role].split(sizes, dim=1)
            self.parameters |= {name: view.view_as(parts[name]) for name, view in zip(names, cut, strict=True)}
        self._optimisers = {
            role: torch.optim.Adam([self._flat[role]], lr=settings.learning_rate) for role in self.learner.specs
        }

    def step(self, gradients: Mapping[str, Tensor], round: int, present: Tensor | None = None) -> Tensor:
        """Moves each run by the mean of its clients' updates; what was used, (R, n) bool.

        gradients: "role/name" -> (R, n, *shape). present: (R, n), whose update arrived; None: all. Updates with NaN or
        Inf are left out, in all their parts; a run of which nothing is left stays where it is in this round.
        """
        roles = [role for role in self.learner.specs if any(name.startswith(f"{role}/") for name in gradients)]
        parts = {role: self._flattened(role, gradients) for role in roles}
        used = torch.stack([torch.isfinite(part).all(dim=2) for part in parts.values()]).all(dim=0)
        if present is not None:
            used &= present
        for role, part in parts.items():
            if used.all():
                self._move(role, part.mean(dim=1), used.any(dim=1))
            else:
                weights = (used / used.sum(dim=1, keepdim=True).clamp(min=1))[:, :, None]
                self._move(role, (part.nan_to_num(0.0, 0.0, 0.0) * weights).sum(dim=1), used.any(dim=1))
        if (round + 1) % self.settings.target.every == 0:
            for role in self.learner.specs:
                self._flat[TARGET + role].lerp_(self._flat[role], self.settings.target.share)
        return used

    def _flattened(self, role: str, gradients: Mapping[str, Tensor]) -> Tensor:
        names = [name for name in self.parameters if name.startswith(f"{role}/")]
        return torch.cat([gradients[name].flatten(2) for name in names], dim=2)

    def _move(self, role: str, mean: Tensor, moving: Tensor) -> None:
        flat = self._flat[role]
        if self._steps is not None and self.settings.weight_differences == "average":
            flat -= self._steps["steps"] * self._steps["step_size"] * mean * moving[:, None]
            return
        optimiser, still = self._optimisers[role], ~moving
        held = [flat, *(value for value in optimiser.state[flat].values() if value.shape == flat.shape)]
        before = [value[still].clone() for value in held] if bool(still.any()) else []
        flat.grad = mean
        optimiser.step()
        for value, old in zip(held, before, strict=False):
            value[still] = old

    def kept(self) -> dict[str, Tensor]:
        """All that `restore` goes on from."""
        kept = {f"networks/{role}": flat for role, flat in self._flat.items()}
        for role, optimiser in self._optimisers.items():
            kept |= {f"adam/{role}/{name}": value for name, value in optimiser.state[self._flat[role]].items()}
        return kept

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Goes on from there, in the same shapes."""
        for role, flat in self._flat.items():
            flat.copy_(kept[f"networks/{role}"])
        for role, optimiser in self._optimisers.items():
            begin = f"adam/{role}/"
            state = {name.removeprefix(begin): value.clone() for name, value in kept.items() if name.startswith(begin)}
            optimiser.state[self._flat[role]] = state


class Server:
    """The server of one run; knows nothing of how messages travel.

    seed: of the fresh networks. It is one of `Servers`, alone.
    """

    def __init__(self, settings: FederatedSettings, defence: Mapping[str, Any], seed: int) -> None:
        self._servers, self.round = Servers(settings, defence, [seed]), 0

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What every client is sent: all networks, "role/name" -> tensor (`rlleak.federation.learning`)."""
        return {name: value[0] for name, value in self._servers.parameters.items()}

    def aggregate(self, messages: Sequence[Sent | None]) -> list[int]:
        """Moves the networks by the mean of a round's messages, and says whose were used, as places in `messages`.

        One place per client; None: nothing arrived. A message that does not fit, or that holds NaN or Inf, is left out
        with a line in the log, and the round goes on with the others. Raises ProtocolError where none is left: the
        networks are then as they were, and the round may be tried again.
        """
        fitting = [place for place, message in enumerate(messages) if self._fits(place, message)]
        if not fitting:
            raise ProtocolError(f"round {self.round}: no client sent an update that can be used; ask them again")
        first = messages[fitting[0]]
        stacked = {name: torch.stack([messages[p].gradients[name] for p in fitting])[None] for name in first.gradients}
        self._servers.step(stacked, self.round)
        self.round += 1
        return fitting

    @property
    def expected(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what a client sends in this round, by "role/name"."""
        learner = self._servers.learner
        return {
            f"{role}/{name}": tuple(shape)
            for role in learner.trained_in(self.round)
            for name, shape in learner.specs[role].parameter_shapes.items()
        }

    def _fits(self, place: int, message: Sent | None) -> bool:
        wrong = self._wrong(message)
        if wrong:
            logger.warning("round %d: client %d %s; the round goes on without it", self.round, place, wrong)
        return not wrong

    def _wrong(self, message: Sent | None) -> str:
        """What is wrong with a message, in words; nothing if it can be used."""
        if message is None:
            return "sent nothing"
        given, expected = message.gradients, self.expected
        if set(given) != set(expected):
            odd = sorted(set(given) ^ set(expected))
            return f"sent other tensors than were asked for ({', '.join(odd[:3])})"
        for name, shape in expected.items():
            if tuple(given[name].shape) != shape:
                return f"sent '{name}' in shape {tuple(given[name].shape)}, not {shape}"
            if not given[name].is_floating_point():
                return f"sent no numbers in '{name}'"
            if not bool(torch.isfinite(given[name]).all()):
                return f"sent NaN or Inf in '{name}'"
        return ""

    def kept(self) -> dict[str, Tensor]:
        """All that `restore` goes on from."""
        return self._servers.kept()

    def restore(self, kept: Mapping[str, Tensor], round: int) -> None:
        """Goes on from there, with that round next."""
        self._servers.restore(kept)
        self.round = round
