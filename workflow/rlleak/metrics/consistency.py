"""Whether restarts of an attack agree: RGIA's ED, SS and CD (He, arXiv 2512.00303, section 5), by formulas of ours.

x_r: all of restart r's reconstruction of a victim, every number in deviations of public transitions (actions as they
are), its batch in the truth's order; F numbers. Distances are ||.|| / sqrt(F), so that 1 is a deviation per number.
Each gives one number per victim, (V,), or None where an attack has a single restart.

Agreeing is not being right: an attack that gives the prior's mean whatever the gradient has ED 0. So SS asks that other
victims' reconstructions differ, and CD how far what is agreed upon lies from the truth.
"""

from itertools import combinations

import numpy as np

from rlleak.metrics.transition_comparison import TransitionComparison


def _restarts(comparison: TransitionComparison) -> np.ndarray | None:
    """(V, R, F), or None."""
    if not comparison.attempt or comparison.failed.shape[1] < 2:
        return None
    return comparison.features(comparison.attempt)


def _distance(difference: np.ndarray) -> np.ndarray:
    """||.|| / sqrt(F) of (..., F)."""
    return np.sqrt(np.square(difference).mean(axis=-1))


def ed(comparison: TransitionComparison) -> np.ndarray | None:
    """ED = mean over pairs of restarts r < q of ||x_r - x_q|| / sqrt(F): 0 where all agree."""
    restarts = _restarts(comparison)
    if restarts is None:
        return None
    pairs = combinations(range(restarts.shape[1]), 2)
    return np.mean([_distance(restarts[:, one] - restarts[:, other]) for one, other in pairs], axis=0)


def cd(comparison: TransitionComparison) -> np.ndarray | None:
    """CD = ||mean over r of x_r - x|| / sqrt(F), x the truth: how far the restarts' centroid is from it."""
    restarts = _restarts(comparison)
    return None if restarts is None else _distance(restarts.mean(axis=1) - comparison.features(comparison.truth))


def ss(comparison: TransitionComparison) -> np.ndarray | None:
    """SS: mean over a victim's restarts of the silhouette (b - a) / max(a, b), in [-1, 1]; clusters are victims.

    a: mean distance to the victim's other restarts; b: to those of the victim whose restarts are nearest. Near 1:
    restarts of one victim agree and victims differ; 0: nothing tells them apart. The victims are those that are scored
    together; None for one alone.
    """
    restarts = _restarts(comparison)
    if restarts is None or len(restarts) < 2:
        return None
    # Takes a second to import, in each job, and few attacks restart.
    from sklearn.metrics import silhouette_samples

    victims, count = restarts.shape[:2]
    labels = np.repeat(np.arange(victims), count)
    return silhouette_samples(restarts.reshape(victims * count, -1), labels).reshape(victims, count).mean(axis=1)
