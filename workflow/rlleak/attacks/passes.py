"""The backward pass of a policy network written out, and the derivative of whatever is computed from its gradients.

Gradient matching needs d L(g(x)) / d x, where g itself is a gradient. Differentiating autograd's backward pass costs
several times the arithmetic that is there and runs one victim at a time. Here all three passes stand written out, for
N victims at once: forward, backward (deltas), and the reverse of both. ReLU's second derivative is 0, as in autograd.

A candidate enters the network at one of three places, and only the layers behind it take part:
    "image"     image (N, C, H, W) and vector (N, D): all layers
    "features"  input of all linear layers: features (N, image_features) and vector (N, D): linear layers
    "last"      input of the last linear layer: activation (N, hidden[-1]): the head alone
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rlleak.attacks.layers import Buffers, Layer, copy, relu, where_active_into
from rlleak.attacks.signals import ErrorSignal, PullBack
from rlleak.attacks.targets import (
    DenseTarget,
    FactoredTarget,
    LinearGradient,
    LossName,
    MatchingLoss,
    MatrixTarget,
    linear_target,
    square_of,
)
from rlleak.attacks.weights import Weight
from rlleak.errors import ConfigurationError
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.update import SharedUpdate

Entry = Literal["image", "features", "last"]
Inputs = Mapping[str, Tensor]


def where_active(gradient: Tensor, activation: Tensor) -> Tensor:
    """The gradient where a ReLU let its input through, else 0: ReLU's backward pass, in one go over memory."""
    return torch.ops.aten.threshold_backward(gradient, activation, 0)


def like(unit: Tensor, value: Tensor) -> Tensor:
    """One number per victim, (N,), in the shape that multiplies (N, ...)."""
    return unit.view(-1, *(1,) * (value.dim() - 1))


def _check_layers(spec: NetworkSpec) -> None:
    if spec.activation != "relu":
        raise ConfigurationError(
            f"gradient matching has the second derivatives of ReLU networks only and this one has {spec.activation}; "
            "attack it with closed_form"
        )


