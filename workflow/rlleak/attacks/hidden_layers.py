"""From the columns of a batch at the last hidden layer down to every sample's input of the first linear layer."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.contributions import Contributions, contributions, doubted
from rlleak.attacks.separation import Columns
from rlleak.attacks.subset_sums import UNHEARD
from rlleak.sharing.update import SharedUpdate

_PASSES = 4

Sharpen = Callable[[Tensor, Tensor], Tensor]
"""Errors (s, outputs) as a loss makes them, from noisy ones and the outputs (s, outputs)."""


@dataclass(frozen=True)
class Head:
    """A linear layer of one victim's network in float64, and its gradient with the bias's as last column."""

    weight: Tensor
    bias: Tensor
    gradient: Tensor

    def output(self, inputs: Tensor) -> Tensor:
        """(s, outputs) before any activation."""
        return inputs @ self.weight.T + self.bias


@dataclass(frozen=True)
class Layer(Head):
    """A hidden layer. nonnegative: (inputs,) bool, which of its inputs come out of a ReLU."""

    nonnegative: Tensor


@dataclass(frozen=True)
class Samples:
    """Samples of one batch, one per column at the last hidden layer.

    linear_input: (s, D). delta: (s, width), error at the first hidden layer before its ReLU. errors, outputs: (s,
    outputs), error at the network's output and the output itself. masks, sure: (s, m), which neurons of the last hidden
    layer the samples activate, and where rounding leaves no doubt. consistent: (s,) bool, masks and signs are as they
    must be.
    error: (s,), expected relative error of linear_input. alive: (s, D), where linear_input is surely above 0.
    unexplained: share of the head's gradient.
    """

    linear_input: Tensor
    delta: Tensor
    errors: Tensor
    outputs: Tensor
    masks: Tensor
    sure: Tensor
    consistent: Tensor
    error: Tensor
    alive: Tensor
    unexplained: float


def hidden_layers(update: SharedUpdate) -> tuple[list[Layer], Head]:
    """Hidden layers and head of an update of one victim."""
    spec, layers = update.architecture, []
    for index in range(len(spec.hidden)):
        plain = _layer(update, f"hidden.{index}")
        nonnegative = torch.ones(plain.weight.shape[1], dtype=torch.bool, device=plain.weight.device)
        if index == 0:
            nonnegative[: spec.image_features] = bool(spec.convolutions)
            nonnegative[spec.image_features :] = bool(spec.vector_width)
        layers.append(Layer(plain.weight, plain.bias, plain.gradient, nonnegative))
    return layers, _layer(update, "head")


def _layer(update: SharedUpdate, name: str) -> Head:
    weight, bias = (update.gradients[f"{name}.{kind}"][0].double() for kind in ("weight", "bias"))
    gradient = torch.cat([weight, bias[:, None]], dim=1)
    return Head(update.parameters[f"{name}.weight"].double(), update.parameters[f"{name}.bias"].double(), gradient)


def trace(layers: list[Layer], head: Head, columns: Columns, sharpen: Sharpen) -> Samples:
    """Solves layer by layer, from the last hidden one down, and feeds what comes out back up.

    At the last hidden layer a column is mask * head^T e up to a factor, which the bias's gradient gives. Below, a
    layer's column is mask * W^T delta with the delta of the layer above, and the mask is where that layer's input is
    not 0. sharpen: the loss's say in what an error looks like, given first estimates of error and output.
    """
    last = layers[-1]
    full = columns.errors @ head.weight
    found = contributions(last.gradient, columns.masks * full)
    # Neurons that the head hardly listens to are in no column; the samples themselves say whether they are active.
    masks, sure = _fed_forward(last, found)
    typical = full.square().mean(dim=1, keepdim=True).sqrt()
    heard = full.abs() > (UNHEARD + 8 * columns.misfits[:, None]) * typical
    output = head.output(F.relu(last.output(found.inputs)))
    errors = sharpen(found.scales[:, None] * columns.errors, output)
    full = errors @ head.weight
    column = torch.where(heard, columns.masks, masks) * full
    found = contributions(last.gradient, column)
    error = found.error + doubted(found, column, full * (~heard & ~sure))
    errors, delta = found.scales[:, None] * errors, found.scales[:, None] * column
    hidden = F.relu(last.output(found.inputs))
    unexplained = _unexplained(head, errors, hidden)
    top_masks, top_sure = _fed_forward(last, found)
    consistent = ((top_masks == columns.masks) | ~top_sure | ~heard).all(dim=1) & _signs(last, found)
    for below, above in reversed(list(pairwise(layers))):
        mask = _alive(found)
        for _ in range(_PASSES):
            lower = mask * (delta @ above.weight)
            if torch.linalg.matrix_rank(lower) < len(lower):
                consistent = torch.zeros_like(consistent)
            solved = contributions(below.gradient, lower)
            fed, certain = _fed_forward(below, solved)
            if bool(((mask == fed) | ~certain).all()):
                break
            mask = fed
        consistent &= ((mask == fed) | ~certain).all(dim=1) & _signs(below, solved)
        consistent &= (solved.scales - 1).abs() < 1e-2
        delta, found = lower, solved
        error = torch.maximum(error, solved.error + (solved.scales - 1).abs())
    outputs = head.output(hidden)
    alive = _alive(found)
    return Samples(found.inputs, delta, errors, outputs, top_masks, top_sure, consistent, error, alive, unexplained)


def _fed_forward(layer: Layer, found: Contributions) -> tuple[Tensor, Tensor]:
    """Which neurons the inputs activate, (s, m), and which of these signs are beyond doubt."""
    before = layer.output(found.inputs)
    spread = (found.deviation.square() @ layer.weight.square().T).sqrt()
    doubt = 8 * spread + 1e-12 * before.abs().amax(dim=1, keepdim=True)
    return before > 0, before.abs() > doubt


def _signs(layer: Layer, found: Contributions) -> Tensor:
    """Whether what comes out of a ReLU is not negative, (s,)."""
    bound = 12 * found.deviation + 1e-12 * found.inputs.abs().amax(dim=1, keepdim=True)
    return ((found.inputs >= -bound) | ~layer.nonnegative).all(dim=1)


def _alive(found: Contributions) -> Tensor:
    """Which inputs are above 0 beyond doubt, (s, n)."""
    return found.inputs > 8 * found.deviation + 1e-12 * found.inputs.abs().amax(dim=1, keepdim=True)


def _unexplained(head: Head, errors: Tensor, hidden: Tensor) -> float:
    """Share of the head's gradient that is not the sum of the samples' e h^T and e."""
    rest = head.gradient - errors.T @ torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)
    return float(rest.norm() / head.gradient.norm().clamp(min=torch.finfo(rest.dtype).tiny))


def has_biases_before(update: SharedUpdate) -> bool:
    """Whether anything with a bias stands before the first hidden layer."""
    return bool(update.architecture.convolutions or update.architecture.vector_width)


def before_linear_layers(update: SharedUpdate, samples: Samples) -> float:
    """Share that samples leave of the gradients of the last convolution's bias and of the vector layer's bias.

    Both sum each sample's error at its features where these are above 0. 1 where the network has neither.
    """
    spec = update.architecture
    error = samples.alive * (samples.delta @ update.parameters["hidden.0.weight"].double())
    rest, size = 0.0, 0.0
    if spec.convolutions:
        shared = update.gradients[f"convolutions.{len(spec.convolutions) - 1}.bias"][0].double()
        summed = error[:, : spec.image_features].sum(dim=0).view(len(shared), -1).sum(dim=1)
        rest, size = float((shared - summed).square().sum()), float(shared.square().sum())
    if spec.vector_width:
        shared = update.gradients["vector.bias"][0].double()
        rest += float((shared - error[:, spec.image_features :].sum(dim=0)).square().sum())
        size += float(shared.square().sum())
    return (rest / size) ** 0.5 if size else 1.0
