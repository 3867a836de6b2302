"""Convolutions behind a batch whose samples are told apart: what is known of each, all samples of an update at once.

The samples stand below each other, (V, C, samples * H, W) for inputs and outputs alike (`KnownConvolution.samples`):
each has outputs and errors of its own, and the kernels' gradient is one sum over all of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.data_terms import squared
from rlleak.attacks.hidden_layers import Samples
from rlleak.attacks.known_convolution import KnownConvolution
from rlleak.attacks.masks import cut
from rlleak.attacks.peeling import ROUNDINGS, root_mean_square
from rlleak.attacks.targets import reciprocal
from rlleak.sharing.update import SharedUpdate

DOUBTFUL = 1e-3
"""Share of the root mean square below which an activation that was solved for may be 0 (measured on public rooms:
errors are up to 2e-5 of it at batch 2, 2e-4 at batch 4)."""


def stacked(value: Tensor, victims: int) -> Tensor:
    """(V * samples, C, H, W) as (V, C, samples * H, W)."""
    return value.unflatten(0, (victims, -1)).transpose(1, 2).flatten(2, 3)


def apart(value: Tensor, samples: int) -> Tensor:
    """The inverse of `stacked`."""
    return value.unflatten(2, (samples, -1)).transpose(1, 2).flatten(0, 1)


def behind_convolutions(update: SharedUpdate, separated: Sequence[Samples]) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of the last convolution, the loss's derivative by them, (V, K, samples * h, w) each, and the relative
    error of both, (V,), from each update's samples."""
    shape, features = update.architecture.feature_shapes[-1], update.architecture.image_features
    weight = update.parameters["hidden.0.weight"].double()[:, :features]
    outputs = torch.cat([samples.linear_input[:, :features] for samples in separated]).reshape(-1, *shape)
    errors = torch.cat([samples.delta @ weight for samples in separated]).reshape(-1, *shape)
    relative = torch.stack([samples.error.max() for samples in separated])
    return stacked(outputs, len(separated)), stacked(errors, len(separated)), relative


