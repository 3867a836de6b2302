"""Updates as flat vectors, in an order that clients and server know: what cryptography works on."""

from collections.abc import Mapping
from itertools import pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

from rlleak.errors import ProtocolError

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter name -> shape, in the order in which numbers follow one another."""


def shapes_of(update: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of an update's tensors."""
    return {name: tuple(value.shape) for name, value in update.items()}


def count(shapes: Shapes) -> int:
    """How many numbers an update holds."""
    return sum(prod(shape) for shape in shapes.values())


def flattened(update: Mapping[str, Tensor], shapes: Shapes, limit: float) -> np.ndarray:
    """The update's numbers, float32 (N,), in the order of `shapes`.

    Raises ProtocolError for tensors that are missing, extra, of another shape or of no real numbers, for NaN and Inf,
    and for numbers larger than the limit in magnitude, all of which would spoil the sum of everybody unseen.
    """
    if odd := sorted(set(update) ^ set(shapes)):
        raise ProtocolError(f"the update's tensors are not those agreed on ({', '.join(odd)}); send the network's own")
    flat = np.empty(count(shapes), dtype=np.float32)
    start = 0
    for name, shape in shapes.items():
        tensor = update[name].detach()
        if tuple(tensor.shape) != tuple(shape):
            raise ProtocolError(f"'{name}' has shape {tuple(tensor.shape)}, agreed on is {tuple(shape)}; send that")
        if not tensor.is_floating_point():
            raise ProtocolError(f"'{name}' holds {tensor.dtype}, no floating-point numbers; send those")
        if not bool(torch.isfinite(tensor).all()):
            raise ProtocolError(f"'{name}' holds NaN or Inf; leave this round out")
        largest = float(tensor.abs().max()) if tensor.numel() else 0.0
        if largest > limit:
            raise ProtocolError(f"'{name}' holds {largest:.3g}, beyond ±{limit:g}; clip the update or raise the limit")
        flat[start : start + tensor.numel()] = tensor.flatten().to("cpu", torch.float32).numpy()
        start += tensor.numel()
    return flat


def unflattened(flat: np.ndarray, shapes: Shapes) -> dict[str, Tensor]:
    """The tensors of a flat vector (N,), in its precision."""
    ends = np.cumsum([0, *(prod(shape) for shape in shapes.values())])
    parts = (torch.from_numpy(flat[start:end]) for start, end in pairwise(ends))
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
