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

from rlleak.attacks.convolution import BlockConvolution
from rlleak.attacks.signals import ErrorSignal
from rlleak.attacks.targets import (
    DenseTarget,
    FactoredTarget,
    LinearGradient,
    LossName,
    MatchingLoss,
    MatrixTarget,
    dot,
    linear_target,
)
from rlleak.errors import ConfigurationError
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.update import SharedUpdate

Entry = Literal["image", "features", "last"]
Inputs = Mapping[str, Tensor]


def where_active(gradient: Tensor, activation: Tensor) -> Tensor:
    """The gradient where a ReLU let its input through, else 0: ReLU's backward pass, in one go over memory."""
    return torch.ops.aten.threshold_backward(gradient, activation, 0)


def times_transposed(rows: Tensor, weight: Tensor) -> Tensor:
    """rows @ weight^T for few rows and a wide weight, in the order of factors in which it is faster on a CPU."""
    return (weight @ rows.T).T.contiguous()


def _check_layers(spec: NetworkSpec) -> None:
    if spec.activation != "relu":
        raise ConfigurationError(
            f"gradient matching has the second derivatives of ReLU networks only and this one has {spec.activation}; "
            "attack it with closed_form"
        )
    for index, layer in enumerate(spec.convolutions):
        if layer.padding:
            raise ConfigurationError(
                f"gradient matching takes convolutions without padding and convolution {index} has {layer.padding}; "
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
        names = self.layers if entry != "last" else ["head"]
        if entry != "last" and self.has_vector_layer:
            names = ["vector", *names]
        shared = update.gradients
        targets = {} if targets is None else targets
        for name in names:
            if name not in targets:
                targets[name] = linear_target(shared[f"{name}.weight"], shared.get(f"{name}.bias"))
        linear = {name: targets[name] for name in names}
        dense = []
        for index, layer in enumerate(self.convolutions):
            kernels, bias = shared[f"convolutions.{index}.weight"], shared.get(f"convolutions.{index}.bias")
            square = dot(kernels, kernels) + (dot(bias, bias) if bias is not None else 0)
            dense.append(DenseTarget(layer.to_taps(kernels).neg_(), bias, square))
        self.loss = MatchingLoss(linear, dense, loss, rows)

    def _build_convolutions(self) -> list[BlockConvolution]:
        layers = []
        if self.spec.image_shape is not None:
            _, height, width = self.spec.image_shape
            for index, layer in enumerate(self.spec.convolutions):
                weight, bias = (self.parameters.get(f"convolutions.{index}.{kind}") for kind in ("weight", "bias"))
                layers.append(BlockConvolution(weight, bias, layer.stride, height, width))
                height, width = layers[-1].out_height, layers[-1].out_width
        return layers

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        outputs = times_transposed(inputs, self._weight(name))
        bias = self.parameters.get(f"{name}.bias")
        return outputs if bias is None else outputs.add_(bias)

    def _weight(self, name: str) -> Tensor:
        return self.parameters[f"{name}.weight"]

    @torch.no_grad()
    def __call__(self, inputs: Inputs, signal: ErrorSignal) -> tuple[Tensor, dict[str, Tensor]]:
        """Matching loss (N,) and its derivative by each of the inputs and of the signal's own variables."""
        trace = self._forward(inputs)
        error, pull_back = signal(trace["output"], inputs)
        self._backward(trace, error)
        linear = {
            name: LinearGradient(trace["delta", name], trace["input", name], f"{name}.bias" in self.parameters)
            for name in self.loss.linear
        }
        dense = [
            (layer.kernel_gradients(blocks, delta), delta.sum(dim=1) if layer.bias is not None else None)
            for layer, blocks, delta in zip(self.convolutions, trace["blocks"], trace["deltas"], strict=True)
        ]
        loss, by_linear, by_dense = self.loss(linear, dense)
        return loss, self._reverse(trace, by_linear, by_dense, pull_back, inputs)

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
        return sum(
            LinearGradient(trace["delta", name], trace["input", name], f"{name}.bias" in self.parameters).squared_norm()
            for name in self.loss.linear
        )

    def _forward(self, inputs: Inputs) -> dict:
        trace: dict = {"blocks": [], "rows": [], "deltas": []}
        if self.entry == "last":
            trace["input", "head"] = inputs["activation"]
            trace["output"] = self._linear("head", inputs["activation"])
            return trace
        parts = []
        if self.spec.image_shape is not None:
            parts.append(self._convolve(inputs["image"], trace) if self.entry == "image" else inputs["features"])
        if self.spec.vector_size:
            vector = inputs["vector"]
            if self.has_vector_layer:
                trace["input", "vector"] = vector
                vector = trace["active", "vector"] = self._linear("vector", vector).relu_()
            parts.append(vector)
        activation = torch.cat(parts, dim=1)
        for name in self.layers[:-1]:
            trace["input", name] = activation
            activation = trace["active", name] = self._linear(name, activation).relu_()
        trace["input", "head"] = activation
        trace["output"] = self._linear("head", activation)
        return trace

    def _convolve(self, image: Tensor, trace: dict) -> Tensor:
        image = image.permute(0, 2, 3, 1)
        for layer in self.convolutions:
            blocks = layer.blocks(image)
            onto = None if layer.bias is None else layer.bias.expand(len(image), layer.rows, -1).contiguous()
            rows = layer.relu(layer.apply(blocks, onto=onto))
            image = layer.image(rows)
            trace["blocks"].append(blocks)
            trace["rows"].append(rows)
        return image.permute(0, 3, 1, 2).flatten(1)

    def _backward(self, trace: dict, error: Tensor) -> None:
        delta = error
        trace["delta", "head"] = delta
        if self.entry == "last":
            return
        for name, after in zip(reversed(self.layers[:-1]), reversed(self.layers), strict=False):
            delta = where_active(delta @ self._weight(after), trace["active", name])
            trace["delta", name] = delta
        if self.has_vector_layer:
            behind = self._weight(self.layers[0])[:, self.spec.image_features :]
            trace["delta", "vector"] = where_active(delta @ behind, trace["active", "vector"])
        if not self.convolutions:
            return
        features = delta @ self._weight(self.layers[0])[:, : self.spec.image_features]
        last = self.convolutions[-1]
        deltas = [where_active(last.rows_of(self._as_image(features, last)), trace["rows"][-1])]
        for index in range(len(self.convolutions) - 1, 0, -1):
            layer, before = self.convolutions[index], self.convolutions[index - 1]
            image = layer.unblocks(layer.apply_transposed(deltas[0]))
            deltas.insert(0, where_active(before.rows_of(image), trace["rows"][index - 1]))
        trace["deltas"] = deltas

    @staticmethod
    def _as_image(features: Tensor, layer: BlockConvolution) -> Tensor:
        shape = (len(features), layer.channels, layer.out_height, layer.out_width)
        return features.view(shape).permute(0, 2, 3, 1)

    def _reverse(self, trace: dict, by_linear: dict, by_dense: list, pull_back, inputs: Inputs) -> dict[str, Tensor]:
        """Reverse of the backward pass (upwards, deltas) and then of the forward pass (downwards, activations)."""
        adjoint = self._reverse_deltas(trace, by_linear, by_dense)
        by_output, gradients = pull_back(adjoint)
        downward = by_linear["head"][1]
        if by_output is not None:
            downward = downward + by_output @ self._weight("head")
        if self.entry == "last":
            return {"activation": downward, **gradients}
        for name in reversed(self.layers[:-1]):
            downward = by_linear[name][1] + where_active(downward, trace["active", name]) @ self._weight(name)
        split = self.spec.image_features
        if self.spec.vector_size:
            by_vector = downward[:, split:]
            if self.has_vector_layer:
                before = where_active(by_vector, trace["active", "vector"])
                by_vector = by_linear["vector"][1] + before @ self._weight("vector")
            gradients["vector"] = by_vector
        if self.spec.image_shape is not None:
            if self.entry == "features":
                gradients["features"] = downward[:, :split]
            else:
                gradients["image"] = self._reverse_image(trace, by_dense, downward[:, :split])
        return gradients

    def _reverse_deltas(self, trace: dict, by_linear: dict, by_dense: list) -> Tensor:
        if self.entry == "last":
            return by_linear["head"][0]
        upward = by_linear[self.layers[0]][0]
        split = self.spec.image_features
        if self.has_vector_layer:
            behind = self._weight(self.layers[0])[:, split:]
            below = where_active(by_linear["vector"][0], trace["active", "vector"])
            upward = upward + below @ behind.T
        previous = None
        for index, layer in enumerate(self.convolutions):
            kernels, bias = by_dense[index]
            onto = None if bias is None else bias[:, None].expand(-1, layer.rows, -1).contiguous()
            rows = layer.apply(trace["blocks"][index], kernels, onto)
            if previous is not None:
                rows = layer.apply(layer.blocks(previous), onto=rows)
            previous = layer.image(where_active(rows, trace["rows"][index]))
        if previous is not None:
            features = previous.permute(0, 3, 1, 2).flatten(1)
            upward = upward + times_transposed(features, self._weight(self.layers[0])[:, :split])
        for name, after in zip(self.layers[:-1], self.layers[1:], strict=True):
            below = where_active(upward, trace["active", name])
            upward = by_linear[after][0] + times_transposed(below, self._weight(after))
        return upward

    def _reverse_image(self, trace: dict, by_dense: list, downward: Tensor) -> Tensor:
        if not self.convolutions:
            return downward.view(len(downward), *self.spec.image_shape)
        image = self._as_image(downward, self.convolutions[-1])
        for index in range(len(self.convolutions) - 1, -1, -1):
            layer = self.convolutions[index]
            rows = where_active(layer.rows_of(image), trace["rows"][index])
            onto = layer.apply_transposed(trace["deltas"][index], by_dense[index][0])
            image = layer.unblocks(layer.apply_transposed(rows, onto=onto))
        return image.permute(0, 3, 1, 2).contiguous()
