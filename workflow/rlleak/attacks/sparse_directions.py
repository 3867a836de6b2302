"""Columns of a batch's error that share no single action: the support and the error at the output, both unknown."""

import torch
from torch import Tensor

_STARTS = 256
_ITERATIONS = 150


def search(
    basis: Tensor, head: Tensor, starts: Tensor, generator: torch.Generator, rounds: int, avoid: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors `mask * (head^T e)` in a space: masks (n, m) bool, errors e (n, outputs) of unit length, misfits (n,).

    basis: (m, r), orthonormal columns. head: (outputs, m). starts: (s, outputs), errors to start from; each round takes
    some at random. avoid: (m, k), columns already found, near which no search starts. This is SPEAR's setting (Dimitrov
    et al., arXiv 2403.03945): the columns of dZ are sparse, and lie in the column space of dW. Beyond sparsity, the
    values on the support are known up to one error vector, so the search alternates between the space and the nearest
    vector of that form (as Talwar, Viberg and Paulraj, 1996, do for signals of a finite alphabet) rather than sampling
    null directions. It may miss some.
    """
    outputs, width = head.shape
    products = (head[:, None] * head[None]).reshape(outputs * outputs, width)
    masks, errors, misfits = [], [], []
    for _ in range(rounds):
        draw = torch.randint(len(starts), (_STARTS,), generator=generator).to(basis.device)
        signal = torch.randn(_STARTS, basis.shape[1], generator=generator, dtype=basis.dtype).to(basis.device) @ basis.T
        if avoid is not None and avoid.shape[1]:
            signal = signal - (torch.linalg.lstsq(avoid, signal.T).solution.T @ avoid.T)
        error = starts[draw]
        signal = signal * (0.7 * (error @ head).norm(dim=1) / signal.norm(dim=1))[:, None]
        for _ in range(_ITERATIONS):
            values = error @ head
            mask = signal * values > values.square() / 2
            error = _refit(mask, signal, head, products, error)
            nearest = mask * (error @ head)
            signal = (nearest @ basis) @ basis.T
        size = nearest.norm(dim=1).clamp(min=torch.finfo(basis.dtype).tiny)
        misfit = (signal - nearest).norm(dim=1) / size
        good = (misfit < 0.02) & (mask.sum(dim=1) > outputs)
        masks.append(mask[good])
        errors.append(error[good] / error[good].norm(dim=1, keepdim=True))
        misfits.append(misfit[good])
    return torch.cat(masks), torch.cat(errors), torch.cat(misfits)


def _refit(mask: Tensor, signal: Tensor, head: Tensor, products: Tensor, before: Tensor) -> Tensor:
    """The error vectors (n, outputs) that explain signals (n, m) on their masks best, as long as the ones before."""
    outputs = len(head)
    chosen = mask.to(signal.dtype)
    normal = (chosen @ products.T).view(-1, outputs, outputs)
    scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=torch.finfo(signal.dtype).tiny)
    ridge = 1e-9 * scale[:, None, None] * torch.eye(outputs, dtype=signal.dtype, device=signal.device)
    error = torch.linalg.solve(normal + ridge, (chosen * signal) @ head.T)
    length = error.norm(dim=1, keepdim=True).clamp(min=torch.finfo(signal.dtype).tiny)
    return torch.where(mask.any(dim=1, keepdim=True), error * (before.norm(dim=1, keepdim=True) / length), before)