class BatchLayers:
    """The convolutions of V updates over several transitions each, in float64.

    error: (V,), relative error of what was read off the linear layers, or less than rounding.
    """

    def __init__(self, update: SharedUpdate, error: Tensor) -> None:
        self.update, self.spec, self.samples = update, update.architecture, update.batch_size
        self.shapes = [self.spec.image_shape, *self.spec.feature_shapes]
        kind = next(iter(update.gradients.values())).dtype
        self.error = error.clamp(min=ROUNDINGS * torch.finfo(kind).eps)

    def _parameter(self, index: int, kind: str) -> Tensor | None:
        value = self.update.parameters.get(f"convolutions.{index}.{kind}")
        return None if value is None else value.double()

    def describe(self, index: int, output: Tensor, delta: Tensor) -> tuple[KnownConvolution, Tensor]:
        """A convolution whose outputs and errors are known, and how far its masks disagree with its bias's gradient,
        (V,)."""
        bias = self.update.gradients.get(f"convolutions.{index}.bias")
        size = root_mean_square(output)
        mask = cut(output, delta, None if bias is None else bias.double(), DOUBTFUL * size)
        return self._known(index, output, delta, mask.active, ~mask.active, self.error * size), mask.misfit

    def unsure(self, index: int, delta: Tensor) -> KnownConvolution:
        """A convolution of which only the error before its mask is known."""
        nothing = torch.zeros_like(delta, dtype=torch.bool)
        return self._known(index, torch.zeros_like(delta), delta, nothing, nothing, self.error)

    def unknown(self, index: int) -> KnownConvolution:
        """A convolution of which nothing is known but its parameters."""
        channels, height, width = self.shapes[index + 1]
        like = self.error.new_zeros(len(self.update), channels, self.samples * height, width)
        nothing = torch.zeros_like(like, dtype=torch.bool)
        return self._known(index, like, None, nothing, nothing, self.error)

    def _known(
        self, index: int, output: Tensor, delta: Tensor | None, active: Tensor, inactive: Tensor, error: Tensor
    ) -> KnownConvolution:
        layer, (channels, height, width) = self.spec.convolutions[index], self.shapes[index]
        gradient = self.update.gradients[f"convolutions.{index}.weight"].double()
        return KnownConvolution(
            weight=self._parameter(index, "weight"),
            bias=self._parameter(index, "bias"),
            stride=layer.stride,
            padding=layer.padding,
            image_shape=(channels, self.samples * height, width),
            activation=output,
            active=active,
            inactive=inactive,
            delta=delta,
            kernel_gradient=None if delta is None else gradient,
            activation_error=error,
            gradient_error=self.error,
            samples=self.samples,
        )

    def error_below(self, known: KnownConvolution) -> Tensor:
        """The loss's derivative by a convolution's inputs, (V, C, samples * H, W)."""
        masked = apart(known.delta * known.active, self.samples)
        channels, height, width = known.image_shape
        shape = (len(masked), channels, height // self.samples, width)
        below = torch.nn.grad.conv2d_input(shape, known.weight, masked, known.stride, known.padding)
        return stacked(below, len(known.delta))

    def features(self, image: Tensor, index: int) -> Tensor:
        """What images (V, C, samples * H, W) give a convolution to read."""
        value = apart(image.double(), self.samples)
        for below, layer in enumerate(self.spec.convolutions[:index]):
            weight, bias = self._parameter(below, "weight"), self._parameter(below, "bias")
            value = F.relu(F.conv2d(value, weight, bias, layer.stride, layer.padding))
        return stacked(value, len(image))

    def output_misfits(self, image: Tensor, last: KnownConvolution) -> Tensor:
        """Relative residuals of each sample's own outputs of the last convolution at images, (V, samples)."""
        seen = last.activation * last.active
        off = self.features(image, len(self.spec.convolutions)) - seen
        shares = [squared(apart(value, self.samples)) for value in (off, seen)]
        return (shares[0] * reciprocal(shares[1])).sqrt().unflatten(0, (-1, self.samples))

    def each_sample(self, chosen: Tensor, image: Tensor, other: Tensor) -> Tensor:
        """Of (V, C, samples * H, W) the first's samples where chosen, (V, samples) bool, and else the other's."""
        rows = chosen.flatten().view(-1, 1, 1, 1)
        return stacked(torch.where(rows, apart(image, self.samples), apart(other, self.samples)), len(image))

    def misfits(self, image: Tensor, last: KnownConvolution) -> tuple[Tensor, Tensor]:
        """Relative residuals, (V,), of the last convolution's outputs and of all kernels' gradients at images."""
        shown = self.features(image, len(self.spec.convolutions))
        seen = last.activation * last.active
        by_output = (squared(shown - seen) * reciprocal(squared(seen))).sqrt()
        delta, rest, size = last.delta, 0, 0
        for index in range(len(self.spec.convolutions) - 1, -1, -1):
            active = self.features(image, index + 1) > 0
            known = replace(self.unsure(index, delta), active=active, inactive=~active)
            own = kernel_gradient(known, self.features(image, index))
            rest = rest + squared(own - known.kernel_gradient)
            size = size + squared(known.kernel_gradient)
            delta = self.error_below(known)
        return by_output, (rest * reciprocal(size)).sqrt()


def kernel_gradient(known: KnownConvolution, inputs: Tensor) -> Tensor:
    """The kernels' gradient (V, K, C, k, k) that inputs (V, C, samples * H, W) would leave."""
    delta, samples = apart(known.delta * known.active, known.samples), known.samples
    patches = F.unfold(apart(inputs, samples), known.weight.shape[2:], padding=known.padding, stride=known.stride)
    products = torch.bmm(delta.flatten(2), patches.transpose(1, 2)).unflatten(0, (-1, samples))
    return products.sum(dim=1).view_as(known.kernel_gradient)
