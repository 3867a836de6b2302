"""What the attacker knows of an environment before any update: states, rewards and dynamics (He, arXiv 2512.00303).

RGIA adds to the matching of gradients alpha R_s (states), beta R_r (rewards) and gamma R_f (dynamics). The paper's
summary gives no formula for their norms; those below are ours, scaled so that one weight means the same everywhere.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.errors import CorruptArtefactError
from rlleak.learners.normalisation import Statistics
from rlleak.priors.dynamics import Dynamics, build_dynamics, unchanged
from rlleak.registry import unknown_name

VECTOR_FLOOR = 0.02
"""Deviation that a vector's numbers are taken to have at least, as a share of their root mean square deviation: few
transitions seldom show all that can change."""
_KIND = "transition prior"
_OWN, _MODEL = "transition/", "dynamics/"


@dataclass(frozen=True)
class TransitionPrior:
    """Beliefs about one environment's transitions; S is a state's shape, A the size of an action.

    environment: its name. amount: how much was learnt from, e.g. "0.3%". state_mean: S. state_covariance: (D, D) for
    vectors, S for images (each pixel's variance). reward_range: (low, high), or None: not known. reward_deviation: the
    rewards' standard deviation. transitions: the attacker's own that f was *not* learnt from, to try attacks on:
    `state`, `next_state` (K, *S), `action` (K, A), `reward` (K,), `terminated` (K,) bool; empty where there are none.
    dynamics: f, described by dynamics_shape, or None. held_out_error, no_change_error: mean over transitions that f has
    not seen and over the state's numbers of ((f(s, a) - s') / state_scale)^2, of f and of predicting no change (of a
    stack: its newest frame again). metadata: how it was made.
    """

    environment: str
    amount: str
    state_mean: Tensor
    state_covariance: Tensor
    reward_range: tuple[float, float] | None = None
    reward_deviation: float = 1.0
    transitions: Mapping[str, Tensor] = field(default_factory=dict)
    dynamics: Dynamics | None = None
    dynamics_shape: Mapping[str, Any] = field(default_factory=dict)
    held_out_error: float = math.inf
    no_change_error: float = math.inf
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dynamics is not None:
            self.dynamics.eval().requires_grad_(False)

    @property
    def learnt(self) -> bool:
        """Whether f predicts transitions that it has not seen better than "nothing changes" does."""
        return self.dynamics is not None and self.held_out_error < self.no_change_error

    @property
    def state_shape(self) -> tuple[int, ...]:
        return tuple(self.state_mean.shape)

    @property
    def stacked(self) -> bool:
        """Whether a state's channels are successive frames."""
        return ENVIRONMENTS[self.environment].kind == "atari"

    @cached_property
    def state_scale(self) -> Tensor:
        """A deviation of each number of a vector, (D,); of images and one-hot states the root mean square of all, ().

        What never changes among few pixels or places may change among more.
        """
        deviation = self.state_covariance
        if deviation.dim() == 2:
            deviation = deviation.diagonal()
        measured = ENVIRONMENTS[self.environment].kind in ("control", "classic")
        return deviation.sqrt() if measured else deviation.mean().sqrt()

    def state_penalty(self, state: Tensor) -> Tensor:
        """R_s = (s - mu)' Sigma^-1 (s - mu) / D, the squared Mahalanobis distance per number: (..., *S) -> (...).

        The paper pulls states towards those of the prior data; this pulls weakly along what varies there, and is 1 on
        average for states of that distribution. Images have a diagonal Sigma.
        """
        offset = (state - self.state_mean.to(state)).flatten(-len(self.state_shape))
        if self.state_covariance.dim() == 2:
            offset = offset @ self._whitening.to(state)
        else:
            offset = offset / self.state_covariance.to(state).sqrt().flatten()
        return offset.square().mean(dim=-1)

    def reward_penalty(self, reward: Tensor) -> Tensor:
        """R_r = max(0, low - r)^2 + max(0, r - high)^2, elementwise; zeros where no range is known."""
        if self.reward_range is None:
            return torch.zeros_like(reward)
        low, high = self.reward_range
        return (low - reward).clamp_min(0).square() + (reward - high).clamp_min(0).square()

    def predict(self, state: Tensor, action: Tensor) -> Tensor:
        """f(s, a): (..., *S) and (..., A) -> (..., *S); "nothing changes" where f was not learnt.

        action: numbers in [-1, 1], or probabilities of discrete actions.
        """
        shape = state.shape
        state = state.reshape(-1, *self.state_shape)
        if not self.learnt:
            return unchanged(state, self.stacked).reshape(shape)
        return self.dynamics(state, action.reshape(len(state), -1)).reshape(shape)

    def dynamics_penalty(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """R_f = mean over the state's numbers of ((f(s, a) - s') / state_scale)^2, (...); zeros where f was not learnt.

        The paper's ||f(s, a) - s'||_2, squared and per number, so that its weight means the same in every environment.
        """
        lead = state.shape[: state.dim() - len(self.state_shape)]
        if not self.learnt:
            return state.new_zeros(lead)
        error = (self.predict(state, action) - next_state) / self.state_scale.to(state)
        return error.square().reshape(*lead, -1).mean(dim=-1)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> "TransitionPrior":
        """The same beliefs on another device, in another precision; attacks compute in their own."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        moved = {name: move(tensor) for name, tensor in self.transitions.items()}
        dynamics = None
        if self.dynamics is not None:
            # Built anew: `Module.to` would change the one that this prior keeps.
            dynamics = build_dynamics(self.dynamics_shape)
            dynamics.load_state_dict(self.dynamics.state_dict())
            dynamics.to(device=device, dtype=dtype)
        statistics = {name: move(getattr(self, name)) for name in ("state_mean", "state_covariance")}
        return replace(self, **statistics, transitions=moved, dynamics=dynamics)

    def standardised(self, statistics: Statistics) -> "TransitionPrior":
        """The same beliefs about what a network reads that normalises: vectors (s - mean) / deviation."""
        mean, deviation = (value.to(self.state_mean) for value in (statistics.mean, statistics.deviation))
        own = {
            name: statistics.normalised(value) if name in ("state", "next_state") else value
            for name, value in self.transitions.items()
        }
        changed = {
            "state_mean": (self.state_mean - mean) / deviation,
            "state_covariance": self.state_covariance / deviation / deviation[:, None],
        }
        prior = replace(self.to(), **changed, transitions=own)
        if prior.dynamics is not None:
            prior.dynamics.standardise(mean, deviation)
        return prior

    @property
    def statistics(self) -> Statistics | None:
        """What clients who lived like this attacker would normalise with; None of who has lived through nothing."""
        if not self.transitions or len(self.state_shape) != 1:
            return None
        variance = self.state_covariance.diagonal()
        floor = VECTOR_FLOOR**2 / (1 + VECTOR_FLOOR**2) * variance.mean()
        return Statistics.of(self.state_mean, (variance - floor).clamp_min(0))

    @cached_property
    def _whitening(self) -> Tensor:
        """W with W W' = Sigma^-1, (D, D)."""
        factor = torch.linalg.cholesky(self.state_covariance.double())
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        return torch.linalg.solve_triangular(factor, identity, upper=False).T.contiguous()

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file; images of transitions in bytes."""
        tensors = {"state_mean": self.state_mean, "state_covariance": self.state_covariance}
        tensors |= {f"{_OWN}{name}": self._packed(name, tensor) for name, tensor in self.transitions.items()}
        if self.dynamics is not None:
            tensors |= {f"{_MODEL}{name}": tensor for name, tensor in self.dynamics.state_dict().items()}
        kept = ("environment", "amount", "reward_range", "reward_deviation", "dynamics_shape", "metadata")
        described = {name: getattr(self, name) for name in kept}
        # JSON knows no infinity.
        errors = {name: getattr(self, name) for name in ("held_out_error", "no_change_error")}
        described |= {name: value for name, value in errors.items() if math.isfinite(value)}
        write_tensors(path, _KIND, tensors, described)

    @classmethod
    def load(cls, path: str | Path) -> "TransitionPrior":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, described = read_tensors(path, _KIND, ("state_mean", "state_covariance"))
        model = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
        own = {name.removeprefix(_OWN): _unpacked(value) for name, value in tensors.items() if name.startswith(_OWN)}
        try:
            dynamics = build_dynamics(described["dynamics_shape"]) if model else None
            if dynamics is not None:
                dynamics.load_state_dict(model)
            limits = described.pop("reward_range")
            return cls(
                state_mean=tensors["state_mean"],
                state_covariance=tensors["state_covariance"],
                reward_range=None if limits is None else tuple(limits),
                transitions=own,
                dynamics=dynamics,
                **described,
            )
        except (KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CorruptArtefactError(f"{path} holds no whole prior ({reason}); delete it and run again") from error

    def _packed(self, name: str, tensor: Tensor) -> Tensor:
        pixels = name in ("state", "next_state") and len(self.state_shape) == 3
        return (tensor * 255).round().to(torch.uint8) if pixels else tensor


def _unpacked(tensor: Tensor) -> Tensor:
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor


def nothing_known(environment: str) -> TransitionPrior:
    """The prior of who knows the environment's spaces only: no reward range, no f, no transitions.

    Vectors have mean 0 and variance 1; pixels are uniform in [0, 1]. Raises ConfigurationError for an unknown name.
    """
    if environment not in ENVIRONMENTS:
        raise unknown_name("environment", environment, list(ENVIRONMENTS))
    known = ENVIRONMENTS[environment]
    if known.image_shape is None:
        mean, covariance = torch.zeros(known.vector_size), torch.eye(known.vector_size)
    else:
        mean, covariance = torch.full(known.image_shape, 0.5), torch.full(known.image_shape, 1 / 12)
    return TransitionPrior(environment, "none", mean, covariance)
