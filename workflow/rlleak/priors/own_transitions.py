"""The attacker's own transitions as tensors, a batch at a time, and what they say of states."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor
from torch.nn import functional

from rlleak.configuration.environments import Environment
from rlleak.errors import ConfigurationError
from rlleak.priors.transition_prior import VECTOR_FLOOR
from rlleak.simulators.transitions import Transitions

PIXEL_FLOOR = 0.02
"""Deviation, of 1, that a pixel is taken to have at least: few transitions seldom show all that can change."""
_LEAST_SHRINKAGE = 0.01
_CHUNK = 64
_POOL = 4  # of pixels, before principal components are looked for

Part = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class OwnTransitions:
    """Some rows of transitions: states (n, *S) in float32, actions (n, A) as numbers or one-hot, next states (n, *S).

    Images stay in bytes until they are asked for.
    """

    environment: Environment
    transitions: Transitions
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def _component(self) -> str:
        return "vector" if self.environment.image_shape is None else "image"

    def part(self, start: int, end: int) -> "OwnTransitions":
        return OwnTransitions(self.environment, self.transitions, self.rows[start:end])

    def states(self, index: slice | Tensor = slice(None), following: bool = False) -> Tensor:
        """(n, *S), before the action or after it."""
        seen = self.transitions.next_observation if following else self.transitions.observation
        chosen = torch.from_numpy(seen[self._component][self.rows[index]])
        return chosen.float() / 255 if chosen.dtype == torch.uint8 else chosen

    def actions(self, index: slice | Tensor = slice(None)) -> Tensor:
        """(n, A)."""
        taken = torch.from_numpy(self.transitions.action[self.rows[index]])
        return taken if self.environment.continuous else functional.one_hot(taken, self.environment.actions).float()

    def batch(self, index: slice | Tensor) -> Part:
        """State, action and next state."""
        return self.states(index), self.actions(index), self.states(index, following=True)

    def batches(self) -> Iterator[Part]:
        """All of it, in order, a few at a time."""
        for start in range(0, len(self), _CHUNK):
            yield self.batch(slice(start, start + _CHUNK))

    def kept(self) -> dict[str, Tensor]:
        """All of it by name, as `rlleak.priors.transition_prior.TransitionPrior.transitions` has it."""
        named = dict(zip(("state", "action", "next_state"), self.batch(slice(None)), strict=True))
        scalars = {"reward": self.transitions.reward, "terminated": self.transitions.terminated}
        return named | {name: torch.from_numpy(array[self.rows]) for name, array in scalars.items()}

    def mean(self) -> Tensor:
        """Of the states, S."""
        return (sum(state.double().sum(dim=0) for state, _, _ in self.batches()) / len(self)).float()

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean S and covariance of the states: (D, D) of vectors, of images each pixel's variance, S.

        A vector's correlations are shrunk towards none (Ledoit and Wolf 2004), more the fewer samples there are. Raises
        ConfigurationError where all vectors are the same.
        """
        mean = self.mean()
        if self.environment.image_shape is not None:
            square = sum((state - mean).double().square().sum(dim=0) for state, _, _ in self.batches())
            return mean, (square / len(self)).float() + PIXEL_FLOOR**2
        offset = (self.states() - mean).double()
        variance = offset.square().mean(dim=0)
        if not bool(variance.any()):
            raise ConfigurationError(
                f"all {len(self)} states of the attacker's transitions of {self.environment.name} are the same, so no "
                "prior says how states vary; let another policy play"
            )
        floor = VECTOR_FLOOR**2 * variance.mean()
        deviation = (variance + floor).sqrt()
        standard = offset / deviation
        correlation = standard.T @ standard / len(self) + torch.diag(floor / deviation.square())
        shrinkage = max(float(ledoit_wolf_shrinkage(standard.numpy(), assume_centered=True)), _LEAST_SHRINKAGE)
        correlation = (1 - shrinkage) * correlation + shrinkage * torch.eye(len(deviation), dtype=torch.float64)
        return mean, (deviation[:, None] * correlation * deviation).float()

    def on_one_side(self) -> "OwnTransitions":
        """The half whose states lie above the median along their first principal component; of images, of 4 x 4 means.

        A component's sign is arbitrary: its largest entry is made positive.
        """
        states = torch.cat([self._summary(state) for state, _, _ in self.batches()])
        offset = states - states.mean(dim=0)
        direction = torch.linalg.eigh(offset.T @ offset).eigenvectors[:, -1]
        along = offset @ (direction * direction[direction.abs().argmax()].sign())
        half = torch.sort(along.argsort(descending=True, stable=True)[: len(self) // 2]).values
        return OwnTransitions(self.environment, self.transitions, self.rows[half.numpy()])

    def _summary(self, state: Tensor) -> Tensor:
        small = state if state.dim() == 2 else functional.avg_pool2d(state, _POOL)
        return small.flatten(1).double()

    def shuffled(self, generator: torch.Generator) -> "OwnTransitions":
        """In random order, but each player's together: what is cut off the end was mostly lived by other players."""
        player = self.transitions.victim[self.rows]
        players, place = np.unique(player, return_inverse=True)
        rank = torch.randperm(len(players), generator=generator).numpy()[place]
        order = np.lexsort((torch.rand(len(self.rows), generator=generator).numpy(), rank))
        return OwnTransitions(self.environment, self.transitions, self.rows[order])
