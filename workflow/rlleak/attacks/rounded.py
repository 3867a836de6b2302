"""What the server knows of a defence's own errors: how far off the entries of a shared gradient may be.

The defence and its parameters are public, so the size of its errors is told, not estimated; what it drew is not.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from rlleak.configuration.defences import parts_of
from rlleak.sharing.update import SharedUpdate

HALF = 2.0**-11
"""Largest relative error of IEEE half precision."""

SAME_LEVEL = 1e-5
"""Difference, relative to a bucket's largest number, below which two are of one level: less than any two levels."""


_QUANTISING = {"float16", "int8", "qsgd"}
_INEXACT = _QUANTISING | {"sign", "gaussian_noise", "clipped_gaussian"}
"""Defences behind which a number that arrives is not the gradient's."""


def told_inexact(update: SharedUpdate) -> bool:
    """Whether the server knows that what it reads is a gradient only nearly, by the defence or by how it travelled.

    A step of SGD is a multiple of the gradient; what other optimisers do is undone not at all or not exactly, and a
    difference of weights carries the weights' rounding.
    """
    wire = update.loss.get("wire", {})
    stepped = wire.get("form") == "step" and wire["optimiser"] != "SGD"
    return (
        any(part["method"] in _INEXACT for part in parts_of(update.defence))
        or stepped
        or wire.get("form") == "weight_difference"
        or wire.get("precision") == "float16"
    )


def magnitudes_hidden(update: SharedUpdate) -> bool:
    """Whether of each number only the sign is known: products of factors then tell neither of them."""
    return any(part["method"] == "sign" for part in parts_of(update.defence))


def rounding_variance(part: Mapping[str, Any], value: Tensor) -> Tensor:
    """What quantisation did to each entry of a gradient, as a variance that broadcasts to value, (V, *shape), float64.

    part: what was done, an entry of config/defences.yaml; 0 for what rounds nothing. Levels are told by the numbers
    themselves: the largest of a tensor, or the least of a bucket of QSGD.
    """
    value = value.double()
    match part["method"]:
        case "float16":
            return (HALF * value).square() / 3
        case "int8":
            return (largest(value) / 127).square() / 12
        case "qsgd":
            # A number between two levels goes to either: p (1 - p) of a step's square, in the mean over p a sixth.
            return _step_of_qsgd(value, part.get("bucket", 512)).square() / 6
    return value.new_zeros(len(value), *[1] * (value.dim() - 1))


def rounding_deviation(update: SharedUpdate, name: str) -> Tensor:
    """Standard deviation of what quantisation did to the entries of a gradient, (V,); 0 where there is none."""
    gradient = update.gradients[name].double()
    variance = gradient.new_zeros(len(gradient))
    for part in parts_of(update.defence):
        variance = variance + rounding_variance(part, gradient).flatten(1).mean(dim=1)
    return variance.sqrt()


def told_deviations(update: SharedUpdate, layers: Iterable[str]) -> dict[str, Tensor]:
    """`rounding_deviation` of each linear layer's weight, by the layer's name; nothing where nothing was quantised."""
    if not any(part["method"] in _QUANTISING for part in parts_of(update.defence)):
        return {}
    return {name: rounding_deviation(update, f"{name}.weight") for name in layers}


def largest(value: Tensor) -> Tensor:
    """The largest magnitude of each victim's entries, (V, 1, ...) in as many dimensions."""
    return value.flatten(1).abs().amax(dim=1).view(-1, *[1] * (value.dim() - 1))


def _step_of_qsgd(value: Tensor, bucket: int) -> Tensor:
    """The distance of two levels in each entry's bucket: the least between two numbers there, 0 among them."""
    flat = value.flatten(1)
    parts = torch.nn.functional.pad(flat, (0, -flat.shape[1] % bucket)).unflatten(1, (-1, bucket)).abs()
    ordered = torch.nn.functional.pad(parts.sort(dim=2).values, (1, 0))
    apart = ordered.diff(dim=2)
    apart = torch.where(apart > SAME_LEVEL * ordered[:, :, -1:], apart, torch.inf).amin(dim=2, keepdim=True)
    apart = torch.where(apart.isfinite(), apart, 0.0).expand_as(parts)
    return apart.flatten(1)[:, : flat.shape[1]].view_as(value)
