"""What a defence works on: one victim's update on its way out, and what its device has besides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rlleak.learners.specification import NetworkSpec

Gradients = Mapping[str, Tensor]
"""One victim's gradient: parameter name -> tensor in the parameter's shape."""

Train = Callable[[Gradients, Tensor], Gradients]
"""(weights, rows (n,)) -> the gradient of a device's loss at weights of its choice, over some of its transitions."""


@dataclass(frozen=True)
class Client:
    """A victim's device. generator: its own randomness, which nobody else sees.

    roles: parameter name -> the name that `NetworkSpec` gives it; only where they differ (a user's own module).
    architecture, parameters, observation: the network and what it saw, name -> (N, ...); None where that is not said.
    gradient: how it trains, on how many transitions; only defences that train ask for it. kept: what it did not send
    the time before, name -> tensor in the parameter's shape, and adds this time (error feedback); None: nothing.
    """

    generator: torch.Generator
    roles: Mapping[str, str] = field(default_factory=dict)
    architecture: NetworkSpec | None = None
    parameters: Mapping[str, Tensor] | None = None
    observation: Mapping[str, Tensor] | None = None
    gradient: Train | None = None
    transitions: int = 0
    kept: Gradients | None = None

    def role(self, name: str) -> str:
        """Which of a network's parameters this is: "convolutions.0.weight", ..., "head.bias"."""
        return self.roles.get(name, name)


@dataclass(frozen=True)
class Sent:
    """One victim's update. known: name -> bool, what of it leaves the device; a tensor without an entry leaves whole.

    What does not leave is 0 in `gradients`. bits: what a number takes on the wire; beside: bits that go with them
    (indices, lengths). kept: what the device keeps for the next time, as `Client.kept`; it is not part of the message.
    """

    gradients: Gradients
    known: Gradients = field(default_factory=dict)
    bits: float = 32.0
    beside: float = 0.0
    kept: Gradients = field(default_factory=dict)

    @property
    def count(self) -> Tensor:
        """How many numbers leave, as a tensor (), int64."""
        counts = (self.known[name].sum() if name in self.known else g.numel() for name, g in self.gradients.items())
        return torch.as_tensor(sum(counts))

    @property
    def numbers(self) -> int:
        """How many numbers leave."""
        return int(self.count)

    @property
    def bytes(self) -> int:
        """How long the message is, without framing or entropy coding."""
        return int(-(-(self.numbers * self.bits + self.beside) // 8))

    @property
    def length(self) -> Tensor:
        """|g| over all that leaves, float64."""
        return torch.stack([gradient.double().square().sum() for gradient in self.gradients.values()]).sum().sqrt()

    def with_values(self, gradients: Gradients, **changes: Any) -> "Sent":
        """Other values of the numbers that leave; the rest stays 0."""
        kept = {name: gradients[name] * self.known[name] for name in self.known if name in gradients}
        return replace(self, gradients={**gradients, **kept}, **changes)

    def only(self, known: Gradients, **changes: Any) -> "Sent":
        """The same, of which no more than this leaves (name -> bool; all of a tensor without an entry)."""
        both = {name: mask & self.known[name] if name in self.known else mask for name, mask in known.items()}
        return replace(self, known={**self.known, **both}).with_values(self.gradients, **changes)
