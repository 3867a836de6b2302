"""Convolutions as a few matrix products per victim, with shared or per-victim kernels and without im2col.

A convolution of kernel k and stride s reads blocks of s x s pixels: cut the image into such blocks, put a block's
pixels into its channels, and what remains is a convolution of kernel m = ceil(k / s) and stride 1. On blocks stored
flat, row by row and channels last, each of its m x m taps is one matrix product with a *contiguous run* of blocks that
starts at the tap's offset. Outputs are kept as wide as the grid of blocks; the last m - 1 columns of each row are
meaningless and masked. So nothing is copied per tap (unfolding would copy each pixel (k / s)^2 times), and the gradient
of a kernel for each victim apart is the same matrix product with its operands exchanged.
"""

import torch.nn.functional as F
from torch import Tensor


class BlockConvolution:
    """One layer of `NetworkSpec.convolutions` on images stored (N, height, width, channels)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, height: int, width: int) -> None:
        self.channels, self.inputs, self.kernel, _ = weight.shape
        self.stride, self.height, self.width = stride, height, width
        self.out_height = (height - self.kernel) // stride + 1
        self.out_width = (width - self.kernel) // stride + 1
        self.taps = -(-self.kernel // stride)
        self.grid = (self.out_height - 1 + self.taps, self.out_width - 1 + self.taps)
        self.rows = self.out_height * self.grid[1]
        self.offsets = [i * self.grid[1] + j for i in range(self.taps) for j in range(self.taps)]
        self.bias = bias
        self.weight = list(self.to_taps(weight[None])[:, 0])

    def to_taps(self, kernels: Tensor) -> Tensor:
        """(N, K, C, k, k) kernels as (taps^2, N, s * s * C, K)."""
        filled = self.taps * self.stride - self.kernel
        kernels = F.pad(kernels, (0, filled, 0, filled))
        cut = kernels.reshape(*kernels.shape[:3], self.taps, self.stride, self.taps, self.stride)
        return cut.permute(3, 5, 0, 4, 6, 2, 1).reshape(self.taps**2, len(kernels), -1, self.channels).contiguous()

    def blocks(self, image: Tensor) -> Tensor:
        """(N, height, width, C) as flat blocks (N, grid + taps - 1, s * s * C); the last rows are zero padding."""
        rows, columns, stride = *self.grid, self.stride
        image = image[:, : rows * stride, : columns * stride]
        missing = (columns * stride - image.shape[2], rows * stride - image.shape[1])
        if any(missing):
            image = F.pad(image, (0, 0, 0, missing[0], 0, missing[1]))
        flat = image.new_empty(len(image), rows * columns + self.taps - 1, stride * stride * self.inputs)
        flat[:, rows * columns :] = 0
        target = flat[:, : rows * columns].view(len(image), rows, columns, stride, stride, self.inputs)
        target.copy_(image.reshape(len(image), rows, stride, columns, stride, self.inputs).transpose(2, 3))
        return flat

    def unblocks(self, flat: Tensor) -> Tensor:
        """Adjoint of `blocks`: (N, height, width, C), zero where no kernel reads."""
        rows, columns, stride = *self.grid, self.stride
        cut = flat[:, : rows * columns].view(len(flat), rows, columns, stride, stride, self.inputs)
        image = cut.transpose(2, 3).reshape(len(flat), rows * stride, columns * stride, self.inputs)
        image = image[:, : self.height, : self.width]
        missing = (self.width - image.shape[2], self.height - image.shape[1])
        return F.pad(image, (0, 0, 0, missing[0], 0, missing[1])) if any(missing) else image

    def apply(self, blocks: Tensor) -> Tensor:
        """(N, rows, K): the convolution without its bias."""
        rows = blocks.new_empty(len(blocks), self.rows, self.channels)
        for index, offset in enumerate(self.offsets):
            rows.baddbmm_(blocks[:, offset : offset + self.rows], self._tap(index, len(blocks)), beta=int(index > 0))
        return rows

    def apply_transposed(self, grown: Tensor) -> Tensor:
        """Adjoint of `apply`: (N, rows, K) to flat blocks; meaningless columns must be zero."""
        size = self.grid[0] * self.grid[1] + self.taps - 1
        blocks = grown.new_empty(len(grown), size, self.stride**2 * self.inputs)
        blocks[:, self.rows :] = 0
        for index, offset in enumerate(self.offsets):
            tap = self._tap(index, len(grown)).transpose(1, 2)
            # The first tap covers the first `rows` blocks.
            blocks[:, offset : offset + self.rows].baddbmm_(grown, tap, beta=int(index > 0))
        return blocks

    def image(self, rows: Tensor) -> Tensor:
        """(N, rows, K) as an image (N, out_height, out_width, K), without the meaningless columns."""
        return rows.view(len(rows), self.out_height, self.grid[1], self.channels)[:, :, : self.out_width]

    def rows_of(self, image: Tensor) -> Tensor:
        """The inverse of `image`, with zeros in the meaningless columns."""
        padded = F.pad(image, (0, 0, 0, self.grid[1] - self.out_width)) if self.taps > 1 else image
        return padded.reshape(len(image), self.rows, self.channels)

    def _tap(self, index: int, victims: int, kernels: Tensor | None = None) -> Tensor:
        """(N, s * s * C, K), of these kernels (taps^2, N, ., K) or of the layer's."""
        return self.weight[index].expand(victims, -1, -1) if kernels is None else kernels[index]
