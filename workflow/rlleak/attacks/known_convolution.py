"""What is known about a convolution's input: equations from its outputs and from its kernels' gradient.

With kernels W, biases b, stride s and an input x (the image, or an activation):

- where an output is active, W x + b is its value (equations);
- where it is inactive, W x + b <= 0 (inequalities, for a ReLU);
- with the error delta (the loss's derivative by W x + b), the kernels' gradient is
  sum_p delta[k, p] x[c, s p + (i, j)] (equations, linear in x).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.blocks import Blocks
from rlleak.attacks.convolution import BlockConvolution
from rlleak.attacks.data_terms import DataTerm, Linearised, certainty, squared


@dataclass(frozen=True)
class KnownConvolution:
    """What V victims' updates say about one convolution.

    weight: (K, C, k, k), bias: (K,) or None, stride, padding: the layer's. image_shape: (C, H, W), its input's.
    samples: of how many transitions each update is. Their inputs stand below each other, H / samples rows each, and so
    do their outputs: no kernel reaches across, and the kernels' gradient is the sum over all.
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
    samples: int = 1

    @property
    def victims(self) -> int:
        return len(self.activation)

    @property
    def unit(self) -> float:
        """By how much an output's errors exceed an input's: the kernels' mean norm."""
        return float(self.weight.flatten(1).norm(dim=1).mean().clamp_min(torch.finfo(self.weight.dtype).tiny))

    def blocks(self) -> Blocks:
        """Its inputs cut into blocks."""
        return Blocks(self.weight, self.stride, self.padding, self.image_shape, self.samples)

    @property
    def numbers_read(self) -> int:
        """How many numbers of its input any output depends on: strides may leave out the last rows and columns."""
        channels, height, width = self.image_shape
        (rows, columns), kernel = self.activation.shape[2:], self.weight.shape[2:]
        places, ones = (rows // self.samples, columns), self.weight.new_ones
        reach = F.conv_transpose2d(ones(1, 1, *places), ones(1, 1, *kernel), stride=self.stride)[0, 0]
        first, height = self.padding, height // self.samples
        read = reach[first : first + height, first : first + width] > 0
        return channels * self.samples * int(read.sum())

    def each(self, value: float | Tensor) -> Tensor:
        """A number or (V,) as (V,)."""
        like = self.activation
        return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(self.victims)


class ForwardEquations:
    """W x + b where it is known, and where it is above 0 and may not be."""

    def __init__(self, known: KnownConvolution, blocks: Blocks) -> None:
        self.blocks, self.scale = blocks, 1 / known.unit
        self.error = known.each(known.activation_error) * self.scale
        bias = 0 if known.bias is None else known.bias.view(1, -1, 1, 1)
        self.active, self.inactive = (blocks.rows(mask.to(known.weight)) for mask in (known.active, known.inactive))
        # Where active the value itself, where inactive the limit; the masks keep them apart.
        self.right = blocks.rows(torch.where(known.active, known.activation - bias, (-bias) * known.inactive))

    def linearise(self, image: Tensor, tolerance: float, deviation: float = 0.0) -> Linearised:
        difference = self.blocks.apply(self.blocks.cut(image)).sub_(self.right)
        weight = (self.scale * certainty(self.error, tolerance)).view(-1, 1, 1)
        counted = (self.active + self.inactive * (difference > 0)).mul_(weight)
        return Linearised(
            counted * difference,
            lambda direction: self.blocks.apply(self.blocks.cut(direction)).mul_(counted),
            lambda grown: self.blocks.join(self.blocks.apply_transposed(counted * grown)),
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
    miss a tap; they are grouped by the taps they have. Where a mask is unsure, delta counts as often as the output is
    likely above 0, and what that leaves open is an error of its kernel's equations.
    """

    def __init__(self, known: KnownConvolution, blocks: Blocks) -> None:
        self.blocks, convolution = blocks, blocks.convolution
        self.gradient = convolution.to_taps(known.kernel_gradient).permute(1, 0, 3, 2)
        rounding = torch.finfo(known.weight.dtype).eps
        typical = known.kernel_gradient.flatten(1).square().mean(dim=1).sqrt()
        self.error = known.each(known.gradient_error).clamp_min(rounding) * typical
        self.pixels = _groups(convolution, known.image_shape[0], known.weight.device)
        self.delta, self.active = blocks.rows(known.delta), blocks.rows(known.active.to(known.weight))
        self.unsure = blocks.rows((~(known.active | known.inactive)).to(known.weight))
        self.bias, self.unit = (0 if known.bias is None else known.bias), known.unit
        self.systems = None if bool(self.unsure.any()) else self._systems(self.active, torch.zeros_like(self.active))

    @property
    def rank(self) -> Tensor:
        """How many independent equations there are, (V,), without those that unsure entries spoil."""
        systems = self.systems or self._systems(self.active, torch.zeros_like(self.active))
        return sum(system.pixels.numel() * system.counts.sum(dim=1) for system in systems)

    def linearise(self, image: Tensor, tolerance: float, deviation: float = 0.0) -> Linearised:
        blocks = self.blocks.cut(image)
        weighted = [system.weighted(tolerance) for system in self.systems or self._guessed(blocks, deviation)]
        known = torch.cat([right.flatten(1) for _, _, right in weighted], dim=1)

        def apply(direction: Tensor) -> Tensor:
            cut = self.blocks.cut(direction)
            return torch.cat([(rows @ cut[..., pixels]).flatten(1) for pixels, rows, _ in weighted], dim=1)

        def adjoint(grown: Tensor) -> Tensor:
            begin = 0
            cut = grown.new_zeros(len(grown), weighted[0][1].shape[2], self.blocks.convolution.weight[0].shape[0])
            for pixels, rows, right in weighted:
                part = grown[:, begin : begin + right[0].numel()].view_as(right)
                cut[..., pixels] = rows.transpose(1, 2) @ part
                begin += right[0].numel()
            return self.blocks.join(cut)

        return Linearised(apply(image) - known, apply, adjoint)

    def misfits(self, image: Tensor) -> dict[str, Tensor]:
        """The root mean square error "gradient" of the equations, an erroneous one counting for less, (V,)."""
        residual = self.linearise(image, TOLERABLE, TOLERABLE).residual
        return {"gradient": residual.square().mean(dim=1).sqrt()}

    def _guessed(self, blocks: Tensor, deviation: float) -> list["_System"]:
        """The systems with unsure masks as the image at hand suggests them."""
        before = self.blocks.apply(blocks).add_(self.bias)
        # The chance that an output is above 0, if it is off by a Gaussian error.
        chance = torch.special.ndtr(before / max(self.unit * deviation, torch.finfo(before.dtype).tiny))
        seen = self.blocks.each(blocks)[:, : self.blocks.convolution.rows]
        open_energy = self.unsure * chance * (1 - chance) * seen.square().mean()
        return self._systems(self.active + self.unsure * chance, open_energy)

    def _systems(self, mask: Tensor, open_energy: Tensor) -> list["_System"]:
        """The systems of each group, for masks and what they leave open (the input's square there), (V, rows, K)."""
        convolution, delta = self.blocks.convolution, self.delta * mask
        size = convolution.grid[0] * convolution.grid[1] + convolution.taps - 1
        samples = self.blocks.samples
        matrix = delta.new_zeros(len(delta), convolution.taps**2, convolution.channels, samples, size)
        for index, offset in enumerate(convolution.offsets):
            own = delta.unflatten(1, (samples, -1)).permute(0, 3, 1, 2)
            matrix[:, index, :, :, offset : offset + convolution.rows] = own
        matrix = matrix.flatten(3)
        open_error = (self.delta.square() * open_energy).sum(dim=1)
        noise = (self.error[:, None].square() + open_error).sqrt()
        systems = []
        for taps, pixels in self.pixels:
            right = self.gradient[:, taps][..., pixels].flatten(1, 2)
            systems.append(_whiten(pixels, matrix[:, taps].flatten(1, 2), right, noise.repeat(1, len(taps))))
        return systems


TOLERABLE = 1e-4
"""An error (in units of an image's values) that nobody sees: 80 dB."""


class _System(NamedTuple):
    """Orthonormal rows (V, R, n) about the numbers `pixels` (p,) of every block, with right sides (V, R, p); the error
    (V, R) of an equation's right sides, and whether it counts at all."""

    pixels: Tensor
    rows: Tensor
    right: Tensor
    error: Tensor
    counts: Tensor

    def weighted(self, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        weight = (certainty(self.error, tolerance) * self.counts)[..., None]
        return self.pixels, weight * self.rows, weight * self.right


def _whiten(pixels: Tensor, rows: Tensor, right: Tensor, noise: Tensor) -> _System:
    """An equivalent system of orthonormal rows from rows whose right sides carry errors of deviation noise (V, R)."""
    # A victim that shared nothing but zeros has no noise either.
    scale = 1 / noise.double().clamp_min(torch.finfo(torch.float32).tiny)[..., None]
    exact = scale * rows.double()
    strength, vectors = _strengths(exact)
    counts = strength > 10 * torch.finfo(rows.dtype).eps * strength.amax(dim=1, keepdim=True)
    inverse = torch.where(counts, 1 / strength.clamp_min(torch.finfo(torch.float64).tiny), 0)
    turned = (vectors * inverse[:, None]).transpose(1, 2)
    # In units of their errors the rows had strengths; with rows of norm 1 an error is what it takes to reach them.
    return _System(
        pixels, (turned @ exact).to(rows), (turned @ (scale * right.double())).to(rows), inverse.to(rows), counts
    )


def _strengths(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values and left singular vectors (in columns) of (V, R, n) rows."""
    try:
        values, vectors = torch.linalg.eigh(rows @ rows.transpose(1, 2))
    except torch.linalg.LinAlgError:
        # LAPACK gives up where nearly all rows are exactly 0: a network of which most channels are dead.
        vectors, values, _ = torch.linalg.svd(rows, full_matrices=False)
        return values, vectors
    return values.clamp_min(0).sqrt(), vectors


def _groups(convolution: BlockConvolution, channels: int, device: torch.device) -> list[tuple[list[int], Tensor]]:
    """Which taps (indices) the numbers of a block meet, as (taps, indices of those that meet exactly these)."""
    stride, kernel, taps = convolution.stride, convolution.kernel, convolution.taps
    inside = [[tap * stride + pixel < kernel for tap in range(taps)] for pixel in range(stride)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in range(stride):
        for column in range(stride):
            has = tuple(i * taps + j for i in range(taps) for j in range(taps) if inside[row][i] and inside[column][j])
            if not has:
                continue  # between kernels of a stride larger than they are
            first = (row * stride + column) * channels
            groups.setdefault(has, []).extend(range(first, first + channels))
    return [(list(has), torch.tensor(pixels, device=device)) for has, pixels in groups.items()]


def equations(known: KnownConvolution) -> list[ForwardEquations | KernelEquations]:
    """All that is known of the convolution's input, as terms in units of the input."""
    blocks = known.blocks()
    terms: list = [ForwardEquations(known, blocks)]
    if known.delta is not None and known.kernel_gradient is not None:
        terms.append(KernelEquations(known, blocks))
    return terms


class NextLayer:
    """Terms about a first convolution's activation, as a term about its input.

    first: that convolution, of which only the weights are read; terms: about its activation ReLU(W x + b), such as
    `equations` of the next convolution, or another NextLayer. Linearised with the ReLU's mask at the image at hand.
    """

    def __init__(self, first: KnownConvolution, terms: Sequence[DataTerm]) -> None:
        self.blocks = first.blocks()
        self.bias = 0 if first.bias is None else first.bias.view(1, -1, 1, 1)
        self.unit, self.terms = first.unit, terms

    def _outputs(self, image: Tensor) -> Tensor:
        return self.blocks.outputs(self.blocks.apply(self.blocks.cut(image)))

    def linearise(self, image: Tensor, tolerance: float, deviation: float = 0.0) -> Linearised:
        before = self._outputs(image) + self.bias
        mask = (before > 0) / self.unit
        near = [
            term.linearise(before.clamp_min(0), tolerance * self.unit, deviation * self.unit) for term in self.terms
        ]
        sizes = [part.residual[0].numel() for part in near]

        def apply(direction: Tensor) -> Tensor:
            moved = mask * self._outputs(direction)
            return torch.cat([part.apply(moved).flatten(1) for part in near], dim=1)

        def adjoint(grown: Tensor) -> Tensor:
            parts = zip(near, grown.split(sizes, dim=1), strict=True)
            moved = mask * sum(part.adjoint(own.view_as(part.residual)) for part, own in parts)
            return self.blocks.join(self.blocks.apply_transposed(self.blocks.rows(moved)))

        residual = torch.cat([part.residual.flatten(1) for part in near], dim=1) / self.unit
        return Linearised(residual, apply, adjoint)
