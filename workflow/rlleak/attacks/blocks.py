"""Inputs of a convolution as blocks, those of one update's samples one after another."""

import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.convolution import BlockConvolution


class Blocks:
    """A convolution's inputs (V, C, H, W) as its blocks (see `BlockConvolution`), and back.

    Samples that stand below each other in H follow each other in blocks, (V, samples * blocks, .), and in rows.
    """

    def __init__(
        self, weight: Tensor, stride: int, padding: int, image_shape: tuple[int, int, int], samples: int = 1
    ) -> None:
        _, height, width = image_shape
        self.padding, self.samples, self.shape = padding, samples, (height // samples, width)
        self.convolution = BlockConvolution(weight, None, stride, self.shape[0] + 2 * padding, width + 2 * padding)

    def apart(self, value: Tensor) -> Tensor:
        """(V, C, samples * H, W) as (V * samples, C, H, W)."""
        return value if self.samples == 1 else value.unflatten(2, (self.samples, -1)).transpose(1, 2).flatten(0, 1)

    def _together(self, value: Tensor) -> Tensor:
        """The inverse of `apart`."""
        return value if self.samples == 1 else value.unflatten(0, (-1, self.samples)).transpose(1, 2).flatten(2, 3)

    def each(self, flat: Tensor) -> Tensor:
        """Blocks or rows (V, samples * n, .) by sample, (V * samples, n, .)."""
        return flat.unflatten(1, (self.samples, -1)).flatten(0, 1)

    def _joined(self, flat: Tensor) -> Tensor:
        """The inverse of `each`."""
        return flat.unflatten(0, (-1, self.samples)).flatten(1, 2)

    def cut(self, image: Tensor) -> Tensor:
        image = self.apart(image)
        if self.padding:
            image = F.pad(image, (self.padding,) * 4)
        return self._joined(self.convolution.blocks(image.permute(0, 2, 3, 1)))

    def join(self, blocks: Tensor) -> Tensor:
        """The adjoint of `cut`."""
        image = self.convolution.unblocks(self.each(blocks)).permute(0, 3, 1, 2)
        begin, (height, width) = self.padding, self.shape
        return self._together(image[:, :, begin : begin + height, begin : begin + width].contiguous())

    def apply(self, blocks: Tensor) -> Tensor:
        """The convolution without its bias, rows of blocks."""
        return self._joined(self.convolution.apply(self.each(blocks)))

    def apply_transposed(self, rows: Tensor) -> Tensor:
        """The adjoint of `apply`; rows that mean nothing must be zero."""
        return self._joined(self.convolution.apply_transposed(self.each(rows)))

    def rows(self, value: Tensor) -> Tensor:
        """Outputs (V, K, h, w) as the convolution's rows, zero where rows mean nothing."""
        return self._joined(self.convolution.rows_of(self.apart(value).permute(0, 2, 3, 1)).contiguous())

    def outputs(self, rows: Tensor) -> Tensor:
        """The convolution's rows as outputs (V, K, h, w)."""
        return self._together(self.convolution.image(self.each(rows)).permute(0, 3, 1, 2))
