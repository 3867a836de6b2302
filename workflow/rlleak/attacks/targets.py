"""How far a candidate's gradient is from the shared one, layer by layer, and the derivative of that distance.

The gradient of a linear layer over one transition is delta input^T. Neither the candidate's nor, where the shared one
has rank 1 to rounding, the victim's is ever formed: all that eq. 5 needs are dot products of factors. This is
arithmetic, not an attack: the loss is the one of eq. 5 over all entries. A shared gradient of higher rank (noise,
pruning) is kept as it came. Distances are sums of squares of differences, never 1 - cosine, which float32 rounds to
1e-7 long before a box is known to 1e-4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.errors import ConfigurationError

RANK_ONE = 1e-5
"""A shared gradient is taken as delta input^T if the relative residual is below this (rounding gives 1e-7)."""

SKIP_ROWS_FROM = 1024
"""Inputs of a layer from which skipping a dead unit's row is worth finding it."""

LossName = Literal["cosine", "mse"]


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner product of each victim, (N,)."""
    return (first.flatten(1) * second.flatten(1)).sum(dim=1)


def square_of(value: Tensor) -> Tensor:
    """Inner product of each victim with itself, (N,), in one go over memory and without another tensor of its size."""
    return torch.linalg.vector_norm(value.flatten(1), dim=1).square()


def reciprocal(value: Tensor) -> Tensor:
    """1 / value, and 0 where the value is 0: a victim without a gradient gets no direction, not NaN."""
    return torch.where(value > 0, 1 / value.clamp(min=torch.finfo(value.dtype).tiny), torch.zeros_like(value))


@dataclass
class LinearGradient:
    """Candidate gradient of one linear layer: delta (N, outputs), input (N, inputs), and whether it has a bias."""

    delta: Tensor
    input: Tensor
    bias: bool

    @cached_property
    def delta_square(self) -> Tensor:
        return square_of(self.delta)

    @cached_property
    def input_square(self) -> Tensor:
        """The input's square, and 1 for the bias's."""
        return square_of(self.input) + float(self.bias)

    def squared_norm(self) -> Tensor:
        return self.delta_square * self.input_square


Sides = tuple[Tensor, Tensor]
Finish = Callable[[Tensor], Sides]
"""Called with shrink (N,): (R input, R^T delta), the derivatives by delta and by input, for R - shrink * candidate."""


@dataclass
class FactoredTarget:
    """Shared gradient of rank 1: delta (N, outputs), input (N, inputs), constant (N,): the bias's input, or 0."""

    delta: Tensor
    input: Tensor
    constant: Tensor
    square: Tensor

    def __post_init__(self) -> None:
        self.negative_input, self.delta_square = -self.input, square_of(self.delta)
        self.inverse = reciprocal(self.delta_square)

    def take(self, rows: Tensor) -> "FactoredTarget":
        return FactoredTarget(self.delta[rows], self.input[rows], self.constant[rows], self.square[rows])

    def residual(self, candidate: LinearGradient, scale: Tensor) -> tuple[Tensor, Finish]:
        """|R|^2 for R = scale * candidate - target, bias included, and what is left to be done for its derivatives.

        R splits into (scale * delta - k * delta_t) input^T + delta_t (k * input - input_t)^T with k such that the two
        are orthogonal, so neither of its small parts is a difference of large squares.
        """
        delta, inputs = candidate.delta, candidate.input
        common = dot(delta, self.delta)
        ratio = scale * common * self.inverse
        across = scale[:, None] * delta - ratio[:, None] * self.delta
        along = torch.addcmul(self.negative_input, inputs, ratio[:, None])
        along_bias = ratio - self.constant if candidate.bias else torch.zeros_like(ratio)
        square = square_of(across) * candidate.input_square
        square = square + self.delta_square * (square_of(along) + along_bias.square())

        def finish(shrink: Tensor) -> Sides:
            by_delta = (
                across * candidate.input_square[:, None] + self.delta * (dot(along, inputs) + along_bias)[:, None]
            )
            by_delta = by_delta - (shrink * candidate.input_square)[:, None] * delta
            own = dot(across, delta) - shrink * candidate.delta_square
            return by_delta, along.mul_(common[:, None]).addcmul_(inputs, own[:, None])

        return square, finish


