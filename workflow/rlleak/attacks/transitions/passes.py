"""The value network's forward and backward pass over many candidates at once, written out so that one reverse pass
through both gives a matching loss's derivative: no gradient of a gradient is ever asked of autograd.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.learners.networks import Observation
from rlleak.learners.specification import NetworkSpec

ACTIVATIONS = ("relu", "tanh", "sigmoid")


@dataclass(frozen=True)
class Trace:
    """One forward pass of M samples: output (M, outputs); by layer what went in (M, ...) and its activation's slope
    (M, ...), none for the head.
    """

    output: Tensor
    inputs: Mapping[str, Tensor]
    slopes: Mapping[str, Tensor]

    def first(self, samples: int) -> "Trace":
        """The first so many samples."""
        inputs, slopes = (
            {name: value[:samples] for name, value in group.items()} for group in (self.inputs, self.slopes)
        )
        return Trace(self.output[:samples], inputs, slopes)


class ValueNetwork:
    """A `PolicyNetwork`'s passes as plain differentiable functions. Raises ConfigurationError for an activation whose
    derivative has no formula here.
    """

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Tensor]) -> None:
        if spec.activation not in ACTIVATIONS:
            raise ConfigurationError(
                f"attacks on transitions know networks with {', '.join(ACTIVATIONS)}, not {spec.activation}; "
                "choose another network"
            )
        self.spec, self.parameters = spec, {name: value.detach() for name, value in parameters.items()}
        self.layers = [*(f"hidden.{index}" for index in range(len(spec.hidden))), "head"]
        sides = [spec.image_shape, *spec.feature_shapes] if spec.image_shape is not None else []
        self._left_over = [
            [(side + 2 * layer.padding - layer.kernel) % layer.stride for side in shape[1:]]
            for layer, shape in zip(spec.convolutions, sides, strict=False)
        ]

    def __call__(self, observation: Observation) -> Tensor:
        return self.forward(observation).output

    def forward(self, observation: Observation) -> Trace:
        """Of M observations."""
        spec, parts = self.spec, []
        inputs: dict[str, Tensor] = {}
        slopes: dict[str, Tensor] = {}
        if spec.image_shape is not None:
            image = observation["image"]
            for index, layer in enumerate(spec.convolutions):
                name = f"convolutions.{index}"
                inputs[name] = image
                before = F.conv2d(image, *self._weights(name), stride=layer.stride, padding=layer.padding)
                image, slopes[name] = self.activate(before)
            parts.append(image.flatten(1))
        if spec.vector_size:
            vector = observation["vector"]
            if spec.vector_width:
                inputs["vector"] = vector
                vector, slopes["vector"] = self.activate(F.linear(vector, *self._weights("vector")))
            parts.append(vector)
        activation = torch.cat(parts, dim=1)
        for name in self.layers[:-1]:
            inputs[name] = activation
            activation, slopes[name] = self.activate(F.linear(activation, *self._weights(name)))
        inputs["head"] = activation
        return Trace(F.linear(activation, *self._weights("head")), inputs, slopes)

    def backward(self, trace: Trace, error: Tensor) -> dict[str, Tensor]:
        """The error before each layer's activation, (M, ...), from that at the output, (M, outputs)."""
        spec, deltas = self.spec, {"head": error}
        name, back = "head", error
        for below in reversed(self.layers[:-1]):
            deltas[below] = back = (back @ self.parameters[f"{name}.weight"]) * trace.slopes[below]
            name = below
        if not spec.convolutions and not spec.vector_width:
            return deltas
        back = back @ self.parameters[f"{name}.weight"]
        if spec.vector_width:
            deltas["vector"] = back[:, spec.image_features :] * trace.slopes["vector"]
        if spec.convolutions:
            back = back[:, : spec.image_features].unflatten(1, spec.feature_shapes[-1])
            for index in reversed(range(len(spec.convolutions))):
                name, layer = f"convolutions.{index}", spec.convolutions[index]
                deltas[name] = back = back * trace.slopes[name]
                if index:
                    back = F.conv_transpose2d(
                        back,
                        self.parameters[f"{name}.weight"],
                        stride=layer.stride,
                        padding=layer.padding,
                        output_padding=self._left_over[index],
                    )
        return deltas

    def _weights(self, name: str) -> tuple[Tensor, Tensor | None]:
        return self.parameters[f"{name}.weight"], self.parameters.get(f"{name}.bias")

    def activate(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """The activation and its slope; a ReLU's is constant but at 0."""
        if self.spec.activation == "relu":
            after = F.relu(before)
            return after, after.detach().sign()
        if self.spec.activation == "tanh":
            after = torch.tanh(before)
            return after, 1 - after.square()
        after = torch.sigmoid(before)
        return after, after * (1 - after)
