"""The first convolution undone: from what its output and its error are known to be, back to the image.

What is known of an image x of a first layer with kernels W and biases b:

- where an output is active, W x + b is its value (an equation);
- where it is inactive, W x + b <= 0 (an inequality; for a ReLU);
- with its error delta, the kernels' gradient is sum_p delta[k, p] x[c, s p + (i, j)] (equations, linear in x);
- x lies in [0, 1].

These leave many images (S1: 0.3 equations per unknown with the default network); a prior picks among them. `solve`
alternates between a least-squares fit to the equations and the prior's own step (plug-and-play, Venkatakrishnan et al.
2013; half-quadratic splitting, Zhang et al. 2017), with a noise level that shrinks. Nothing in it sees the truth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.convolution import BlockConvolution
from rlleak.attacks.data_terms import DataTerm, Linearised, fit, squared
from rlleak.priors import Prior


@dataclass(frozen=True)
class FirstLayer:
    """What V victims' updates say about the first convolution.

    weight: (K, C, k, k), bias: (K,) or None, stride, padding: the layer's. image_shape: (C, H, W).
    activation: (V, K, h, w), W x + b where it is `active`; any value elsewhere.
    active: (V, K, h, w) bool, where W x + b is known. inactive: (V, K, h, w) bool, where it is known to be at most 0.
    An entry that is neither says nothing (a mask that is unsure); none may be both.
    delta: (V, K, h, w), the loss's derivative by W x + b, zero where inactive; kernel_gradient: (V, K, C, k, k), the
    shared gradient of `weight`. Both None: no gradient equations (as when delta is not known well).
    activation_error: standard deviation of `activation`'s errors, a number or (V,); gradient_error: that of
    kernel_gradient's entries relative to their root mean square (what float32 rounding or noise leaves), or (V,).
    All on one device and of one dtype, in which everything is computed.
    """

    weight: Tensor
    bias: Tensor | None
    stride: int
    image_shape: tuple[int, int, int]
    activation: Tensor
    active: Tensor
    inactive: Tensor
    delta: Tensor | None = None
    kernel_gradient: Tensor | None = None
    padding: int = 0
    activation_error: float | Tensor = 1e-6
    gradient_error: float | Tensor = 1e-6

    @property
    def victims(self) -> int:
        return len(self.activation)


class _Blocks:
    """Images (V, C, H, W) as the layer's blocks, and back."""

    def __init__(self, layer: FirstLayer) -> None:
        _, height, width = layer.image_shape
        self.padding, self.shape = layer.padding, (height, width)
        padded = (height + 2 * layer.padding, width + 2 * layer.padding)
        self.convolution = BlockConvolution(layer.weight, None, layer.stride, *padded)

    def cut(self, image: Tensor) -> Tensor:
        if self.padding:
            image = F.pad(image, (self.padding,) * 4)
        return self.convolution.blocks(image.permute(0, 2, 3, 1))

    def join(self, blocks: Tensor) -> Tensor:
        """The adjoint of `cut`."""
        image = self.convolution.unblocks(blocks).permute(0, 3, 1, 2)
        begin, (height, width) = self.padding, self.shape
        return image[:, :, begin : begin + height, begin : begin + width].contiguous()

    def rows(self, value: Tensor) -> Tensor:
        """Outputs (V, K, h, w) as the convolution's rows, zero where rows mean nothing."""
        return self.convolution.rows_of(value.permute(0, 2, 3, 1)).contiguous()


class ForwardEquations:
    """W x + b where it is known, and where it is above 0 but may not be. In units of an image's values."""

    def __init__(self, layer: FirstLayer, blocks: _Blocks) -> None:
        self.blocks = blocks
        self.scale = 1 / layer.weight.flatten(1).norm(dim=1).mean().clamp_min(torch.finfo(layer.weight.dtype).tiny)
        bias = 0 if layer.bias is None else layer.bias.view(1, -1, 1, 1)
        self.target = blocks.rows((layer.activation - bias) * layer.active)
        self.active, self.inactive = (blocks.rows(mask.to(layer.weight)) for mask in (layer.active, layer.inactive))
        self.limit = blocks.rows((-bias) * layer.inactive)

    def linearise(self, image: Tensor) -> Linearised:
        output = self.blocks.convolution.apply(self.blocks.cut(image))
        violated = self.inactive * (output > self.limit)
        counted = self.scale * (self.active + violated)
        residual = counted * (output - self.target - self.limit)
        return Linearised(
            residual,
            lambda direction: counted * self.blocks.convolution.apply(self.blocks.cut(direction)),
            lambda grown: self.blocks.join(self.blocks.convolution.apply_transposed(counted * grown)),
        )


