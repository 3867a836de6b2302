"""What is known about a convolution's input: equations from its outputs and from its kernels' gradient.

With kernels W, biases b, stride s and an input x (the image, or an activation):

- where an output is active, W x + b is its value (equations);
- where it is inactive, W x + b <= 0 (inequalities, for a ReLU);
- with the error delta (the loss's derivative by W x + b), the kernels' gradient is
  sum_p delta[k, p] x[c, s p + (i, j)] (equations, linear in x).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.convolution import BlockConvolution
from rlleak.attacks.data_terms import DataTerm, Linearised, certainty, squared


@dataclass(frozen=True)
class KnownConvolution:
    """What V victims' updates say about one convolution.

    weight: (K, C, k, k), bias: (K,) or None, stride, padding: the layer's. image_shape: (C, H, W), its input's.
    activation: (V, K, h, w), W x + b where it is `active`; any value elsewhere.
    active: (V, K, h, w) bool, where W x + b is known. inactive: (V, K, h, w) bool, where it is known to be at most 0.
    An entry that is neither says nothing yet (the mask is unsure); none may be both.
    delta: (V, K, h, w), the loss's derivative by the layer's *output*, before the ReLU's mask: the mask is taken from
    `active`, and from the image at hand where it is unsure. kernel_gradient: (V, K, C, k, k), the shared gradient of
    `weight`. Both None: no gradient equations.
    activation_error: standard deviation of `activation`'s errors, a number or (V,); gradient_error: that of
    kernel_gradient's entries relative to their root mean square (float32 rounding, noise), a number or (V,).
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

    @property
    def unit(self) -> float:
        """By how much an output's errors exceed an input's: the kernels' mean norm."""
        return float(self.weight.flatten(1).norm(dim=1).mean().clamp_min(torch.finfo(self.weight.dtype).tiny))

    def each(self, value: float | Tensor) -> Tensor:
        """A number or (V,) as (V,)."""
        like = self.activation
        return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(self.victims)


class Blocks:
    """A convolution's inputs (V, C, H, W) as its blocks (see `BlockConvolution`), and back."""

    def __init__(self, weight: Tensor, stride: int, padding: int, image_shape: tuple[int, int, int]) -> None:
        _, height, width = image_shape
        self.padding, self.shape = padding, (height, width)
        self.convolution = BlockConvolution(weight, None, stride, height + 2 * padding, width + 2 * padding)

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

    def outputs(self, rows: Tensor) -> Tensor:
        """The convolution's rows as outputs (V, K, h, w)."""
        return self.convolution.image(rows).permute(0, 3, 1, 2)


class ForwardEquations:
    """W x + b where it is known, and where it is above 0 and may not be."""

    def __init__(self, known: KnownConvolution, blocks: Blocks) -> None:
        self.blocks, self.scale = blocks, 1 / known.unit
        self.error = known.each(known.activation_error) * self.scale
        bias = 0 if known.bias is None else known.bias.view(1, -1, 1, 1)
        self.active, self.inactive = (blocks.rows(mask.to(known.weight)) for mask in (known.active, known.inactive))
        # Where active the value itself, where inactive the limit; the masks keep them apart.
        self.right = blocks.rows(torch.where(known.active, known.activation - bias, (-bias) * known.inactive))

    def linearise(self, image: Tensor, tolerance: float) -> Linearised:
        convolution = self.blocks.convolution
        difference = convolution.apply(self.blocks.cut(image)).sub_(self.right)
        weight = (self.scale * certainty(self.error, tolerance)).view(-1, 1, 1)
        counted = (self.active + self.inactive * (difference > 0)).mul_(weight)
        return Linearised(
            counted * difference,
            lambda direction: convolution.apply(self.blocks.cut(direction)).mul_(counted),
            lambda grown: self.blocks.join(convolution.apply_transposed(counted * grown)),
        )

    def misfits(self, image: Tensor) -> dict[str, Tensor]:
        """Root mean square errors, "active" and "inactive" (what is violated), (V,) each."""
        residual = self.linearise(image, float(self.error.max()) + 1).residual
        counts = {"active": self.active, "inactive": self.inactive}
        return {name: (squared(residual * mask) / squared(mask).clamp_min(1)).sqrt() for name, mask in counts.items()}


