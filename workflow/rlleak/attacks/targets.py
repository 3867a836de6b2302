"""How far a candidate's gradient is from the shared one, layer by layer, and the derivative of that distance.

The gradient of a linear layer over one transition is delta input^T. Neither the candidate's nor, where the shared one
has rank 1 to rounding, the victim's is ever formed: all that eq. 5 needs are dot products of factors. This is
arithmetic, not an attack: the loss is the one of eq. 5 over all entries. A shared gradient of higher rank (noise,
pruning) is kept as it came. Distances are sums of squares of differences, never 1 - cosine, which float32 rounds to
1e-7 long before a box is known to 1e-4.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

RANK_ONE = 1e-5
"""A shared gradient is taken as delta input^T if the relative residual is below this (rounding gives 1e-7)."""

LossName = Literal["cosine", "mse"]


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner product of each victim, (N,)."""
    return (first.flatten(1) * second.flatten(1)).sum(dim=1)


def reciprocal(value: Tensor) -> Tensor:
    """1 / value, and 0 where the value is 0: a victim without a gradient gets no direction, not NaN."""
    return torch.where(value > 0, 1 / value.clamp(min=torch.finfo(value.dtype).tiny), torch.zeros_like(value))


@dataclass
class LinearGradient:
    """Candidate gradient of one linear layer: delta (N, outputs), input (N, inputs), and whether it has a bias."""

    delta: Tensor
    input: Tensor
    bias: bool

    def squared_norm(self) -> Tensor:
        return dot(self.delta, self.delta) * self.input_square()

    def input_square(self) -> Tensor:
        return dot(self.input, self.input) + float(self.bias)


