"""Victims that normalise what they observe, by running statistics of their own experience."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlleak.errors import CorruptArtefactError
from rlleak.learners.normalisation import Normalised, Statistics
from rlleak.simulators.transitions import Transitions

if TYPE_CHECKING:
    from rlleak.sharing.update import SharedUpdate


def statistics_of(experience: Transitions, normalised: Normalised, clients: Transitions) -> Statistics:
    """What each transition's client normalises with.

    "home": its own statistics, (N, D). "shared": those of all clients, merged by how many states each met, (D,).
    Raises CorruptArtefactError where the experience holds none, as where states are images.
    """
    lived = experience.lived
    if not lived:
        raise CorruptArtefactError(
            f"the experience of {experience.environment} holds no running statistics of vectors; delete it and play "
            "again, or take a network that does not normalise"
        )
    if normalised == "home":
        return Statistics.of(*(torch.from_numpy(lived[name].copy()) for name in ("mean", "variance")))
    first = [int((clients.victim == victim).argmax()) for victim in clients.victims]
    mean, variance, count = (clients.lived[name][first] for name in ("mean", "variance", "count"))
    whole = np.average(mean, axis=0, weights=count)
    spread = np.average(variance + np.square(mean - whole), axis=0, weights=count)
    return Statistics.of(torch.from_numpy(whole), torch.from_numpy(spread))


def as_seen(experience: Transitions, statistics: Statistics) -> Transitions:
    """The transitions as the clients' networks read them: states before and after alike."""
    seen = {
        group: {"vector": statistics.normalised(torch.from_numpy(getattr(experience, group)["vector"])).numpy()}
        for group in ("observation", "next_observation")
    }
    return replace(experience, **seen)


def announced(update: SharedUpdate, normalised: Normalised, statistics: Statistics) -> SharedUpdate:
    """The update with what the server knows of it: that its clients normalise, and by what if that is shared."""
    if normalised == "home":
        return replace(update, normalised=normalised)
    told = {f"statistics/{name}": getattr(statistics, name) for name in ("mean", "deviation")}
    return replace(update, normalised=normalised, others={**update.others, **told})