@dataclass
class MatrixTarget:
    """Shared gradient of any rank: matrix (N / restarts, outputs, inputs), bias (N / restarts, outputs) or None.

    Each victim's is met by `restarts` candidates, one after another. Nothing of the matrix's size is ever made.
    """

    matrix: Tensor
    bias: Tensor | None
    square: Tensor
    restarts: int = 1

    def take(self, rows: Tensor) -> "MatrixTarget":
        restarts, rest = divmod(len(rows), len(self.matrix))
        victims = torch.arange(len(self.matrix), device=rows.device)
        if rest == 0 and torch.equal(rows, victims.repeat_interleave(restarts)):
            return MatrixTarget(self.matrix, self.bias, self.square[rows], restarts)
        return MatrixTarget(self.matrix[rows], None if self.bias is None else self.bias[rows], self.square[rows])

    def residual(self, candidate: LinearGradient, scale: Tensor) -> tuple[Tensor, Finish]:
        """As `FactoredTarget.residual`, to the rounding of a difference of squares."""
        delta, inputs = candidate.delta, candidate.input
        # In this order of factors: the other one is slow where the second is a single column.
        by_input = torch.bmm(self._grouped(inputs), self.matrix.transpose(1, 2))
        if self.bias is not None:
            by_input += self.bias[:, None]
        by_input = by_input.flatten(0, 1)
        square = scale.square() * candidate.squared_norm() - 2 * scale * dot(by_input, delta) + self.square

        def finish(shrink: Tensor) -> Sides:
            own = scale - shrink
            by_delta = (own * candidate.input_square)[:, None] * delta - by_input
            return by_delta, (own * candidate.delta_square)[:, None] * inputs - self._weighted_rows(delta)

        return square.clamp(min=0), finish

    def _grouped(self, value: Tensor) -> Tensor:
        return value.unflatten(0, (-1, self.restarts))

    def _weighted_rows(self, delta: Tensor) -> Tensor:
        """delta^T matrix, (N, inputs). On a CPU only rows of living units are read: memory is what this waits for."""
        if delta.device.type != "cpu" or self.restarts > 1 or self.matrix.shape[2] < SKIP_ROWS_FROM:
            return torch.bmm(self._grouped(delta), self.matrix).flatten(0, 1)
        living = delta.flatten().nonzero()[:, 0]
        ends = (delta != 0).sum(dim=1).cumsum(dim=0)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        weights = delta.flatten()[living]
        return F.embedding_bag(living, self.matrix.flatten(0, 1), starts, mode="sum", per_sample_weights=weights)


def linear_target(weight: Tensor, bias: Tensor | None) -> FactoredTarget | MatrixTarget:
    """The shared gradient of a linear layer, (N, outputs, inputs) and (N, outputs), as factors if it has rank 1."""
    victims = torch.arange(len(weight), device=weight.device)
    squares = torch.linalg.vector_norm(weight, dim=2).square()
    squares = squares if bias is None else squares + bias.square()
    square, strongest = squares.sum(dim=1), squares.argmax(dim=1)
    inputs = weight[victims, strongest]
    constant = bias[victims, strongest] if bias is not None else torch.zeros_like(square)
    inverse = reciprocal(square_of(inputs) + constant.square())
    delta = torch.bmm(inputs[:, None], weight.transpose(1, 2))[:, 0]
    delta = (delta if bias is None else delta + bias * constant[:, None]) * inverse[:, None]
    error = torch.zeros_like(square)
    for victim in range(len(weight)):  # one at a time: a formed gradient of the default network is 30 MB
        missing = torch.addr(weight[victim], delta[victim], inputs[victim], alpha=-1).flatten()
        error[victim] = missing.dot(missing)
        if bias is not None:
            error[victim] += (bias[victim] - delta[victim] * constant[victim]).square().sum()
    if (error <= RANK_ONE**2 * square).all():
        return FactoredTarget(delta, inputs, constant, square)
    return MatrixTarget(weight, bias, square)


