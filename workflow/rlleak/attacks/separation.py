"""The columns that a batch's gradient of a linear layer is made of: whose neurons were active, by which error.

A layer h = relu(W x + b) under a linear head has the gradient [dW, db] = sum_i d_i [x_i, 1]^T, one term per sample,
with d_i = mask_i * (head^T e_i): zero, or a known multiple of the sample's error, neuron by neuron. So the column space
of [dW, db] is searched for vectors of that form, which no mixture of samples has.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.sparse_directions import STARTS, search
from rlleak.attacks.subset_sums import supports

_TOLERANCES = (1e-8, 1e-7, 1e-6, 3e-6, 1e-5, 2e-5, 4e-5, 8e-5, 2e-4, 1e-3, 1e-2, 3e-2)
_MOST = 256


@dataclass(frozen=True)
class Space:
    """Column space of a gradient: basis (m, r); noise: the share that a batch of its size cannot explain."""

    basis: Tensor
    noise: float

    @property
    def rank(self) -> int:
        return self.basis.shape[1]


@dataclass(frozen=True)
class Columns:
    """Candidates: masks (n, m) bool, errors (n, outputs) up to a factor, misfits (n,) relative."""

    masks: Tensor
    errors: Tensor
    misfits: Tensor

    def __len__(self) -> int:
        return len(self.masks)

    def take(self, chosen: Tensor) -> "Columns":
        return Columns(self.masks[chosen], self.errors[chosen], self.misfits[chosen])

    def deltas(self, head: Tensor) -> Tensor:
        """mask * head^T e, (n, m)."""
        return self.masks * (self.errors @ head)


def column_space(gradient: Tensor, batch_size: int) -> Space:
    """The space that the samples' columns span, of a gradient (m, n) of a linear layer with bias, in float64.

    Its rank is the batch size, or less where samples coincide, have no error or no active neuron. What lies beyond the
    batch size's singular values is rounding or noise; values not above it are not counted.
    """
    rows, columns = gradient.shape
    drawn = min(rows, columns, batch_size + 10)
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(columns, drawn, generator=generator, dtype=gradient.dtype).to(gradient.device)
    reach = torch.linalg.qr(gradient @ probe)[0]
    left, values, _ = torch.linalg.svd(reach.T @ gradient, full_matrices=False)
    total = float(gradient.norm())
    if total == 0:
        return Space(gradient.new_zeros((rows, 0)), 0.0)
    largest = min(batch_size, rows - 1)
    floor = max(float(values[largest]) if drawn > largest else 0.0, 1e-14 * float(values[0]))
    rank = int((values[:largest] > 5 * floor).sum())
    basis = reach @ left[:, :rank]
    return Space(basis, float((gradient - basis @ (basis.T @ gradient)).norm()) / total)


def one_action_columns(space: Space, head: Tensor) -> Columns:
    """All columns whose error is at one output alone: complete up to rank `subset_sums.LARGEST`.

    head: (outputs, m). The tolerance starts at what float64 gives and grows until the columns found span the space.
    """
    found = no_columns(space, head)
    for tolerance in _TOLERANCES:
        parts = [found]
        for action in range(len(head)):
            masks, misfits = supports(space.basis, head[action], tolerance)
            error = torch.zeros(len(masks), len(head), dtype=head.dtype, device=head.device)
            error[:, action] = 1.0
            parts.append(Columns(masks, error, misfits))
        found = distinct(parts)
        if len(found) and spanned(found, space, head) >= space.rank:
            break
    return found


def any_error_columns(
    space: Space, head: Tensor, found: Columns, starts: Tensor, generator: torch.Generator, rounds: int
) -> Columns:
    """What `found` lacks, by the alternating search, for errors of any direction (policy gradients).

    starts: (k, outputs), likely directions of errors; half of the starts take one, half a random mixture. Every other
    round starts away from what was found.
    """
    for turn in range(rounds):
        if spanned(found, space, head) >= space.rank:
            break
        likely = starts[torch.randint(len(starts), (STARTS // 2,), generator=generator).to(head.device)]
        mixed = torch.randn(STARTS // 2, len(starts), generator=generator, dtype=head.dtype).to(head.device) @ starts
        signal = torch.randn(STARTS, space.rank, generator=generator, dtype=head.dtype).to(head.device)
        if turn % 2 and len(found):
            known = torch.linalg.qr((found.deltas(head) @ space.basis).T)[0]
            share = torch.rand(STARTS, 1, generator=generator, dtype=head.dtype).to(head.device)
            signal = signal - share.sqrt() * (signal @ known @ known.T)
        found = distinct([found, Columns(*search(space.basis, head, torch.cat([likely, mixed]), signal))])
    return found


def spanned(columns: Columns, space: Space, head: Tensor) -> int:
    """How many dimensions of the space columns span."""
    return len(independent(columns, space, head, columns.misfits))


def independent(columns: Columns, space: Space, head: Tensor, order: Tensor) -> Tensor:
    """Indices of linearly independent columns, those of lowest `order` first, at most the rank of the space."""
    vectors = columns.deltas(head) @ space.basis
    vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-300)
    chosen, taken = [], vectors.new_zeros((0, space.rank))
    for index in order.argsort(stable=True).tolist():
        if len(chosen) == space.rank:
            break
        rest = vectors[index]
        for _ in range(2):
            rest = rest - (taken @ rest) @ taken
        if float(rest.norm()) > max(1e-3, 10 * float(columns.misfits[index])):
            chosen.append(index)
            taken = torch.cat([taken, (rest / rest.norm())[None]])
    return torch.tensor(chosen, dtype=torch.long, device=vectors.device)


def distinct(parts: list[Columns]) -> Columns:
    """Each column once, best first, at most `_MOST`."""
    joined = Columns(*(torch.cat([getattr(part, name) for part in parts]) for name in ("masks", "errors", "misfits")))
    joined = joined.take(joined.misfits.argsort(stable=True))
    kept: list[int] = []
    direction = joined.errors / joined.errors.norm(dim=1, keepdim=True).clamp(min=1e-300)
    for index in range(len(joined)):
        others = torch.tensor(kept, dtype=torch.long, device=joined.masks.device)
        same = (joined.masks[others] == joined.masks[index]).float().mean(dim=1) > 0.999
        along = (direction[others] @ direction[index]).abs() > 0.999
        if not bool((same & along).any()):
            kept.append(index)
        if len(kept) == _MOST:
            break
    return joined.take(torch.tensor(kept, dtype=torch.long, device=joined.masks.device))


def no_columns(space: Space, head: Tensor) -> Columns:
    """Nothing found yet."""
    rows = len(space.basis)
    return Columns(
        torch.zeros(0, rows, dtype=torch.bool, device=head.device), head.new_zeros((0, len(head))), head.new_zeros(0)
    )
