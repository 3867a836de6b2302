"""Reconstructed transitions laid beside the true ones, sample by sample, in units of what varies in public ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlleak.configuration.environments import Environment
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.errors import CorruptArtefactError

if TYPE_CHECKING:
    from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
    from rlleak.priors.transition_prior import TransitionPrior
    from rlleak.sharing.private import PrivateSide

PARTS = ("state", "action", "reward", "next_state")
Arrays = Mapping[str, np.ndarray]
Successor = Callable[[np.ndarray, np.ndarray], np.ndarray | None]
"""From states (N, D) and actions, (N,) whole numbers or (N, A), to the states that really follow, NaN where the
simulator cannot go on; None where it cannot be put into a state."""


@dataclass(frozen=True)
class Units:
    """What one unit of error is: a deviation of each number of a state, (D,) or (), and of the reward, among public
    transitions. They are not the victims' own, so that no score depends on who else is scored."""

    state: np.ndarray
    reward: float

    @classmethod
    def of(cls, prior: TransitionPrior) -> Units:
        return cls(prior.state_scale.numpy().astype(np.float64), max(prior.reward_deviation, 1e-3))

    def scaled(self, part: str, values: np.ndarray) -> np.ndarray:
        """(..., n) in deviations; actions are in [-1, 1] or probabilities and stay."""
        if part == "action":
            return values
        return values / (self.reward if part == "reward" else self.state)


@dataclass(frozen=True)
class TransitionComparison:
    """What an attacker claims of V updates over B transitions each, R times, beside what is true; all float64.

    attempt: part -> (V, R, B, n), in the truth's order; all attacks give all parts. truth: part -> (V, B, n). chosen:
    (V,), the restart that the attack prefers. failed: (V, R) bool, whether anything is NaN or infinite; such a part is
    zeros, which for a discrete action is none at all. gradient_error: (V,), of the chosen one. seconds: (V,) or None.
    known: (V,), share of an update's transitions that the attacker had played itself, or None.
    """

    environment: Environment
    attempt: Arrays
    truth: Arrays
    chosen: np.ndarray
    failed: np.ndarray
    gradient_error: np.ndarray
    units: Units
    thresholds: TransitionThresholds
    successor: Successor
    seconds: np.ndarray | None
    known: np.ndarray | None = None

    def pair(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The chosen attempt and the truth, (V, B, n) each, or None where the attack does not give the part."""
        if part not in self.attempt:
            return None
        return self.attempt[part][np.arange(len(self.chosen)), self.chosen], self.truth[part]

    def features(self, part_of: Arrays) -> np.ndarray:
        """All given parts of a whole update as one vector (..., F), in deviations; from parts (..., B, n)."""
        scaled = [self.units.scaled(part, part_of[part]) for part in self.attempt]
        return np.concatenate([values.reshape(*values.shape[:-2], -1) for values in scaled], axis=-1)


def compare_transitions(
    reconstruction: TransitionReconstruction,
    private: PrivateSide,
    environment: Environment,
    units: Units,
    thresholds: TransitionThresholds,
    successor: Successor,
) -> TransitionComparison:
    """Lays both sides beside each other; private: B consecutive rows per update.

    A batch has no order, and no restart has another's: the samples of each restart are assigned to the true ones for
    the smallest sum, over all parts given, of mean squared errors in deviations. Raises CorruptArtefactError where
    shapes do not fit or the truth lacks a part.
    """
    victims, restarts, batch = reconstruction.reward.shape
    truth = _truth(private, environment, victims, batch)
    attempt: dict[str, np.ndarray] = {}
    failed = np.zeros((victims, restarts), bool)
    for part, claimed in reconstruction.components.items():
        claimed = np.asarray(claimed, np.float64).reshape(victims, restarts, batch, -1)
        if claimed.shape[-1] != truth[part].shape[-1]:
            raise CorruptArtefactError(
                f"the reconstructed {part} has {claimed.shape[-1]} numbers, the private one {truth[part].shape[-1]}; "
                "they belong to different environments: invert again"
            )
        broken = ~np.isfinite(claimed).reshape(victims, restarts, -1).all(axis=2)
        failed |= broken
        attempt[part] = np.where(broken[..., None, None], 0.0, claimed)
    spent = dict(reconstruction.metadata).get("seconds_per_victim")
    chosen = np.asarray(reconstruction.chosen)
    return TransitionComparison(
        environment,
        _in_order(attempt, truth, units),
        truth,
        chosen,
        failed,
        np.asarray(reconstruction.gradient_error, np.float64)[np.arange(victims), chosen],
        units,
        thresholds,
        successor,
        None if spent is None else np.broadcast_to(np.asarray(spent, np.float64), (victims,)).copy(),
    )


def _truth(private: PrivateSide, environment: Environment, victims: int, batch: int) -> dict[str, np.ndarray]:
    component = "vector" if environment.image_shape is None else "image"
    named = {
        "state": getattr(private, component),
        "action": private.continuous_action if environment.continuous else private.action,
        "reward": private.reward,
        "next_state": getattr(private, f"next_{component}"),
    }
    if missing := [name for name, value in named.items() if value is None]:
        raise CorruptArtefactError(f"the private side lacks the {missing[0]} of its transitions; share them again")
    if len(private) != victims * batch:
        raise CorruptArtefactError(
            f"the private side holds {len(private)} transitions and {victims} updates over {batch} were inverted; "
            "invert again"
        )
    arrays = {name: np.asarray(value, np.float64) for name, value in named.items()}
    if not environment.continuous:
        arrays["action"] = np.eye(environment.actions)[np.asarray(named["action"])]
    return {name: array.reshape(victims, batch, -1) for name, array in arrays.items()}


def _in_order(attempt: dict[str, np.ndarray], truth: Arrays, units: Units) -> dict[str, np.ndarray]:
    """Samples of a batch moved to the places of the true ones that they are assigned to."""
    if not attempt:
        return attempt
    victims, restarts, batch, _ = next(iter(attempt.values())).shape
    if batch == 1:
        return attempt
    # Takes half a second to import, in each job, and most are of batch 1.
    from scipy.optimize import linear_sum_assignment

    order = np.zeros((victims, restarts, batch), int)
    for victim, restart in np.ndindex(victims, restarts):
        cost = np.zeros((batch, batch))
        for part, claimed in attempt.items():
            one, other = (units.scaled(part, side) for side in (claimed[victim, restart], truth[part][victim]))
            cost += np.stack([np.square(sample - other).mean(axis=1) for sample in one], axis=1)
        _, order[victim, restart] = linear_sum_assignment(cost)
    return {part: np.take_along_axis(claimed, order[..., None], axis=2) for part, claimed in attempt.items()}
