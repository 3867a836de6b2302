"""Linear layers of which a server got only some entries: what did not arrive is unknown, not 0.

Over one transition a linear layer's gradient, its bias's beside it, is delta [input, 1]^T: of rank 1, so few entries
of a row and a column tell the rest. Alternating least squares over what is known finds the factors, exact where
rounding is all that is against it. Without any entry of the bias's gradient factors are known up to a number, which the
network's own biases tell: behind a ReLU that is open, a layer's input is the output of the one below, and that is not
homogeneous (`scales`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlleak.attacks.targets import reciprocal
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.update import SharedUpdate

if TYPE_CHECKING:
    from rlleak.attacks.linear_algebra import LinearLayer

STEPS = 100
CONVERGED = 1e-11
"""Relative change of the input at which alternating stops."""


def complete_linear(
    weight: Tensor, bias: Tensor | None, known_weight: Tensor | None, known_bias: Tensor | None
) -> tuple[Tensor, ...]:
    """What a `LinearLayer` holds, of weight (V, outputs, inputs) and bias (V, outputs) that are known where masks say.

    Rows and columns without a known entry are 0. Where no bias tells the scale the input has length 1 and its sum is
    not negative, as without a bias. residual: over the known entries. Of several samples nothing is said.
    """
    found = []
    for victim in range(len(weight)):
        columns = [weight[victim].double()]
        masks = [_mask(weight, known_weight, victim)]
        if bias is not None:
            columns.append(bias[victim, :, None].double())
            masks.append(_mask(bias, known_bias, victim)[:, None])
        found.append(_complete_one(torch.cat(columns, dim=1), torch.cat(masks, dim=1), bias is not None))
    return tuple(torch.stack(part) for part in zip(*found, strict=True))


def _mask(value: Tensor, known: Tensor | None, victim: int) -> Tensor:
    return torch.ones_like(value[victim], dtype=torch.float64) if known is None else known[victim].double()


def _complete_one(matrix: Tensor, known: Tensor, has_bias: bool) -> tuple[Tensor, ...]:
    """matrix: 0 where it is not known."""
    right = matrix[matrix.square().sum(dim=1).argmax()]
    left = matrix.new_zeros(len(matrix))
    for _ in range(STEPS):
        before, left = right, (matrix @ right) * reciprocal(known @ right.square())
        right = (left @ matrix) * reciprocal(left.square() @ known)
        right = right * reciprocal(right.norm())
        if float((right - before).norm()) <= CONVERGED:
            break
    left = (matrix @ right) * reciprocal(known @ right.square())
    residual = (matrix - known * torch.outer(left, right)).norm() * reciprocal(matrix.norm())
    inputs, none = right[:-1] if has_bias else right, torch.zeros_like(residual)
    constant = right[-1] if has_bias else none
    scale = torch.where(constant != 0, constant, torch.where(inputs.sum() < 0, -1.0, 1.0) * inputs.norm())
    return left * scale, inputs * torch.where(scale != 0, 1 / scale, 0.0), residual, none, none


def scaled(
    layers: Mapping[str, "LinearLayer"], unscaled: list[str], parameters: Mapping[str, Tensor], spec: NetworkSpec
) -> tuple[dict[str, "LinearLayer"], list[str]]:
    """The layers, those that are known up to a number scaled as the network's biases tell, and the names of the rest.

    For each unit that is open, c' input'_i = c (W input)_i + b_i, c and c' the scales of a layer and of the next: two
    unknowns, hundreds of equations. layers: in order. Networks of ReLUs only; others stay as they are.
    """
    layers = dict(layers)
    if spec.activation != "relu" or not spec.bias:
        return layers, unscaled
    for below, above in reversed(list(pairwise(layers))):
        found, split = layers[above].input, spec.image_features if below == "vector" else 0
        put_out = layers[below].input @ parameters[f"{below}.weight"].T
        bias = parameters[f"{below}.bias"].expand_as(put_out)
        open_units = found[:, split:] > 0
        columns = [-put_out if below in unscaled else None, found[:, split:] if above in unscaled else None]
        if all(column is None for column in columns) or not bool(layers[below].alive.any()):
            continue
        right = bias - (0 if below in unscaled else -put_out) - (0 if above in unscaled else found[:, split:])
        system = torch.stack([column for column in columns if column is not None], dim=2) * open_units[:, :, None]
        factors = (torch.linalg.pinv(system) @ (right * open_units)[:, :, None])[:, :, 0]
        for name, factor in zip([n for n in (below, above) if n in unscaled], factors.T, strict=True):
            layers[name] = _times(layers[name], factor)
        unscaled = [name for name in unscaled if name not in (below, above)]
    return layers, unscaled


def _times(layer: "LinearLayer", factor: Tensor) -> "LinearLayer":
    inverse = torch.where(factor != 0, 1 / factor, 0.0)
    return replace(layer, delta=layer.delta * inverse[:, None], input=layer.input * factor[:, None])


def scaled_by_below(
    head: "LinearLayer", below: "LinearLayer", update: SharedUpdate, function: Callable[[Tensor], Tensor]
) -> "LinearLayer":
    """The head; where no bias of an output with an error arrived, scaled by what the layer below puts out."""
    name, known = f"hidden.{len(update.architecture.hidden) - 1}", update.known.get("head.bias")
    if known is None or f"{name}.bias" not in update.parameters:
        return head
    weight, bias = (update.parameters[f"{name}.{kind}"].double() for kind in ("weight", "bias"))
    put_out = function(below.input @ weight.T + bias)
    factor = (put_out * head.input).sum(dim=1) * reciprocal(head.input.square().sum(dim=1))
    told = (known & (head.delta != 0)).any(dim=1)
    return _times(head, torch.where(told | (factor <= 0), 1.0, factor))


OPEN = 5.0
"""Deviations of its error above which a unit behind a ReLU is taken as open: of hundreds, none by chance."""


def input_of(output: Tensor, weight: Tensor, bias: Tensor, error: Tensor | float = 0.0) -> Tensor:
    """The input (V, inputs) of a layer behind whose ReLU stood this (V, outputs): least squares over its open units.

    error: standard deviation of output's errors, (V,).
    """
    least = OPEN * torch.as_tensor(error, dtype=output.dtype, device=output.device)
    is_open = (output > least.view(-1, 1))[:, :, None]
    system, right = weight * is_open, (output - bias)[:, :, None] * is_open
    return (torch.linalg.pinv(system) @ right)[:, :, 0]
