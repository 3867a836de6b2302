"""The convolutions' share of gradient matching's passes (`rlleak.attacks.passes`), from the image to the features."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks.layers import Buffers, Layer, copy, like, relu, where_active_into
from rlleak.attacks.targets import DenseTarget, square_of
from rlleak.learners.specification import NetworkSpec

Gradients = list[tuple[Tensor, Tensor | None]]
"""For each convolution something about the kernels, (taps^2, N, ., K), and about the bias, (N, K) or None."""


class Convolutions:
    """The convolutions of a network, in order; false without any.

    A trace is what one call of gradient matching remembers from pass to pass: here each layer's `blocks` and `rows`
    from the forward pass and its `deltas` from the backward pass. The features stand in the first columns of the linear
    layers' input, (N, linear inputs).
    """

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Tensor]) -> None:
        self.spec, self.layers = spec, []
        self.buffers = Buffers(next(iter(parameters.values())))
        if spec.image_shape is not None:
            _, height, width = spec.image_shape
            for index, layer in enumerate(spec.convolutions):
                name = f"convolutions.{index}"
                weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
                self.layers.append(Layer(name, weight, bias, layer.stride, layer.padding, height, width))
                height, width = self.layers[-1].out_height, self.layers[-1].out_width

    def __bool__(self) -> bool:
        return bool(self.layers)

    def targets(self, shared: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> list[DenseTarget]:
        """The shared gradients, name -> (V, *shape), of each convolution, and which of their entries arrived."""
        found = []
        for layer in self.layers:
            kernels, bias = shared[f"{layer.name}.weight"], shared.get(f"{layer.name}.bias")
            square = square_of(kernels) + (square_of(bias) if bias is not None else 0)
            masks = [known.get(f"{layer.name}.{kind}") for kind in ("weight", "bias")]
            masks = [None if mask is None else mask.to(kernels.dtype) for mask in masks]
            masks[0] = None if masks[0] is None else layer.to_taps(masks[0])
            found.append(DenseTarget(layer.to_taps(kernels).neg_(), bias, square, tuple(masks)))
        return found

    def gradients(self, trace: dict) -> Gradients:
        """Each candidate's gradients."""
        return [
            (layer.own_gradients(blocks, delta), layer.errors(delta).sum(dim=1) if layer.bias is not None else None)
            for layer, blocks, delta in zip(self.layers, trace["blocks"], trace["deltas"], strict=True)
        ]

    def forward(self, image: Tensor, activation: Tensor, trace: dict) -> None:
        """The image's features into the first columns of activation (N, linear inputs)."""
        victims, image, compute = len(image), image.permute(0, 2, 3, 1), copy
        trace["blocks"], trace["rows"] = [], []
        for layer in self.layers:
            blocks = layer.store(layer.blocks_buffer("input", victims), compute, image)
            rows = layer.rows_buffer("output", victims)
            if layer.bias is not None:
                rows.copy_(layer.bias)
            trace["blocks"].append(blocks)
            trace["rows"].append(layer.convolve(blocks, rows, keep=layer.bias is not None))
            image, compute = layer.outputs(rows), relu
        relu(image, out=self._features(activation))

    def backward(self, inputs: Tensor, trace: dict) -> None:
        """The errors at all convolutions' outputs from those at the linear layers' input (N, linear inputs)."""
        trace["deltas"] = self._errors("error", self._features(inputs), trace)

    def reverse_errors(self, trace: dict, by_dense: Gradients, inputs: Tensor) -> None:
        """Derivative by the error that arrives at the features, into the first columns of inputs (N, linear inputs)."""
        previous = None
        for index, layer in enumerate(self.layers):
            kernels, bias = by_dense[index]
            rows = layer.rows_buffer("by error", len(inputs))
            if bias is not None:
                rows.copy_(bias[:, None])
            layer.convolve(trace["blocks"][index], rows, kernels, keep=bias is not None)
            if previous is not None:
                before = self.layers[index - 1].outputs(trace["rows"][index - 1])
                blocks = layer.store(layer.blocks_buffer("by error", len(inputs)), where_active_into, previous, before)
                layer.convolve(blocks, rows, keep=True)
            previous = layer.outputs(rows)
        where_active_into(previous, self.layers[-1].outputs(trace["rows"][-1]), out=self._features(inputs))

    def reverse_image(self, trace: dict, by_dense: Gradients, downward: Tensor, unit: Tensor) -> Tensor:
        """Derivative by the image (N, C, H, W) from downward, that by the linear layers' input, and times unit (N,)."""
        first = self.layers[0]
        errors = self._errors("by activation", self._features(downward), trace, by_dense)
        grown = self._grown("by activation", 0, errors[0], trace, by_dense)
        channels, height, width = self.spec.image_shape
        image = self.buffers("by image", len(downward), height, width, channels)
        rows, columns = first.read
        image[:, rows:], image[:, :, columns:] = 0, 0  # the caller may have added to them
        first.collect(grown, lambda source, out: torch.mul(source, like(unit, source), out=out), image)
        return image.permute(0, 3, 1, 2)

    def _features(self, linear: Tensor) -> Tensor:
        """Image features of (N, linear inputs) as the last convolution's output (N, height, width, channels)."""
        last = self.layers[-1]
        shape = (last.channels, last.out_height, last.out_width)
        return linear[:, : self.spec.image_features].unflatten(1, shape).permute(0, 2, 3, 1)

    def _errors(self, name: str, features: Tensor, trace: dict, by_dense: Gradients | None = None) -> list[Tensor]:
        """What arrives at the outputs of all convolutions, before ReLU, from (N, height, width, K) behind the last.

        by_dense: derivatives by the kernels' gradients, through which the errors' own inputs are reached too.
        """
        last = self.layers[-1]
        errors = [last.errors_buffer(name, len(features))]
        where_active_into(features, last.outputs(trace["rows"][-1]), out=last.outputs(last.errors(errors[0])))
        for index in range(len(self.layers) - 1, 0, -1):
            before = self.layers[index - 1]
            grown = self._grown(name, index, errors[0], trace, by_dense)
            errors.insert(0, before.errors_buffer(name, len(features)))
            target, active = before.outputs(before.errors(errors[0])), before.outputs(trace["rows"][index - 1])
            self.layers[index].collect(grown, where_active_into, target, active)
        return errors

    def _grown(self, name: str, index: int, errors: Tensor, trace: dict, by_dense: Gradients | None) -> Tensor:
        layer = self.layers[index]
        grown = layer.convolve_transposed(errors, layer.grown_buffer(name, len(errors)))
        if by_dense is not None:
            layer.convolve_transposed(trace["deltas"][index], grown, by_dense[index][0], keep=True)
        return grown
