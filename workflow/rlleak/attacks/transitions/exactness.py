"""How exactly the entries of an update arrived: what its defence, whose parameters are public, may have changed."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks.rounded import largest, rounding_variance
from rlleak.attacks.targets import reciprocal
from rlleak.configuration.defences import parts_of, relative_of
from rlleak.sharing.update import SharedUpdate

ROUNDING = 16
"""Units in the last place of a tensor's largest entry, by which sums in another order differ."""

LEAST = 2.0**-23
"""More exact than float32 nothing is taken to be: squares of deviations have to be told apart in float64."""

_CLIPPING = ("clipping", "clipped_gaussian")


def longest(update: SharedUpdate) -> float | None:
    """The norm to which gradients were shortened, or None."""
    norms = [part["norm"] for part in parts_of(update.defence) if part["method"] in _CLIPPING]
    return min(norms) if norms else None


def deviations(update: SharedUpdate) -> dict[str, Tensor]:
    """The standard deviation of what lies between a gradient (shortened, if it was) and what arrived of it.

    By name, (V, ...) to be broadcast to (V, *shape), float64; of rounding where nothing else is said. Levels of
    quantised numbers are told by the numbers themselves (`rounded.rounding_variance`).
    """
    shared = {name: value.double() for name, value in update.gradients.items()}
    eps = max(torch.finfo(next(iter(update.gradients.values())).dtype).eps, LEAST)
    variances = {name: (ROUNDING * eps * largest(value)).square() for name, value in shared.items()}
    for part in parts_of(update.defence):
        for name, value in shared.items():
            variances[name] = variances[name] + _variance(part, value, update)
    return {name: value.sqrt() for name, value in variances.items()}


def _variance(part: Mapping[str, Any], value: Tensor, update: SharedUpdate) -> Tensor | float:
    match part["method"]:
        case "gaussian_noise" if part.get("variance") is not None:
            return part["variance"]
        case "gaussian_noise":
            return _noise(part, update).view(-1, *[1] * (value.dim() - 1))
        case "clipped_gaussian":
            return (part["noise_multiplier"] * part["norm"]) ** 2
        case "float16":
            # Small numbers are rounded less; so much trust in what is 0 would decide which units are open.
            return rounding_variance(part, torch.maximum(value.abs(), largest(value) / 64))
        case "sign":
            return largest(value).square()
    return rounding_variance(part, value)


def _noise(part: Mapping[str, Any], update: SharedUpdate) -> Tensor:
    """Of noise that is as long as the gradient times a number, (V,): what arrived is as long as both together."""
    relative = relative_of(part)
    square = sum(value.double().flatten(1).square().sum(dim=1) for value in update.gradients.values())
    count = sum(entries_known(update, name).flatten(1).sum(dim=1) for name in update.gradients)
    return relative**2 * square / (1 + relative**2) / count.clamp_min(1)


def entries_known(update: SharedUpdate, name: str) -> Tensor:
    """Which entries of a tensor arrived, (V, *shape) bool."""
    known = update.known.get(name)
    return torch.ones_like(update.gradients[name], dtype=torch.bool) if known is None else known


def precisions(update: SharedUpdate) -> dict[str, Tensor]:
    """1 over the variance of each entry that arrived, 0 where none did; name -> (V, *shape), float64."""
    return {
        name: entries_known(update, name) * reciprocal(deviation.square())
        for name, deviation in deviations(update).items()
    }
