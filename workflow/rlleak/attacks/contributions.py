"""What each sample contributed to a linear layer's gradient, once the samples' columns are known, and how surely."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Contributions:
    """Samples of a batch at a linear layer.

    inputs: (s, n), the layer's inputs. scales: (s,), the factors by which the given columns must be multiplied. error:
    (s,), expected relative error of each input. deviation: (s, n), expected error of each entry. unexplained: share of
    the gradient that is not the sum of the contributions.
    """

    inputs: Tensor
    scales: Tensor
    error: Tensor
    deviation: Tensor
    unexplained: float


def contributions(gradient: Tensor, columns: Tensor) -> Contributions:
    """Solves gradient = sum_i columns_i [x_i, 1]^T s_i for all x_i and s_i by least squares.

    gradient: (m, n + 1), the bias's last. columns: (s, m), linearly independent, each up to its factor s_i. The
    expected errors come from what the fit leaves over, entry by entry (White, 1980): nothing but the gradient enters.
    """
    samples, rows = columns.shape
    inverse = torch.linalg.pinv(columns.T)
    solved = inverse @ gradient
    rest = gradient - columns.T @ solved
    spare = rows / max(rows - samples, 1)
    tiny = torch.finfo(gradient.dtype).tiny
    scales = torch.where(solved[:, -1].abs() > tiny, solved[:, -1], torch.full_like(solved[:, -1], tiny))
    inputs = solved[:, :-1] / scales[:, None]
    by_entry = (inverse.square() @ rest.square() * spare).sqrt() / scales.abs()[:, None]
    deviation = by_entry[:, :-1] + by_entry[:, -1:] * inputs.abs()
    error = deviation.norm(dim=1) / inputs.norm(dim=1).clamp(min=tiny)
    unexplained = float(rest.norm() / gradient.norm().clamp(min=tiny))
    return Contributions(inputs, scales, error, deviation, unexplained)


def doubted(found: Contributions, columns: Tensor, doubt: Tensor) -> Tensor:
    """Relative error of each input, (s,), if the columns (s, m) were wrong by `doubt` (s, m), entry by entry."""
    inverse = torch.linalg.pinv(columns.T)
    length = found.inputs.norm(dim=1) * found.scales.abs()
    return (inverse.square() @ doubt.square().T @ length.square()).sqrt() / length