class KernelEquations:
    """The kernels' gradient as equations about the input, whitened: of orthonormal rows, each with its error.

    On blocks every number of a block meets the same matrix, of one row per tap and kernel and one column per block:
    one small eigendecomposition whitens them all. Where a kernel does not fill its last block, numbers behind its end
    miss a tap; they are grouped by the taps they have.
    """

    def __init__(self, known: KnownConvolution, blocks: Blocks) -> None:
        self.known, self.blocks, convolution = known, blocks, blocks.convolution
        self.gradient = convolution.to_taps(known.kernel_gradient).permute(1, 0, 3, 2)
        self.error = known.each(known.gradient_error) * known.kernel_gradient.flatten(1).square().mean(dim=1).sqrt()
        self.pixels = _groups(convolution, known.image_shape[0], known.weight.device)
        unsure = ~(known.active | known.inactive)
        self.unsure = blocks.rows(unsure.to(known.weight)) if bool(unsure.any()) else None
        self.delta = blocks.rows(known.delta)
        self.active = blocks.rows(known.active.to(known.weight))
        self.bias = 0 if known.bias is None else known.bias
        self.systems = None if self.unsure is not None else self._systems(self.delta * self.active)

    @property
    def rank(self) -> Tensor:
        """How many independent equations there are, (V,); without those that unsure entries meet."""
        systems = self.systems or self._systems(self.delta * self.active)
        return sum(pixels.numel() * kept.sum(dim=1) for pixels, _, _, _, kept in systems)

    def linearise(self, image: Tensor, tolerance: float) -> Linearised:
        systems = self.systems
        if systems is None:
            seen = self.blocks.convolution.apply(self.blocks.cut(image)).add_(self.bias) > 0
            systems = self._systems(self.delta * (self.active + self.unsure * seen))
        weighted = [(pixels, *_weighted(*system, tolerance)) for pixels, *system in systems]
        known = torch.cat([right.flatten(1) for _, _, right in weighted], dim=1)

        def apply(direction: Tensor) -> Tensor:
            cut = self.blocks.cut(direction)
            return torch.cat([(rows @ cut[..., pixels]).flatten(1) for pixels, rows, _ in weighted], dim=1)

        def adjoint(grown: Tensor) -> Tensor:
            convolution, begin = self.blocks.convolution, 0
            cut = grown.new_empty(len(grown), weighted[0][1].shape[2], convolution.weight[0].shape[0])
            for pixels, rows, right in weighted:
                part = grown[:, begin : begin + right[0].numel()].view_as(right)
                cut[..., pixels] = rows.transpose(1, 2) @ part
                begin += right[0].numel()
            return self.blocks.join(cut)

        return Linearised(apply(image) - known, apply, adjoint)

    def misfits(self, image: Tensor) -> dict[str, Tensor]:
        """The root mean square error "gradient" of equations whose right sides are not all error, (V,)."""
        residual = self.linearise(image, TOLERABLE).residual
        return {"gradient": residual.square().mean(dim=1).sqrt()}

    def _systems(self, delta: Tensor) -> list[tuple[Tensor, ...]]:
        """For each group its pixels, orthonormal rows (V, R, n), right sides (V, R, p), their errors and who counts."""
        convolution = self.blocks.convolution
        size = convolution.grid[0] * convolution.grid[1] + convolution.taps - 1
        matrix = delta.new_zeros(len(delta), convolution.taps**2, convolution.channels, size)
        for index, offset in enumerate(convolution.offsets):
            matrix[:, index, :, offset : offset + convolution.rows] = delta.transpose(1, 2)
        systems = []
        for taps, pixels in self.pixels:
            rows = matrix[:, taps].flatten(1, 2)
            right = self.gradient[:, taps][..., pixels].flatten(1, 2)
            systems.append((pixels, *_whiten(rows, right, self.error)))
        return systems


