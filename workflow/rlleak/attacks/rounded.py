"""What the server knows of a defence's own errors: how far off the entries of a shared gradient may be.

The defence and its parameters are public, so the size of its errors is told, not estimated; what it drew is not.
"""

import torch
from torch import Tensor

from rlleak.configuration.defences import parts_of
from rlleak.sharing.update import SharedUpdate

HALF = 2.0**-11
"""Largest relative error of IEEE half precision."""


def magnitudes_hidden(update: SharedUpdate) -> bool:
    """Whether of each number only the sign is known: products of factors then tell neither of them."""
    return any(part["method"] == "sign" for part in parts_of(update.defence))


def rounding_deviation(update: SharedUpdate, name: str) -> Tensor:
    """Standard deviation of what quantisation did to the entries of a gradient, (V,); 0 where there is none."""
    gradient = update.gradients[name].double().flatten(1)
    variance = torch.zeros_like(gradient[:, 0])
    for part in parts_of(update.defence):
        if part["method"] == "int8":
            variance = variance + (gradient.abs().amax(dim=1) / 127).square() / 12
        elif part["method"] == "float16":
            variance = variance + HALF**2 / 3 * gradient.square().mean(dim=1)
        elif part["method"] == "qsgd":
            # A number between two levels goes to either: p (1 - p) of a level's square, at most a quarter of it.
            bucket = min(part.get("bucket", 512), gradient.shape[1])
            length = (bucket * gradient.square().mean(dim=1)).sqrt()
            variance = variance + (length / part["levels"]).square() / 4
    return variance.sqrt()
