"""Columns of a batch's error that stand at no single output: the support and the error, both unknown."""

import torch
from torch import Tensor

STARTS = 256
_ITERATIONS = 150
_POLISHES = 3
_MISFIT = 0.02


def search(
    basis: Tensor, head: Tensor, starts: Tensor, signal: Tensor, misfit: float = _MISFIT
) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors `mask * (head^T e)` in a space: masks (n, m) bool, errors e (n, outputs) of length 1, misfits (n,).

    basis: (m, r), orthonormal columns. head: (outputs, m). starts: (s, outputs) and signal: (s, r), the errors and the
    vectors of the space to start from. This is SPEAR's setting (Dimitrov et al., arXiv 2403.03945): the columns of dZ
    are sparse, and lie in the column space of dW. Beyond sparsity, the values on the support are known up to one error
    vector, so the search alternates between the space and the nearest vector of that form (as Talwar, Viberg and
    Paulraj, 1996, do for signals of a finite alphabet) rather than sampling null directions. It may miss some.
    """
    mask, error = _alternate(basis.float(), head.float(), starts.float(), signal.float())
    keep = mask.sum(dim=1) > head.shape[0]
    mask, error = mask[keep], error[keep].to(basis.dtype)
    for _ in range(_POLISHES):
        if not len(mask):
            break
        error = exact_error(basis, head, mask)
        near = (mask * (error @ head)) @ basis @ basis.T
        mask = _mask(near, error @ head)
        alive = mask.any(dim=1)
        mask, error = mask[alive], error[alive]
    nearest = mask * (error @ head)
    left = (nearest - nearest @ basis @ basis.T).norm(dim=1) / nearest.norm(dim=1)
    good = left < misfit
    return mask[good], error[good], left[good]


def _alternate(basis: Tensor, head: Tensor, error: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Where the alternation ends: masks (s, m) and errors (s, outputs)."""
    outputs, width = head.shape
    products = (head[:, None] * head[None]).reshape(outputs * outputs, width)
    signal = signal @ basis.T
    signal = signal * (0.7 * (error @ head).norm(dim=1) / signal.norm(dim=1))[:, None]
    length = error.norm(dim=1, keepdim=True)
    for _ in range(_ITERATIONS):
        mask = _mask(signal, error @ head)
        error = _refit(mask, signal, head, products, error, length)
        signal = (mask * (error @ head)) @ basis @ basis.T
    return _mask(signal, error @ head), error


def _mask(signal: Tensor, values: Tensor) -> Tensor:
    """Where signals (s, m) are nearer to their values than to 0."""
    return signal * values > values.square() / 2


def _refit(mask: Tensor, signal: Tensor, head: Tensor, products: Tensor, before: Tensor, length: Tensor) -> Tensor:
    """The error vectors (s, outputs) that explain signals (s, m) on their masks best, brought to a length (s, 1)."""
    outputs = len(head)
    chosen = mask.to(signal.dtype)
    normal = (chosen @ products.T).view(-1, outputs, outputs)
    scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-30)
    ridge = 1e-5 * scale[:, None, None] * torch.eye(outputs, dtype=signal.dtype, device=signal.device)
    error = torch.linalg.solve(normal + ridge, (chosen * signal) @ head.T)
    size = error.norm(dim=1, keepdim=True)
    return torch.where(size > 1e-20, error * (length / size.clamp(min=1e-30)), before)


def exact_error(basis: Tensor, head: Tensor, mask: Tensor) -> Tensor:
    """For masks (s, m) the errors (s, outputs) of length 1 that bring mask * head^T e nearest to the space."""
    chosen = mask.to(basis.dtype)
    outputs = len(head)
    products = (head[:, None] * head[None]).reshape(outputs * outputs, -1)
    whole = (chosen @ products.T).view(-1, outputs, outputs)
    inside = torch.einsum("sm,om,mr->sor", chosen, head, basis)
    return torch.linalg.eigh(whole - inside @ inside.transpose(1, 2))[1][:, :, 0]
