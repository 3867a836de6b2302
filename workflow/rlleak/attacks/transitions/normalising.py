"""Victims whose networks read normalised states: attacked in what the network reads, told in the environment's units.

Normalisation is a change of units. Algebra and matching give what the network read, (s - mean) / deviation, whoever
knows the statistics; only the last step back to s needs them. Where they are shared that step is exact. Where they stay
at home an attacker takes those of its own transitions, and is right as far as the victim lived through the like.
"""

from collections.abc import Mapping
from dataclasses import replace

from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.learners.normalisation import Statistics
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.sharing.update import SharedUpdate


class Normalised:
    """What the attacker takes for the statistics of an update's victims, by prior, and its priors in their units.

    Without transitions of its own, and told nothing, it takes what the network reads for s itself. What it believes
    without transitions, or reads off the weights, is about what the network reads in any case.
    """

    def __init__(self, update: SharedUpdate, priors: Mapping[str, TransitionPrior]) -> None:
        self._how, self._statistics = update.normalised, {name: _taken(update, prior) for name, prior in priors.items()}
        self.priors = dict(priors)
        for name, statistics in self._statistics.items():
            if statistics is not None and priors[name].transitions:
                self.priors[name] = priors[name].standardised(statistics)

    def restored(self, found: TransitionReconstruction, prior: str) -> TransitionReconstruction:
        """The states in the environment's units, and in the metadata how they came there."""
        if self._how is None:
            return found
        statistics = self._statistics[prior]
        taken = "shared" if self._how == "shared" else "none" if statistics is None else "the attacker's own"
        metadata = {**found.metadata, "normalised": {"statistics": self._how, "taken": taken}}
        if statistics is None:
            return replace(found, metadata=metadata)
        states = {name: statistics.restored(getattr(found, name)) for name in ("state", "next_state")}
        return replace(found, **states, metadata=metadata)


def _taken(update: SharedUpdate, prior: TransitionPrior) -> Statistics | None:
    return prior.statistics if update.normalised == "home" else update.statistics
