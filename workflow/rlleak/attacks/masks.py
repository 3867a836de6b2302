"""Which outputs a ReLU let through, when they are known up to small errors: told apart by the bias's gradient.

An output known to 1e-6 that seems to be 1e-7 may be 0, and a single wrong entry spoils the equations of the next layer
(its error is of the size of an activation, not of its own value). But the gradient of a channel's bias is the sum of
delta over its active entries. So: sort a channel's entries, add up delta from the largest down, and cut where the sum
is the bias's gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.targets import reciprocal


@dataclass(frozen=True)
class Mask:
    """active: (V, K, h, w) bool. misfit: (V,), the largest share of a channel's |delta| that the bias's gradient is off
    by; NaN-free, 0 without a bias."""

    active: Tensor
    misfit: Tensor


def cut(values: Tensor, delta: Tensor, bias_gradient: Tensor | None, doubtful: Tensor) -> Mask:
    """The active entries of values (V, K, h, w).

    delta: the loss's derivative by the ReLU's output, (V, K, h, w). bias_gradient: (V, K), or None: everything above 0
    is active. doubtful: (V,), the magnitude below which an entry may be on either side.
    """
    if bias_gradient is None:
        return Mask(values > 0, values.new_zeros(len(values)))
    flat, share = values.flatten(2), delta.flatten(2)
    order = flat.argsort(dim=2, descending=True)
    ordered, share = flat.gather(2, order), share.gather(2, order)
    summed = torch.cat([torch.zeros_like(share[..., :1]), share.cumsum(dim=2)], dim=2)
    off = (summed - bias_gradient[..., None]).abs()
    # A cut stands between two neighbours in the order: the last that is active, the first that is not.
    last = torch.cat([torch.full_like(ordered[..., :1], torch.inf), ordered], dim=2)
    first = torch.cat([ordered, torch.full_like(ordered[..., :1], -torch.inf)], dim=2)
    limit = doubtful[:, None, None]
    off = torch.where((last >= -limit) & (first <= limit), off, torch.inf)
    off, count = off.min(dim=2)
    place = torch.empty_like(order).scatter_(
        2, order, torch.arange(order.shape[2], device=order.device).expand_as(order)
    )
    active = (place < count[..., None]).view_as(values)
    return Mask(active, (off * reciprocal(share.abs().sum(dim=2))).amax(dim=1))
