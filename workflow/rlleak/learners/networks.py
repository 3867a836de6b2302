"""Networks built from their specification, and the forward pass as a function of parameters."""

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlleak.learners.specification import NetworkSpec

Observation = Mapping[str, Tensor]
"""`image`: (N, C, H, W) in [0, 1]; `vector`: (N, D). A network takes whichever its specification names."""


class PolicyNetwork(nn.Module):
    """The network that `NetworkSpec` describes; `forward` gives (N, outputs): Q-values or logits."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.activation = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}.get(spec.activation) or getattr(
            F, spec.activation
        )
        channels = spec.image_shape[0] if spec.image_shape else 0
        self.convolutions = nn.ModuleList()
        for layer in spec.convolutions:
            self.convolutions.append(
                nn.Conv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding, bias=spec.bias)
            )
            channels = layer.channels
        self.vector = nn.Linear(spec.vector_size, spec.vector_width, bias=spec.bias) if spec.vector_width else None
        widths = [spec.linear_inputs, *spec.hidden]
        self.hidden = nn.ModuleList(nn.Linear(before, after, bias=spec.bias) for before, after in pairwise(widths))
        self.head = nn.Linear(widths[-1], spec.outputs, bias=spec.bias)

    def features(self, observation: Observation) -> Tensor:
        """Input of the first linear layer that sees everything, (N, linear_inputs)."""
        parts = []
        if self.spec.image_shape is not None:
            image = observation["image"]
            for convolution in self.convolutions:
                image = self.activation(convolution(image))
            parts.append(image.flatten(1))
        if self.spec.vector_size:
            vector = observation["vector"]
            parts.append(self.activation(self.vector(vector)) if self.vector is not None else vector)
        return torch.cat(parts, dim=1)

    def forward(self, observation: Observation) -> Tensor:
        activation = self.features(observation)
        for layer in self.hidden:
            activation = self.activation(layer(activation))
        return self.head(activation)


def build_network(spec: NetworkSpec, seed: int) -> PolicyNetwork:
    """A freshly initialised network (PyTorch's default initialisation) that depends on nothing but its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork(spec)


def load_network(spec: NetworkSpec, parameters: Mapping[str, Tensor]) -> PolicyNetwork:
    """The network with given parameters. Raises RuntimeError where names or shapes do not fit."""
    with torch.device("meta"):
        network = PolicyNetwork(spec)
    network.load_state_dict(dict(parameters), strict=True, assign=True)
    return network.requires_grad_(True)