class KernelEquations:
    """The kernels' gradient as equations about the image, whitened: of orthonormal rows, weighted by their error.

    On blocks (see `BlockConvolution`) every pixel of a block meets the same matrix, of one row per tap and kernel and
    one column per block: one small eigendecomposition whitens them all. Where a kernel does not fill its last block,
    pixels behind its end miss a tap; they are grouped by the taps they have.
    """

    FLOOR = 1e-5
    """Errors of an equation below this (in units of an image's values) do not matter to anybody."""

    def __init__(self, layer: FirstLayer, blocks: _Blocks) -> None:
        self.blocks, convolution = blocks, blocks.convolution
        delta = blocks.rows(layer.delta)
        size = convolution.grid[0] * convolution.grid[1] + convolution.taps - 1
        matrix = delta.new_zeros(len(delta), convolution.taps**2, convolution.channels, size)
        for index, offset in enumerate(convolution.offsets):
            matrix[:, index, :, offset : offset + convolution.rows] = delta.transpose(1, 2)
        victims, kernels = layer.kernel_gradient.shape[:2]
        gradient = convolution.to_taps(layer.kernel_gradient).permute(1, 0, 3, 2)
        error = torch.as_tensor(layer.gradient_error, dtype=delta.dtype, device=delta.device).expand(victims)
        error = error * layer.kernel_gradient.flatten(1).square().mean(dim=1).sqrt()
        self.rank = torch.zeros(victims, dtype=torch.int64, device=delta.device)
        self.groups = []
        for taps, pixels in _groups(convolution, layer.image_shape[0], delta.device):
            rows = matrix[:, taps].flatten(1, 2)
            right = gradient[:, taps][..., pixels].reshape(victims, len(taps) * kernels, len(pixels))
            self.groups.append((pixels, *self._whiten(rows, right, error)))
            self.rank += len(pixels) * (self.groups[-1][1].abs().amax(dim=2) > 0).sum(dim=1)

    def _whiten(self, rows: Tensor, right: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """(V, R, n) and (V, R, p) of an equivalent system of orthonormal rows, each times its weight."""
        exact = rows.double()
        values, vectors = torch.linalg.eigh(exact @ exact.transpose(1, 2))
        strength = values.clamp_min(0).sqrt()
        kept = strength > torch.finfo(rows.dtype).eps * strength.amax(dim=1, keepdim=True) * 10
        # An equation with a small singular value amplifies the gradient's error; then it counts for less.
        noise = error.double()[:, None] / strength.clamp_min(torch.finfo(torch.float64).tiny)
        weight = kept * self.FLOOR / noise.clamp_min(self.FLOOR)
        turned = (vectors * torch.where(kept, weight / strength, 0)[:, None]).transpose(1, 2)
        return (turned @ exact).to(rows), (turned @ right.double()).to(rows)

    def linearise(self, image: Tensor) -> Linearised:
        def apply(direction: Tensor) -> Tensor:
            cut = self.blocks.cut(direction)
            return torch.cat([(rows @ cut[..., pixels]).flatten(1) for pixels, rows, _ in self.groups], dim=1)

        def adjoint(grown: Tensor) -> Tensor:
            cut = grown.new_zeros(len(grown), self.groups[0][1].shape[2], self.blocks.convolution.weight[0].shape[0])
            begin = 0
            for pixels, rows, right in self.groups:
                part = grown[:, begin : begin + right[0].numel()].view_as(right)
                cut[..., pixels] = rows.transpose(1, 2) @ part
                begin += right[0].numel()
            return self.blocks.join(cut)

        known = torch.cat([right.flatten(1) for _, _, right in self.groups], dim=1)
        return Linearised(apply(image) - known, apply, adjoint)


def _groups(convolution: BlockConvolution, channels: int, device: torch.device) -> list[tuple[list[int], Tensor]]:
    """Which taps (indices) the pixels of a block have, as (taps, pixels of the block that have exactly those)."""
    stride, kernel, taps = convolution.stride, convolution.kernel, convolution.taps
    inside = [[tap * stride + pixel < kernel for tap in range(taps)] for pixel in range(stride)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in range(stride):
        for column in range(stride):
            has = tuple(i * taps + j for i in range(taps) for j in range(taps) if inside[row][i] and inside[column][j])
            first = (row * stride + column) * channels
            groups.setdefault(has, []).extend(range(first, first + channels))
    return [(list(has), torch.tensor(pixels, device=device)) for has, pixels in groups.items()]


def equations(layer: FirstLayer, extra: Sequence[DataTerm] = ()) -> list[DataTerm]:
    """All that is known of the images, as terms in units of an image's values."""
    blocks = _Blocks(layer)
    terms: list[DataTerm] = [ForwardEquations(layer, blocks)]
    if layer.delta is not None and layer.kernel_gradient is not None:
        terms.append(KernelEquations(layer, blocks))
    return [*terms, *extra]


def residuals(layer: FirstLayer, image: Tensor) -> dict[str, Tensor]:
    """How far images (V, C, H, W) are from fulfilling the equations; see `Found`."""
    terms = equations(layer)
    forward = terms[0]
    residual = forward.linearise(image).residual
    found = {}
    for name, mask in (("active", forward.active), ("inactive", forward.inactive)):
        found[name] = (squared(residual * mask) / mask.flatten(1).sum(dim=1).clamp_min(1)).sqrt()
    if len(terms) > 1:
        found["gradient"] = (squared(terms[1].linearise(image).residual) / terms[1].rank.clamp_min(1)).sqrt()
    return found


@dataclass(frozen=True)
class Schedule:
    """How `solve` goes from the prior's picture to the equations' image.

    The prior is asked to remove errors of deviation `first` to `last` (in image units, a geometric row of `rounds`
    steps); between two such steps come `steps` conjugate-gradient steps on the equations. `trust` is the equations'
    own deviation relative to the prior's: the smaller, the harder they hold within one round. After the last round the
    equations alone have `polish` steps: what they say about the image, the prior no longer softens.
    """

    rounds: int = 40
    first: float = 0.2
    last: float = 0.002
    steps: int = 10
    trust: float = 0.03
    polish: int = 50


@dataclass(frozen=True)
class Found:
    """image: (V, C, H, W) in [0, 1]. residuals: "active", "inactive", "gradient", each (V,), root mean square errors in
    units of an image's values (what is violated, for inequalities); "gradient" only with gradient equations."""

    image: Tensor
    residuals: dict[str, Tensor]


def solve(
    layer: FirstLayer,
    prior: Prior,
    schedule: Schedule = Schedule(),
    *,
    start: Tensor | None = None,
    extra: Sequence[DataTerm] = (),
    report: Callable[[int, Tensor], None] | None = None,
) -> Found:
    """The images (V, C, H, W) that the first layer's equations and the prior agree on.

    start: (V, C, H, W) from which to begin; then choose schedule.first near that start's error. extra: more equations
    about the image (a nonlinear one is linearised anew in every round). report: called with the round and the squared
    residual (V,) after each.
    """
    terms = equations(layer, extra)
    like = layer.activation
    image = torch.full((layer.victims, *layer.image_shape), 0.5, dtype=like.dtype, device=like.device)
    image = image if start is None else start.to(like).clone()
    deviations = torch.logspace(math.log10(schedule.first), math.log10(schedule.last), schedule.rounds)
    guess = image
    for index, deviation in enumerate(deviations.tolist()):
        image = fit(terms, image, guess, schedule.trust**2, schedule.steps)
        guess = prior(image.clamp(0, 1), image.new_full((layer.victims,), deviation)).clamp(0, 1)
        if report is not None:
            report(index, sum(squared(term.linearise(image).residual) for term in terms))
    image = fit(terms, guess, guess, 1e-6, schedule.polish).clamp(0, 1)
    return Found(image, residuals(layer, image))