TOLERABLE = 1e-4
"""An error (in units of an image's values) that nobody sees: 80 dB."""


def _whiten(rows: Tensor, right: Tensor, error: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(V, R, n), (V, R, p) of an equivalent system of orthonormal rows, (V, R) its errors, (V, R) whether it counts."""
    exact = rows.double()
    values, vectors = torch.linalg.eigh(exact @ exact.transpose(1, 2))
    strength = values.clamp_min(0).sqrt()
    kept = strength > 10 * torch.finfo(rows.dtype).eps * strength.amax(dim=1, keepdim=True)
    inverse = torch.where(kept, 1 / strength.clamp_min(torch.finfo(torch.float64).tiny), 0)
    turned = (vectors * inverse[:, None]).transpose(1, 2)
    # A weak equation (a small singular value) amplifies the gradient's error.
    return (turned @ exact).to(rows), (turned @ right.double()).to(rows), (error[:, None] * inverse).to(rows), kept


def _weighted(rows: Tensor, right: Tensor, error: Tensor, kept: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    weight = (certainty(error, tolerance) * kept)[..., None]
    return rows * weight, right * weight


def _groups(convolution: BlockConvolution, channels: int, device: torch.device) -> list[tuple[list[int], Tensor]]:
    """Which taps (indices) the numbers of a block meet, as (taps, indices of those that meet exactly these)."""
    stride, kernel, taps = convolution.stride, convolution.kernel, convolution.taps
    inside = [[tap * stride + pixel < kernel for tap in range(taps)] for pixel in range(stride)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in range(stride):
        for column in range(stride):
            has = tuple(i * taps + j for i in range(taps) for j in range(taps) if inside[row][i] and inside[column][j])
            first = (row * stride + column) * channels
            groups.setdefault(has, []).extend(range(first, first + channels))
    return [(list(has), torch.tensor(pixels, device=device)) for has, pixels in groups.items()]


def equations(known: KnownConvolution) -> list[ForwardEquations | KernelEquations]:
    """All that is known of the convolution's input, as terms in units of the input."""
    blocks = Blocks(known.weight, known.stride, known.padding, known.image_shape)
    terms: list = [ForwardEquations(known, blocks)]
    if known.delta is not None and known.kernel_gradient is not None:
        terms.append(KernelEquations(known, blocks))
    return terms


class NextLayer:
    """What is known about the second convolution, as equations about the image: its input is ReLU(W x + b) of the first.

    first: the first layer (only its weights are read); second: what is known about the second, whose input is the
    first one's activation. Linearised with the ReLU's mask at the image at hand.
    """

    def __init__(self, first: KnownConvolution, second: KnownConvolution) -> None:
        self.blocks = Blocks(first.weight, first.stride, first.padding, first.image_shape)
        self.bias = 0 if first.bias is None else first.bias.view(1, -1, 1, 1)
        self.scale, self.terms = 1 / first.unit, equations(second)

    def _outputs(self, image: Tensor) -> Tensor:
        return self.blocks.outputs(self.blocks.convolution.apply(self.blocks.cut(image)))

    def linearise(self, image: Tensor, tolerance: float) -> Linearised:
        before = self._outputs(image) + self.bias
        mask = self.scale * (before > 0)
        # Tolerances are in units of the image; the inner terms' are in those of the activation.
        near = [term.linearise(before.clamp_min(0), tolerance / self.scale) for term in self.terms]
        sizes = [part.residual[0].numel() for part in near]

        def apply(direction: Tensor) -> Tensor:
            moved = mask * self._outputs(direction)
            return torch.cat([part.apply(moved).flatten(1) for part in near], dim=1)

        def adjoint(grown: Tensor) -> Tensor:
            parts = zip(near, grown.split(sizes, dim=1), strict=True)
            moved = mask * sum(part.adjoint(own.view_as(part.residual)) for part, own in parts)
            return self.blocks.join(self.blocks.convolution.apply_transposed(self.blocks.rows(moved)))

        residual = self.scale * torch.cat([part.residual.flatten(1) for part in near], dim=1)
        return Linearised(residual, apply, adjoint)
