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

SAME = 2e-6
"""Share of a channel's |delta| within which two sums are the same to rounding."""
NEIGHBOURS = 24
"""How far from the widest gap entries are tried on the other side, two at a time."""
COINCIDENCES = 0.5
"""How many of these pairs may explain the bias's gradient by chance: where more do, none of them is taken."""
SMALLEST = 1e-6
"""Share of what is doubtful below which sizes are not compared."""


@dataclass(frozen=True)
class Mask:
    """active: (V, K, h, w) bool. off: (V, K), the share of a channel's |delta| that the bias's gradient is off by;
    NaN-free, 0 without a bias."""

    active: Tensor
    off: Tensor

    @property
    def misfit(self) -> Tensor:
        """The worst channel's, (V,)."""
        return self.off.amax(dim=1)


def cut(values: Tensor, delta: Tensor, bias_gradient: Tensor | None, doubtful: Tensor) -> Mask:
    """The active entries of values (V, K, h, w).

    delta: the loss's derivative by the ReLU's output, (V, K, h, w). bias_gradient: (V, K), or None: everything above 0
    is active. doubtful: (V,), the magnitude below which an entry may be on either side.
    """
    if bias_gradient is None:
        return Mask(values > 0, values.new_zeros(values.shape[:2]))
    flat, share = values.flatten(2), delta.flatten(2)
    order = flat.argsort(dim=2, descending=True)
    ordered, share = flat.gather(2, order), share.gather(2, order)
    summed = torch.cat([torch.zeros_like(share[..., :1]), share.cumsum(dim=2)], dim=2)
    off = (summed - bias_gradient[..., None]).abs()
    limit = doubtful[:, None, None]
    # A cut stands between two neighbours in the order: the last that is active, the first that is not.
    above = (ordered.amax(dim=2, keepdim=True) + limit).clamp(min=limit)
    last = torch.cat([above, ordered], dim=2)
    first = torch.cat([ordered, torch.full_like(ordered[..., :1], -torch.inf)], dim=2)
    total = share.abs().sum(dim=2)
    allowed = (last >= -limit) & (first <= limit)
    off = torch.where(allowed, off, torch.inf)
    # Within rounding several cuts may be as good: then the one at the widest gap between neighbours is taken.
    near = torch.maximum(SAME * total, 2 * off.amin(dim=2))[..., None]
    floor = SMALLEST * limit
    gap = (last.clamp(min=0) + floor).log() - (first.clamp(min=0) + floor).log()
    count = torch.where(off <= near, gap, -torch.inf).argmax(dim=2)
    off = off.gather(2, count[..., None])[..., 0]
    place = torch.arange(order.shape[2], device=order.device)
    chosen = place < count[..., None]
    widest = torch.where(allowed, gap, -torch.inf).argmax(dim=2)
    for victim, channel in (off > SAME * total).nonzero().tolist():
        row = (victim, channel)
        _exchange(chosen[row], share[row], bias_gradient[row], int(widest[row]), off[row], SAME * total[row])
    active = torch.zeros_like(chosen).scatter_(2, order, chosen).view_as(values)
    return Mask(active, off * reciprocal(total))


def _exchange(chosen: Tensor, share: Tensor, bias: Tensor, cut: int, off: Tensor, enough: Tensor) -> None:
    """Errors may have exchanged neighbours: up to two entries near the widest gap change sides if that explains it.

    chosen (n,) and off () are changed in place; entries come in their order.
    """
    begin, end = max(0, cut - NEIGHBOURS), min(len(share), cut + NEIGHBOURS)
    place = torch.arange(len(share), device=share.device)
    change = torch.where(place < cut, -share, share)[begin:end]
    missing = bias - share[:cut].sum()
    if len(change) ** 2 / 2 * enough > COINCIDENCES * change.abs().mean():
        return
    change = torch.cat([change, change.new_zeros(1)])
    left = (missing - change[:, None] - change[None]).abs()
    left.fill_diagonal_(torch.inf)
    best = left.argmin()
    if left.flatten()[best] > enough:
        return
    chosen.copy_(place < cut)
    for index in (int(best) // len(change), int(best) % len(change)):
        if index < len(change) - 1:
            chosen[begin + index] ^= True
    off.copy_(left.flatten()[best])