@dataclass
class FactoredTarget:
    """Shared gradient of rank 1: delta (N, outputs), input (N, inputs), constant (N,): the bias's input, or 0."""

    delta: Tensor
    input: Tensor
    constant: Tensor
    square: Tensor

    def take(self, rows: Tensor) -> "FactoredTarget":
        return FactoredTarget(self.delta[rows], self.input[rows], self.constant[rows], self.square[rows])

    def residual(self, candidate: LinearGradient, scale: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """|R|^2 and (R input, R^T delta) for R = scale * candidate - target, bias included.

        R splits into (scale * delta - k * delta_t) input^T + delta_t (k * input - input_t)^T with k such that the two
        are orthogonal, so neither of its small parts is a difference of large squares.
        """
        delta, inputs = candidate.delta, candidate.input
        scaled = scale[:, None] * delta
        ratio = dot(scaled, self.delta) * reciprocal(dot(self.delta, self.delta))
        across = scaled - ratio[:, None] * self.delta
        along = ratio[:, None] * inputs - self.input
        along_bias = ratio - self.constant if candidate.bias else torch.zeros_like(ratio)
        input_square = candidate.input_square()
        square = dot(across, across) * input_square + dot(self.delta, self.delta) * (
            dot(along, along) + along_bias.square()
        )
        by_input = across * input_square[:, None] + self.delta * (dot(along, inputs) + along_bias)[:, None]
        by_delta = inputs * dot(across, delta)[:, None] + along * dot(self.delta, delta)[:, None]
        return square, (by_input, by_delta)


@dataclass
class MatrixTarget:
    """Shared gradient of any rank: matrix (N, outputs, inputs), bias (N, outputs) or None."""

    matrix: Tensor
    bias: Tensor | None
    square: Tensor

    def take(self, rows: Tensor) -> "MatrixTarget":
        return MatrixTarget(self.matrix[rows], None if self.bias is None else self.bias[rows], self.square[rows])

    def residual(self, candidate: LinearGradient, scale: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `FactoredTarget.residual`, to the rounding of a difference of squares."""
        delta, inputs = candidate.delta, candidate.input
        by_input = torch.bmm(self.matrix, inputs[:, :, None])[:, :, 0]
        by_delta = torch.bmm(delta[:, None], self.matrix)[:, 0]
        if self.bias is not None:
            by_input = by_input + self.bias
        inner = dot(by_input, delta)
        square = (scale.square() * candidate.squared_norm() - 2 * scale * inner + self.square).clamp(min=0)
        by_input = (scale * candidate.input_square())[:, None] * delta - by_input
        by_delta = (scale * dot(delta, delta))[:, None] * inputs - by_delta
        return square, (by_input, by_delta)


def linear_target(weight: Tensor, bias: Tensor | None) -> FactoredTarget | MatrixTarget:
    """The shared gradient of a linear layer, (N, outputs, inputs) and (N, outputs), as factors if it has rank 1."""
    victims = torch.arange(len(weight), device=weight.device)
    square = dot(weight, weight) + (dot(bias, bias) if bias is not None else 0)
    strongest = weight.square().sum(dim=2)
    strongest = (strongest if bias is None else strongest + bias.square()).argmax(dim=1)
    inputs = weight[victims, strongest]
    constant = bias[victims, strongest] if bias is not None else torch.zeros_like(square)
    inverse = reciprocal(dot(inputs, inputs) + constant.square())
    delta = torch.bmm(weight, inputs[:, :, None])[:, :, 0]
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
    """Shared gradient of a convolution: minus its kernels (taps, N, ., channels) in blocks, bias (N, channels)."""

    negative_kernels: Tensor
    bias: Tensor | None
    square: Tensor

    def take(self, rows: Tensor) -> "DenseTarget":
        return DenseTarget(
            self.negative_kernels[:, rows], None if self.bias is None else self.bias[rows], self.square[rows]
        )


def kernel_dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner product of each victim of (taps, N, inputs, channels) tensors, (N,)."""
    return (first * second).sum(dim=(0, 2, 3))


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
        """rows: the target that each candidate is measured against; None: one candidate each, in order."""
        if rows is not None and len(rows) != len(next(iter(linear.values())).square):
            linear = {name: target.take(rows) for name, target in linear.items()}
            dense = [target.take(rows) for target in dense]
        self.linear, self.dense, self.loss = linear, dense, loss
        self.square = sum(target.square for target in [*linear.values(), *dense])
        self.inverse_square = reciprocal(self.square)
        self.inverse_norm = self.inverse_square.sqrt()

    def __call__(
        self, linear: dict[str, LinearGradient], dense: list[tuple[Tensor, Tensor | None]]
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor | None]]]:
        """Loss (N,); its derivative by each linear layer's (delta, input); by each convolution's (kernels, bias)."""
        square = sum(gradient.squared_norm() for gradient in linear.values())
        for kernels, bias in dense:
            square = square + kernel_dot(kernels, kernels) + (dot(bias, bias) if bias is not None else 0)
        inverse = reciprocal(square)
        cosine = self.loss == "cosine"
        scale = (self.square * inverse).sqrt() if cosine else torch.ones_like(square)

        distance = torch.zeros_like(square)
        sides = {}
        for name, gradient in linear.items():
            part, sides[name] = self.linear[name].residual(gradient, scale)
            distance = distance + part
        residuals = []
        for (kernels, bias), target in zip(dense, self.dense, strict=True):
            rest = torch.addcmul(target.negative_kernels, kernels, scale.view(1, -1, 1, 1))
            rest_bias = None if bias is None else scale[:, None] * bias - target.bias
            distance = distance + kernel_dot(rest, rest) + (0 if bias is None else dot(rest_bias, rest_bias))
            residuals.append((rest, rest_bias))

        relative = distance * self.inverse_square
        # Where the candidate itself has no gradient (all ReLUs dead) the cosine is taken as 0 and the loss as 1.
        loss = torch.where(square > 0, relative / 2, torch.ones_like(relative)) if cosine else relative
        by_rest = inverse.sqrt() * self.inverse_norm if cosine else 2 * self.inverse_square
        by_self = loss * inverse if cosine else torch.zeros_like(loss)

        by_linear = {}
        for name, gradient in linear.items():
            by_input, by_delta = sides[name]
            delta_part = by_rest[:, None] * by_input - (by_self * gradient.input_square())[:, None] * gradient.delta
            shrink = by_self * dot(gradient.delta, gradient.delta)
            by_linear[name] = (delta_part, by_rest[:, None] * by_delta - shrink[:, None] * gradient.input)
        by_dense = []
        for (kernels, bias), (rest, rest_bias) in zip(dense, residuals, strict=True):
            rest.mul_(by_rest.view(1, -1, 1, 1))
            if cosine:
                rest.addcmul_(kernels, -by_self.view(1, -1, 1, 1))
            bias_part = None if bias is None else by_rest[:, None] * rest_bias - by_self[:, None] * bias
            by_dense.append((rest, bias_part))
        return loss, by_linear, by_dense
