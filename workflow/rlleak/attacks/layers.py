"""One convolution of the engine: its passes over all victims, written into memory that is kept between calls.

Tensors of this size, allocated anew in each iteration, cost a CPU more in page faults than in arithmetic; and a CUDA
graph needs them to stay where they are. ReLU, its backward pass and the cut into blocks each go over memory once, from
one layer's rows straight into the next one's blocks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rlleak.attacks.convolution import BlockConvolution

Compute = Callable[..., object]
"""Elementwise: called with tensors of one shape and `out`."""


def copy(source: Tensor, out: Tensor) -> None:
    out.copy_(source)


def relu(source: Tensor, out: Tensor) -> None:
    torch.clamp_min(source, 0, out=out)


def where_active_into(gradient: Tensor, activation: Tensor, out: Tensor) -> None:
    """ReLU's backward pass: the gradient where its input (or output) is above 0, else 0."""
    torch.ops.aten.threshold_backward.grad_input(gradient, activation, 0, grad_input=out)


def like(unit: Tensor, value: Tensor) -> Tensor:
    """One number per victim, (N,), in the shape that multiplies (N, ...)."""
    return unit.view(-1, *(1,) * (value.dim() - 1))


class Buffers:
    """Named tensors that are zero when first asked for and keep their place and content from then on."""

    def __init__(self, like: Tensor) -> None:
        self._like, self._kept = like, {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        kept = self._kept.get(name)
        if kept is None or kept.shape != shape:
            kept = self._kept[name] = self._like.new_zeros(shape)
        return kept


class Layer(BlockConvolution):
    """A convolution on images (N, height, width, C), with zero padding, and its buffers.

    Blocks (N, grid + taps - 1, s * s * C) are as in `BlockConvolution`, of the padded image. Rows (N, rows, K) hold
    numbers without meaning in the columns behind out_width, so they are read through `outputs` only. Errors stand
    between as many zeros as a kernel is wide, so that the adjoint's taps are runs of them too.
    """

    def __init__(
        self, name: str, weight: Tensor, bias: Tensor | None, stride: int, padding: int, height: int, width: int
    ) -> None:
        super().__init__(weight, bias, stride, height + 2 * padding, width + 2 * padding)
        self.name, self.padding, self.buffers = name, padding, Buffers(weight)
        # Kernel entries that only fill up the last block are no parameters: their gradient is masked.
        whole = self.kernel % stride == 0
        self.parameters = None if whole else self.to_taps(torch.ones_like(weight)[None])
        self.places = self.grid[0] * self.grid[1]
        self.reach = self.offsets[-1]
        canvas = [side * stride for side in self.grid]
        # How much of the image is read: a stride may leave its last rows and columns out.
        self.read = [max(0, min(side, whole - padding)) for side, whole in zip((height, width), canvas, strict=True)]
        self.canvas = canvas
        self.straight = stride == 1 or (padding == 0 and self.read == canvas)

    def blocks_buffer(self, name: str, victims: int) -> Tensor:
        return self.buffers(f"blocks {name}", victims, self.places + self.taps - 1, self.stride**2 * self.inputs)

    def grown_buffer(self, name: str, victims: int) -> Tensor:
        return self.buffers(f"grown {name}", victims, self.places, self.stride**2 * self.inputs)

    def rows_buffer(self, name: str, victims: int) -> Tensor:
        return self.buffers(f"rows {name}", victims, self.rows, self.channels)

    def errors_buffer(self, name: str, victims: int) -> Tensor:
        return self.buffers(f"errors {name}", victims, self.reach + self.places, self.channels)

    def errors(self, surrounded: Tensor) -> Tensor:
        """The rows (N, rows, K) of an errors buffer; their columns without meaning stay zero."""
        return surrounded[:, self.reach : self.reach + self.rows]

    def outputs(self, rows: Tensor) -> Tensor:
        """Rows as an image (N, out_height, out_width, K)."""
        return rows.unflatten(1, (self.out_height, self.grid[1]))[:, :, : self.out_width]

    def store(self, blocks: Tensor, compute: Compute, *images: Tensor) -> Tensor:
        """The blocks of compute(*images), computed in place where they lie; images are (N, height, width, C)."""
        rows, columns = self.read
        images = tuple(image[:, :rows, :columns] for image in images)
        if self.straight:
            compute(*map(self._cut, images), out=self._placed(blocks))
        else:
            canvas = self.buffers("canvas", len(blocks), *self.canvas, self.inputs)  # zero around the image
            compute(*images, out=self._inside(canvas))
            self._placed(blocks).copy_(self._cut(canvas))
        return blocks

    def collect(self, blocks: Tensor, compute: Compute, out: Tensor, *images: Tensor) -> Tensor:
        """out = compute(image of the blocks, *images), out and images (N, height, width, C); else untouched."""
        rows, columns = self.read
        views = [image[:, :rows, :columns] for image in (out, *images)]
        if self.straight:
            target, *others = map(self._cut, views)
            compute(self._placed(blocks), *others, out=target)
        else:
            canvas = self.buffers("grown canvas", len(blocks), *self.canvas, self.inputs)
            self._cut(canvas).copy_(self._placed(blocks))
            compute(self._inside(canvas), *views[1:], out=views[0])
        return out

    def convolve(self, blocks: Tensor, rows: Tensor, kernels: Tensor | None = None, keep: bool = False) -> Tensor:
        """rows = (rows if keep) + the convolution, by its kernels or by (taps^2, N, ., K) ones."""
        for index, offset in enumerate(self.offsets):
            tap = self._tap(index, len(blocks), kernels)
            rows.baddbmm_(blocks[:, offset : offset + self.rows], tap, beta=int(keep or index > 0))
        return rows

    def convolve_transposed(
        self, errors: Tensor, blocks: Tensor, kernels: Tensor | None = None, keep: bool = False
    ) -> Tensor:
        """blocks (N, grid, .) = (blocks if keep) + the adjoint, of an errors buffer."""
        for index, offset in enumerate(self.offsets):
            run = errors[:, self.reach - offset : self.reach - offset + self.places]
            tap = self._tap(index, len(errors), kernels).transpose(1, 2)
            blocks.baddbmm_(run, tap, beta=int(keep or index > 0))
        return blocks

    def own_gradients(self, blocks: Tensor, errors: Tensor) -> Tensor:
        """Each victim's gradient of the kernels, (taps^2, N, s * s * C, K), from an errors buffer."""
        gradients = self.buffers("gradients", self.taps**2, len(blocks), blocks.shape[2], self.channels)
        delta = self.errors(errors)
        for index, offset in enumerate(self.offsets):
            torch.bmm(blocks[:, offset : offset + self.rows].transpose(1, 2), delta, out=gradients[index])
        return gradients if self.parameters is None else gradients.mul_(self.parameters)

    def _inside(self, canvas: Tensor) -> Tensor:
        rows, columns = self.read
        return canvas[:, self.padding : self.padding + rows, self.padding : self.padding + columns]

    def _cut(self, image: Tensor) -> Tensor:
        """A view of the image in the order of blocks; where the stride is 1 that is the image."""
        if self.stride == 1:
            return image
        rows, columns = self.grid
        return image.unflatten(2, (columns, self.stride)).unflatten(1, (rows, self.stride)).transpose(2, 3)

    def _placed(self, blocks: Tensor) -> Tensor:
        """A view of the blocks in which `_cut` of the image, or of the canvas, fits."""
        rows, columns = self.grid
        blocks = blocks[:, : self.places]
        if self.stride == 1:
            return self._inside(blocks.unflatten(1, (rows, columns)))
        cut = blocks.unflatten(2, (self.stride, self.stride, self.inputs))
        return cut.unflatten(1, (rows, columns))
