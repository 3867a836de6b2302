"""Observation normalisation: networks that read (s - mean) / deviation, as gymnasium's NormalizeObservation and
stable-baselines3's VecNormalize have it, without the latter's clipping of observations at 10.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Normalised = Literal["shared", "home"]
"""Whose running statistics: of all clients together, which are then part of the shared model, or each client's own,
which never leave it."""

EPSILON = 1e-8
"""Of the variance, in both libraries."""


@dataclass(frozen=True)
class Statistics:
    """mean, deviation: (D,) or, for each of N transitions its own client's, (N, D)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, mean: Tensor, variance: Tensor) -> "Statistics":
        """From a running mean and variance."""
        return cls(mean, (variance + EPSILON).sqrt())

    def normalised(self, state: Tensor) -> Tensor:
        """What the network reads of states (..., D), of their type; computed in float64, as the libraries do."""
        mean, deviation = (value.to(state.device).double() for value in (self.mean, self.deviation))
        return ((state.double() - mean) / deviation).to(state.dtype)

    def restored(self, seen: Tensor) -> Tensor:
        """The states (..., D) of which the network reads this."""
        mean, deviation = (value.to(seen.device).double() for value in (self.mean, self.deviation))
        return (seen.double() * deviation + mean).to(seen.dtype)
