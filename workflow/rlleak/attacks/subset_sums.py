"""Binary vectors in a linear space: which samples of a batch had which neurons active, found completely."""

from itertools import product

import torch
from torch import Tensor

LARGEST = 36
"""Above this dimension half of a space no longer fits into memory: 2^(dimension / 2) subset sums each."""

UNHEARD = 1e-3
"""Neurons whose weight is below this share of the median say nothing about masks."""

_CHECKS = 8
_SURVIVORS = 4_000_000
_PIECE = 200_000


def pivot_rows(basis: Tensor, usable: Tensor) -> Tensor:
    """Rows of `basis` (m, r) that span all others with small coefficients, (r,): Gram-Schmidt on the largest rest.

    usable: (m,) bool, rows that may be taken.
    """
    rest = torch.where(usable[:, None], basis, torch.zeros_like(basis))
    rows = []
    for _ in range(basis.shape[1]):
        row = int(rest.square().sum(dim=1).argmax())
        direction = rest[row] / rest[row].norm().clamp(min=torch.finfo(basis.dtype).tiny)
        rest = rest - torch.outer(rest @ direction, direction)
        rows.append(row)
    return torch.tensor(rows, device=basis.device)


def all_bits(count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """All vectors of zeros and ones, (2^count, count)."""
    numbers = torch.arange(2**count, device=device)
    return (numbers[:, None] >> torch.arange(count, device=device) & 1).to(dtype)


def supports(basis: Tensor, weights: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """All vectors `weights * mask`, mask of zeros and ones, in a space: masks (n, m) bool, and their misfit (n,).

    basis: (m, r), orthonormal columns. weights: (m,). tolerance: how far, relative to the terms of a sum, a row may be
    from its two values. A vector of the space is fixed by r pivot rows, where it takes one of 2^r values; every other
    row is a subset sum of theirs that must be 0 or its weight. The two halves of the pivots meet in the middle on a few
    such rows (Horowitz and Sahni, 1974), so the search is complete and costs 2^(r / 2). The misfit is relative, in the
    2-norm over all rows. Gives nothing where the rows cannot tell masks apart, or r is above `LARGEST`.
    """
    rows, rank = basis.shape
    nothing = basis.new_zeros((0, rows), dtype=torch.bool), basis.new_zeros(0)
    usable = weights.abs() > UNHEARD * weights.abs().median()
    if not 0 < rank <= min(LARGEST, int(usable.sum()) - 1):
        return nothing
    pivots = pivot_rows(basis, usable)
    if torch.linalg.cond(basis[pivots]) > 1e10:
        return nothing
    sums = basis @ torch.linalg.inv(basis[pivots]) * weights[pivots]
    scaled = sums / torch.where(usable, weights, torch.ones_like(weights))[:, None]
    scaled[~usable] = 0
    width = tolerance * (1 + scaled.abs().sum(dim=1))
    checks = _checks(scaled, width, pivots, usable)
    bits = _meet(scaled[checks], width[checks])
    if bits is None:
        return nothing
    masks, misfits = [], []
    for piece in bits.split(_PIECE):
        values = piece @ sums.T
        mask = usable & (values * weights > weights.square() / 2)
        size = (mask * weights.square()).sum(dim=1)
        misfit = (torch.where(usable, values - mask * weights, 0).square().sum(dim=1) / size.clamp(min=1e-300)).sqrt()
        good = (size > 0) & (misfit < max(0.02, 30 * tolerance))
        masks.append(mask[good])
        misfits.append(misfit[good])
    return torch.cat(masks), torch.cat(misfits)


def _checks(scaled: Tensor, width: Tensor, pivots: Tensor, usable: Tensor) -> Tensor:
    """Rows that tell subset sums apart best: many pivots in them, little room for error, not copies of one another."""
    terms = (scaled.abs() > 10 * width[:, None].clamp(min=1e-9)).sum(dim=1).to(scaled.dtype)
    terms[~usable] = 0
    terms[pivots] = 0
    order = (terms - 1e3 * width.clamp(max=1)).argsort(descending=True)
    chosen: list[int] = []
    for row in order[: 40 * _CHECKS].tolist():
        new = all(float((scaled[row] - scaled[other]).abs().max()) > 0.05 for other in chosen)
        if new and float(terms[row]) > 1:
            chosen.append(row)
        if len(chosen) == 3 * _CHECKS:
            break
    return torch.tensor(chosen, dtype=torch.long, device=scaled.device)


def _meet(scaled: Tensor, width: Tensor) -> Tensor | None:
    """Pivot values (n, r) for which all check rows (c, r) are 0 or 1 to within `width` (c,); None if too many."""
    rank = scaled.shape[1]
    half = rank // 2
    left, right = (all_bits(count, scaled.device, scaled.dtype) for count in (half, rank - half))
    first, second = left @ scaled[:, :half].T, right @ scaled[:, half:].T
    mixing = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0], dtype=scaled.dtype).sqrt().to(scaled.device)
    fewest = None
    for count in range(min(2, len(scaled)), min(_CHECKS, len(scaled)) + 1):
        mix = mixing[:count]
        one, (two, order) = first[:, :count] @ mix, (second[:, :count] @ mix).sort()
        reach = float((width[:count] * mix).sum())
        goals = [sum(bit * float(mix[i]) for i, bit in enumerate(bits)) for bits in product((0, 1), repeat=count)]
        ranges = [_partners(one, two, goal, reach) for goal in goals]
        hits = sum(int(number.sum()) for _, number in ranges)
        if hits <= _SURVIVORS:
            pairs = [_expand(*part, order) for part in ranges]
            a, b = _verified(torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs]), first, second, width)
            return torch.cat([left[a], right[b]], dim=1)
        # One more row doubles the targets, so it only pays where sums coincide by structure rather than by tolerance.
        if fewest is not None and hits > fewest:
            return None
        fewest = hits
    return None


def _partners(one: Tensor, two: Tensor, goal: float, reach: float) -> tuple[Tensor, Tensor]:
    """For each of `one`, where in sorted `two` its partners begin and how many they are: sums within reach of goal."""
    low = torch.searchsorted(two, goal - reach - one)
    return low, torch.searchsorted(two, goal + reach - one, right=True) - low


def _expand(low: Tensor, number: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of both partners of every pair."""
    a = torch.repeat_interleave(torch.arange(len(number), device=number.device), number)
    offset = torch.arange(len(a), device=a.device) - (number.cumsum(0) - number)[a]
    return a, order[low[a] + offset]


def _verified(a: Tensor, b: Tensor, first: Tensor, second: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs whose sums are 0 or 1 in every row, each once."""
    for row in range(len(width)):
        value = first[a, row] + second[b, row]
        good = torch.minimum(value.abs(), (value - 1).abs()) <= width[row]
        a, b = a[good], b[good]
    pairs = torch.unique(torch.stack([a, b], dim=1), dim=0)
    return pairs[:, 0], pairs[:, 1]