@dataclass
class DenseTarget:
    """Shared gradient of a convolution: minus its kernels (taps, N, ., channels) in blocks, bias (N, channels).

    known: 1 where an entry of the kernels and of the bias arrived, else 0, in their shapes; None: all did.
    """

    negative_kernels: Tensor
    bias: Tensor | None
    square: Tensor
    known: tuple[Tensor | None, Tensor | None] = (None, None)
    _residual: Tensor | None = None

    def seen(self, kernels: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Of a candidate's gradient what there is a shared one of; the rest of it becomes 0, where it lies."""
        parts = zip((kernels, bias), self.known, strict=True)
        return tuple(part if mask is None or part is None else part.mul_(mask) for part, mask in parts)

    def residual(self, kernels: Tensor, scale: Tensor) -> Tensor:
        """scale * kernels - target, in memory that the next call writes over."""
        if self._residual is None:
            self._residual = torch.empty_like(self.negative_kernels)
        return torch.addcmul(self.negative_kernels, kernels, scale.view(1, -1, 1, 1), out=self._residual)

    def take(self, rows: Tensor) -> "DenseTarget":
        kernels, bias = self.known
        known = (None if kernels is None else kernels[:, rows], None if bias is None else bias[rows])
        own = None if self.bias is None else self.bias[rows]
        return DenseTarget(self.negative_kernels[:, rows], own, self.square[rows], known)


def kernel_square(kernels: Tensor) -> Tensor:
    """Square of each victim of a (taps, N, inputs, channels) tensor, (N,)."""
    return torch.linalg.vector_norm(kernels.flatten(2), dim=2).square().sum(dim=0)


class MatchingLoss:
    """Distance between a candidate's gradient and the shared one over a set of layers, for N victims at once.

    "cosine" is eq. 5, computed as half the squared distance of the two unit gradients; "mse" is DLG's squared distance,
    in units of the shared gradient's own square (same minimiser; comparable between victims).
    """

    def __init__(
        self,
        linear: dict[str, FactoredTarget | MatrixTarget],
        dense: list[DenseTarget],
        loss: LossName,
        rows: Tensor | None = None,
    ) -> None:
        """rows: the target that each candidate is measured against; None: one candidate each, in order.

        Raises ConfigurationError for a gradient that is too long to be squared in its own precision.
        """
        if rows is not None and len(rows) != len(next(iter(linear.values())).square):
            linear = {name: target.take(rows) for name, target in linear.items()}
            dense = [target.take(rows) for target in dense]
        self.linear, self.dense, self.loss = linear, dense, loss
        self.square = sum(target.square for target in [*linear.values(), *dense])
        if not bool(self.square.isfinite().all()):
            raise ConfigurationError(
                f"a shared gradient is too long to be squared in {self.square.dtype}, so nothing can be matched with "
                "it; scale the loss, share it in float64, or attack it with closed_form"
            )
        self.inverse_square = reciprocal(self.square)
        self.inverse_norm = self.inverse_square.sqrt()

    def __call__(
        self, linear: dict[str, LinearGradient], dense: list[tuple[Tensor, Tensor | None]]
    ) -> tuple[Tensor, dict[str, Sides], list[tuple[Tensor, Tensor | None]], Tensor]:
        """Loss (N,); its derivative by each linear layer's (delta, input); by each convolution's (kernels, bias).

        All derivatives are to be multiplied by the last, unit (N,): once, behind everything that is linear in them.
        """
        square = sum(gradient.squared_norm() for gradient in linear.values())
        dense = [target.seen(*gradient) for target, gradient in zip(self.dense, dense, strict=True)]
        for kernels, bias in dense:
            square = square + kernel_square(kernels) + (square_of(bias) if bias is not None else 0)
        inverse = reciprocal(square)
        cosine = self.loss == "cosine"
        scale = (self.square * inverse).sqrt() if cosine else torch.ones_like(square)

        distance, finish, residuals = torch.zeros_like(square), {}, []
        for name, gradient in linear.items():
            part, finish[name] = self.linear[name].residual(gradient, scale)
            distance = distance + part
        for (kernels, bias), target in zip(dense, self.dense, strict=True):
            rest = target.residual(kernels, scale)
            rest_bias = None if bias is None else scale[:, None] * bias - target.bias
            distance = distance + kernel_square(rest) + (0 if bias is None else square_of(rest_bias))
            residuals.append((rest, rest_bias))

        relative = distance * self.inverse_square
        # Where the candidate itself has no gradient (all ReLUs dead) the cosine is taken as 0 and the loss as 1.
        loss = torch.where(square > 0, relative / 2, torch.ones_like(relative)) if cosine else relative
        unit = inverse.sqrt() * self.inverse_norm if cosine else 2 * self.inverse_square
        # A cosine's derivative by a gradient is its residual less what only makes the gradient longer.
        shrink = loss * scale if cosine else torch.zeros_like(loss)

        by_linear = {name: finish[name](shrink) for name in linear}
        by_dense = []
        for (kernels, bias), (rest, rest_bias) in zip(dense, residuals, strict=True):
            if cosine:
                rest.addcmul_(kernels, shrink.view(1, -1, 1, 1), value=-1)
            by_dense.append((rest, None if bias is None else rest_bias - shrink[:, None] * bias))
        return loss, by_linear, by_dense, unit