class GradientMatching:
    """Matching loss of candidates against shared updates, and its derivative by everything that may be optimised.

    rows: for each candidate the victim whose update it is matched against (several restarts share a victim). targets:
    linear layers' shared gradients already brought into shape; what is missing is added, for the next one to use.
    """

    def __init__(
        self,
        update: SharedUpdate,
        entry: Entry,
        loss: LossName = "cosine",
        rows: Tensor | None = None,
        targets: dict[str, FactoredTarget | MatrixTarget] | None = None,
    ) -> None:
        self.spec, self.entry = update.architecture, entry
        _check_layers(self.spec)
        self.parameters = dict(update.parameters)
        self.layers = [*(f"hidden.{index}" for index in range(len(self.spec.hidden))), "head"]
        self.has_vector_layer = self.spec.vector_width > 0
        self.convolutions = self._build_convolutions() if entry == "image" else []
        self.buffers = Buffers(self._weight("head"))
        names = self.layers if entry != "last" else ["head"]
        if entry != "last" and self.has_vector_layer:
            names = ["vector", *names]
        self.weights = {name: Weight(self._weight(name)) for name in names}
        shared = update.gradients
        targets = {} if targets is None else targets
        for name in names:
            if name not in targets:
                targets[name] = linear_target(shared[f"{name}.weight"], shared.get(f"{name}.bias"))
        linear = {name: targets[name] for name in names}
        dense = []
        for layer in self.convolutions:
            kernels, bias = shared[f"{layer.name}.weight"], shared.get(f"{layer.name}.bias")
            square = square_of(kernels) + (square_of(bias) if bias is not None else 0)
            dense.append(DenseTarget(layer.to_taps(kernels).neg_(), bias, square))
        self.loss = MatchingLoss(linear, dense, loss, rows)

    def _build_convolutions(self) -> list[Layer]:
        layers = []
        if self.spec.image_shape is not None:
            _, height, width = self.spec.image_shape
            for index, layer in enumerate(self.spec.convolutions):
                name = f"convolutions.{index}"
                bias = self.parameters.get(f"{name}.bias")
                layers.append(Layer(name, self._weight(name), bias, layer.stride, layer.padding, height, width))
                height, width = layers[-1].out_height, layers[-1].out_width
        return layers

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        return self.weights[name].up(inputs, self.parameters.get(f"{name}.bias"))

    def _weight(self, name: str) -> Tensor:
        return self.parameters[f"{name}.weight"]

    def _linear_gradients(self, trace: dict) -> dict[str, LinearGradient]:
        return {
            name: LinearGradient(trace["delta", name], trace["input", name], f"{name}.bias" in self.parameters)
            for name in self.loss.linear
        }

    @torch.no_grad()
    def __call__(self, inputs: Inputs, signal: ErrorSignal) -> tuple[Tensor, dict[str, Tensor]]:
        """Matching loss (N,) and its derivative by each of the inputs and of the signal's own variables.

        The image's derivative is (N, C, H, W) with the channels last in memory, in a tensor that the next call writes
        over.
        """
        trace = self._forward(inputs)
        error, pull_back = signal(trace["output"], inputs)
        self._backward(trace, error)
        dense = [
            (layer.own_gradients(blocks, delta), layer.errors(delta).sum(dim=1) if layer.bias is not None else None)
            for layer, blocks, delta in zip(self.convolutions, trace["blocks"], trace["deltas"], strict=True)
        ]
        loss, by_linear, by_dense, unit = self.loss(self._linear_gradients(trace), dense)
        return loss, self._reverse(trace, by_linear, by_dense, unit, pull_back)

    @torch.no_grad()
    def output(self, inputs: Inputs) -> Tensor:
        """The network's output (N, outputs) for these candidates."""
        return self._forward(inputs)["output"]

    @property
    def linear_square(self) -> Tensor:
        """|g|^2 of the shared gradient over the linear layers, (N,)."""
        return sum(target.square for target in self.loss.linear.values())

    @torch.no_grad()
    def squared_norm(self, inputs: Inputs, error: Tensor) -> Tensor:
        """|g|^2 over the linear layers (N,) if the error at the output is this, (N, outputs)."""
        trace = self._forward(inputs)
        self._backward(trace, error)
        return sum(gradient.squared_norm() for gradient in self._linear_gradients(trace).values())

    def _forward(self, inputs: Inputs) -> dict:
        trace: dict = {"blocks": [], "rows": []}
        if self.entry == "last":
            trace["input", "head"] = inputs["activation"]
            trace["output"] = self._linear("head", inputs["activation"])
            return trace
        split = self.spec.image_features
        some = inputs["vector"] if self.spec.vector_size else inputs[self.entry]
        activation = self.buffers("linear input", len(some), self.spec.linear_inputs)
        if self.entry == "features" and split:
            activation[:, :split] = inputs["features"]
        elif self.convolutions:
            self._convolve(inputs["image"], activation, trace)
        elif split:
            activation[:, :split] = inputs["image"].flatten(1)
        if self.spec.vector_size:
            vector = inputs["vector"]
            if self.has_vector_layer:
                trace["input", "vector"] = vector
                vector = trace["active", "vector"] = self._linear("vector", vector).relu_()
            activation[:, split:] = vector
        for name in self.layers[:-1]:
            trace["input", name] = activation
            activation = trace["active", name] = self._linear(name, activation).relu_()
        trace["input", "head"] = activation
        trace["output"] = self._linear("head", activation)
        return trace

    def _convolve(self, image: Tensor, activation: Tensor, trace: dict) -> None:
        """The image's features into the first columns of activation (N, linear inputs)."""
        victims, image, compute = len(image), image.permute(0, 2, 3, 1), copy
        for layer in self.convolutions:
            blocks = layer.store(layer.blocks_buffer("input", victims), compute, image)
            rows = layer.rows_buffer("output", victims)
            if layer.bias is not None:
                rows.copy_(layer.bias)
            trace["blocks"].append(blocks)
            trace["rows"].append(layer.convolve(blocks, rows, keep=layer.bias is not None))
            image, compute = layer.outputs(rows), relu
        relu(image, out=self._features(activation))

    def _features(self, linear: Tensor) -> Tensor:
        """Image features of (N, linear inputs) as the last convolution's output (N, height, width, channels)."""
        last = self.convolutions[-1]
        shape = (last.channels, last.out_height, last.out_width)
        return linear[:, : self.spec.image_features].unflatten(1, shape).permute(0, 2, 3, 1)

    def _backward(self, trace: dict, error: Tensor) -> None:
        trace["delta", "head"] = delta = error
        trace["deltas"] = []
        if self.entry == "last":
            return
        for name, after in zip(reversed(self.layers[:-1]), reversed(self.layers), strict=False):
            delta = where_active(self.weights[after].down(delta), trace["active", name])
            trace["delta", name] = delta
        split, weight = self.spec.image_features, self._weight(self.layers[0])
        if not self.convolutions:
            if self.has_vector_layer:
                trace["delta", "vector"] = where_active(delta @ weight[:, split:], trace["active", "vector"])
            return
        inputs = self.weights[self.layers[0]].down(delta)
        if self.has_vector_layer:
            trace["delta", "vector"] = where_active(inputs[:, split:], trace["active", "vector"])
        trace["deltas"] = self._errors("error", self._features(inputs), trace)

    def _errors(self, name: str, features: Tensor, trace: dict, by_dense: list | None = None) -> list[Tensor]:
        """What arrives at the outputs of all convolutions, before ReLU, from (N, height, width, K) behind the last.

        by_dense: derivatives by the kernels' gradients, through which the errors' own inputs are reached too.
        """
        last = self.convolutions[-1]
        errors = [last.errors_buffer(name, len(features))]
        where_active_into(features, last.outputs(trace["rows"][-1]), out=last.outputs(last.errors(errors[0])))
        for index in range(len(self.convolutions) - 1, 0, -1):
            before = self.convolutions[index - 1]
            grown = self._grown(name, index, errors[0], trace, by_dense)
            errors.insert(0, before.errors_buffer(name, len(features)))
            target, active = before.outputs(before.errors(errors[0])), before.outputs(trace["rows"][index - 1])
            self.convolutions[index].collect(grown, where_active_into, target, active)
        return errors

    def _grown(self, name: str, index: int, errors: Tensor, trace: dict, by_dense: list | None) -> Tensor:
        layer = self.convolutions[index]
        grown = layer.convolve_transposed(errors, layer.grown_buffer(name, len(errors)))
        if by_dense is not None:
            layer.convolve_transposed(trace["deltas"][index], grown, by_dense[index][0], keep=True)
        return grown

    def _reverse(
        self, trace: dict, by_linear: dict, by_dense: list, unit: Tensor, pull_back: PullBack
    ) -> dict[str, Tensor]:
        """Reverse of the backward pass (upwards, deltas) and then of the forward pass (downwards, activations)."""
        adjoint = self._reverse_deltas(trace, by_linear, by_dense)
        by_output, gradients = pull_back(adjoint)
        downward = by_linear["head"][1]
        if by_output is not None:
            downward = self.weights["head"].down(by_output, downward)
        if self.entry == "last":
            gradients["activation"] = downward
            return {name: gradient * like(unit, gradient) for name, gradient in gradients.items()}
        for name in reversed(self.layers[:-1]):
            below = where_active(downward, trace["active", name])
            downward = self.weights[name].down(below, by_linear[name][1])
        split = self.spec.image_features
        if self.spec.vector_size:
            by_vector = downward[:, split:]
            if self.has_vector_layer:
                before = where_active(by_vector, trace["active", "vector"])
                by_vector = self.weights["vector"].down(before, by_linear["vector"][1])
            gradients["vector"] = by_vector
        if self.entry == "features" and split:
            gradients["features"] = downward[:, :split]
        elif split and not self.convolutions:
            gradients["image"] = downward[:, :split].unflatten(1, self.spec.image_shape)
        gradients = {name: gradient * like(unit, gradient) for name, gradient in gradients.items()}
        if self.convolutions:
            gradients["image"] = self._reverse_image(trace, by_dense, downward, unit)
        return gradients

    def _reverse_deltas(self, trace: dict, by_linear: dict, by_dense: list) -> Tensor:
        if self.entry == "last":
            return by_linear["head"][0]
        upward, split = by_linear[self.layers[0]][0], self.spec.image_features
        inputs = self.buffers("by linear delta", len(upward), self.spec.linear_inputs)
        if self.has_vector_layer:
            inputs[:, split:] = where_active(by_linear["vector"][0], trace["active", "vector"])
        if self.convolutions:
            self._reverse_errors(trace, by_dense, inputs)
            upward = self.weights[self.layers[0]].up(inputs, upward)
        elif self.has_vector_layer:
            upward = torch.addmm(upward, inputs[:, split:], self._weight(self.layers[0])[:, split:].T)
        for name, after in zip(self.layers[:-1], self.layers[1:], strict=True):
            below = where_active(upward, trace["active", name])
            upward = self.weights[after].up(below, by_linear[after][0])
        return upward

    def _reverse_errors(self, trace: dict, by_dense: list, inputs: Tensor) -> None:
        """Derivative by the error that arrives at the features, into the first columns of inputs (N, linear inputs)."""
        previous = None
        for index, layer in enumerate(self.convolutions):
            kernels, bias = by_dense[index]
            rows = layer.rows_buffer("by error", len(inputs))
            if bias is not None:
                rows.copy_(bias[:, None])
            layer.convolve(trace["blocks"][index], rows, kernels, keep=bias is not None)
            if previous is not None:
                before = self.convolutions[index - 1].outputs(trace["rows"][index - 1])
                blocks = layer.store(layer.blocks_buffer("by error", len(inputs)), where_active_into, previous, before)
                layer.convolve(blocks, rows, keep=True)
            previous = layer.outputs(rows)
        where_active_into(previous, self.convolutions[-1].outputs(trace["rows"][-1]), out=self._features(inputs))

    def _reverse_image(self, trace: dict, by_dense: list, downward: Tensor, unit: Tensor) -> Tensor:
        first = self.convolutions[0]
        errors = self._errors("by activation", self._features(downward), trace, by_dense)
        grown = self._grown("by activation", 0, errors[0], trace, by_dense)
        channels, height, width = self.spec.image_shape
        image = self.buffers("by image", len(downward), height, width, channels)
        rows, columns = first.read
        image[:, rows:], image[:, :, columns:] = 0, 0  # the caller may have added to them
        first.collect(grown, lambda source, out: torch.mul(source, like(unit, source), out=out), image)
        return image.permute(0, 3, 1, 2)
