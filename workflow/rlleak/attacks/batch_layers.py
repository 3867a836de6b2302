"""Convolutions behind a batch whose samples are told apart: what is known of each, all samples of an update at once.

The samples stand below each other, (V, C, samples * H, W) for inputs and outputs alike (`KnownConvolution.samples`):
each has outputs and errors of its own, and the kernels' gradient is one sum over all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Misfits:
    """What images leave of V updates, relative residuals. own: (V, samples), of each sample's outputs of the last
    convolution; outputs: (V,), of all of them; gradients: (V,), of all kernels' gradients, which are sums over samples.
    """

    own: Tensor
    outputs: Tensor
    gradients: Tensor


def better(later: Misfits, earlier: Misfits, shares: Tensor) -> Tensor:
    """Which samples, (V, samples) bool, the later images explain better than the earlier ones.

    A sample's own outputs say it. So do the sums over all samples, by the factor by which less of them is left, but
    only of a sample that they speak of: whose share (V, samples) of the squared error exceeds the share of the sums'
    square that the earlier images leave open. There is no threshold to choose. What each part is for, seen in batches
    of 2: images 3 dB nearer whose own outputs fitted up to 1.4 times worse while a third of the sums' residual went,
    and one 9 dB farther off, of a sample with 1e-7 of the error, while as much of it went for the other's sake.
    """
    left = torch.where(earlier.gradients > 0, later.gradients / earlier.gradients, 1).clamp(max=1)
    told = shares > earlier.gradients.square()[:, None]
    return later.own * torch.where(told, left[:, None], 1) < earlier.own


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
        return self._read(image, index)[-1]

    def _read(self, image: Tensor, index: int) -> list[Tensor]:
        """What images give all convolutions to read, up to that one."""
        value = apart(image.double(), self.samples)
        values = [stacked(value, len(image))]
        for below, layer in enumerate(self.spec.convolutions[:index]):
            weight, bias = self._parameter(below, "weight"), self._parameter(below, "bias")
            value = F.relu(F.conv2d(value, weight, bias, layer.stride, layer.padding))
            values.append(stacked(value, len(image)))
        return values

    def misfits(self, image: Tensor, last: KnownConvolution) -> Misfits:
        """What images (V, C, samples * H, W) leave of the last convolution's outputs and of all kernels' gradients."""
        count = len(self.spec.convolutions)
        read = self._read(image, count)
        seen = last.activation * last.active
        off, whole = (self._each(value) for value in (read[-1] - seen, seen))
        delta, rest, size = last.delta, 0, 0
        for index in range(count - 1, -1, -1):
            active = read[index + 1] > 0
            known = replace(self.unsure(index, delta), active=active, inactive=~active)
            own = kernel_gradient(known, read[index])
            rest = rest + squared(own - known.kernel_gradient)
            size = size + squared(known.kernel_gradient)
            delta = self.error_below(known)
        return Misfits(
            own=(off * reciprocal(whole)).sqrt(),
            outputs=(off.sum(dim=1) * reciprocal(whole.sum(dim=1))).sqrt(),
            gradients=(rest * reciprocal(size)).sqrt(),
        )

    def best_of(self, later: Tensor, earlier: Tensor, last: KnownConvolution) -> Tensor:
        """Of images (V, C, samples * H, W) the later one of each sample that it explains `better`, else the earlier."""
        chosen = better(self.misfits(later, last), self.misfits(earlier, last), self.shares(last))
        rows = chosen.flatten().view(-1, 1, 1, 1)
        return stacked(torch.where(rows, apart(later, self.samples), apart(earlier, self.samples)), len(later))

    def shares(self, last: KnownConvolution) -> Tensor:
        """Each sample's share of its update's squared error at the last convolution's outputs, (V, samples)."""
        each = self._each(last.delta * last.active)
        return each * reciprocal(each.sum(dim=1, keepdim=True))

    def _each(self, value: Tensor) -> Tensor:
        """Each sample's sum of squares, (V, samples)."""
        return squared(apart(value, self.samples)).unflatten(0, (-1, self.samples))


def kernel_gradient(known: KnownConvolution, inputs: Tensor) -> Tensor:
    """The kernels' gradient (V, K, C, k, k) that inputs (V, C, samples * H, W) would leave."""
    delta, samples = apart(known.delta * known.active, known.samples), known.samples
    patches = F.unfold(apart(inputs, samples), known.weight.shape[2:], padding=known.padding, stride=known.stride)
    products = torch.bmm(delta.flatten(2), patches.transpose(1, 2)).unflatten(0, (-1, samples))
    return products.sum(dim=1).view_as(known.kernel_gradient)
