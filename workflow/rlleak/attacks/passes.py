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

from rlleak.attacks.convolutions import Convolutions
from rlleak.attacks.layers import Buffers, like
from rlleak.attacks.partial import PartialGradient, PartialTarget, target_of
from rlleak.attacks.signals import ErrorSignal, PullBack
from rlleak.attacks.targets import (
    FactoredTarget,
    LinearGradient,
    LossName,
    MatchingLoss,
    MatrixTarget,
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
        targets: dict[str, FactoredTarget | MatrixTarget | PartialTarget] | None = None,
    ) -> None:
        self.spec, self.entry = update.architecture, entry
        _check_layers(self.spec)
        self.parameters = dict(update.parameters)
        self.layers = [*(f"hidden.{index}" for index in range(len(self.spec.hidden))), "head"]
        self.has_vector_layer = self.spec.vector_width > 0
        self.convolutions = Convolutions(self.spec, self.parameters) if entry == "image" else None
        self.buffers = Buffers(self._weight("head"))
        names = self.layers if entry != "last" else ["head"]
        if entry != "last" and self.has_vector_layer:
            names = ["vector", *names]
        self.weights = {name: Weight(self._weight(name)) for name in names}
        targets = {} if targets is None else targets
        for name in names:
            if name not in targets:
                targets[name] = target_of(update, name)
        linear = {name: targets[name] for name in names}
        self.biased = {name for name in names if not update.lacks(f"{name}.bias")}
        dense = self.convolutions.targets(update.gradients, update.known) if self.convolutions else []
        self.loss = MatchingLoss(linear, dense, loss, rows)

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        return self.weights[name].up(inputs, self.parameters.get(f"{name}.bias"))

    def _weight(self, name: str) -> Tensor:
        return self.parameters[f"{name}.weight"]

    def _linear_gradients(self, trace: dict) -> dict[str, LinearGradient | PartialGradient]:
        found = {}
        for name, target in self.loss.linear.items():
            found[name] = LinearGradient(trace["delta", name], trace["input", name], name in self.biased)
            if isinstance(target, PartialTarget):
                found[name] = target.seen(found[name])
        return found

    @torch.no_grad()
    def __call__(self, inputs: Inputs, signal: ErrorSignal) -> tuple[Tensor, dict[str, Tensor]]:
        """Matching loss (N,) and its derivative by each of the inputs and of the signal's own variables.

        The image's derivative is (N, C, H, W) with the channels last in memory, in a tensor that the next call writes
        over.
        """
        trace = self._forward(inputs)
        error, pull_back = signal(trace["output"], inputs)
        self._backward(trace, error)
        dense = self.convolutions.gradients(trace) if self.convolutions else []
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
        trace: dict = {}
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
            self.convolutions.forward(inputs["image"], activation, trace)
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

    def _backward(self, trace: dict, error: Tensor) -> None:
        trace["delta", "head"] = delta = error
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
        self.convolutions.backward(inputs, trace)

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
            gradients["image"] = self.convolutions.reverse_image(trace, by_dense, downward, unit)
        return gradients

    def _reverse_deltas(self, trace: dict, by_linear: dict, by_dense: list) -> Tensor:
        if self.entry == "last":
            return by_linear["head"][0]
        upward, split = by_linear[self.layers[0]][0], self.spec.image_features
        inputs = self.buffers("by linear delta", len(upward), self.spec.linear_inputs)
        if self.has_vector_layer:
            inputs[:, split:] = where_active(by_linear["vector"][0], trace["active", "vector"])
        if self.convolutions:
            self.convolutions.reverse_errors(trace, by_dense, inputs)
            upward = self.weights[self.layers[0]].up(inputs, upward)
        elif self.has_vector_layer:
            upward = torch.addmm(upward, inputs[:, split:], self._weight(self.layers[0])[:, split:].T)
        for name, after in zip(self.layers[:-1], self.layers[1:], strict=True):
            below = where_active(upward, trace["active", name])
            upward = self.weights[after].up(below, by_linear[after][0])
        return upward
