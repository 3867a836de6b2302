"""Where a tensor's elements come from: observations and layers' outputs, numbered."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Source:
    """Numbers with one origin: an observation (layer None) or a layer's output, perhaps behind an activation.

    start: of its elements among all elements' numbers. shape: of one sample.
    """

    name: str
    start: int
    shape: tuple[int, ...]
    layer: "WatchedLayer | None" = None
    activation: str | None = None

    @property
    def size(self) -> int:
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True)
class Elements:
    """A tensor's elements: element = scale * (element number `slot`) + offset; all of the tensor's shape."""

    slot: Tensor
    scale: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Foreign:
    """A tensor that no attack can follow, and why."""

    reason: str


@dataclass(frozen=True)
class WatchedLayer:
    """One convolution or linear layer: its name, its parameters' names, what goes in (one sample's elements)."""

    name: str
    weight: str
    bias: str | None
    weight_shape: tuple[int, ...]
    input: Elements
    output_shape: tuple[int, ...]
    stride: int = 1
    padding: int = 0

    @property
    def is_convolution(self) -> bool:
        return len(self.weight_shape) == 4


@dataclass
class Watched:
    """All sources in order of their numbers, and what the forward pass returned: (path, elements or foreign)."""

    sources: list[Source] = field(default_factory=list)
    outputs: list[tuple[str, Elements]] = field(default_factory=list)

    def sources_of(self, slots: Tensor) -> list[Source]:
        """The sources that occur, in order of their numbers."""
        starts = torch.tensor([source.start for source in self.sources])
        found = torch.bucketize(slots.flatten(), starts, right=True).unique() - 1
        return [self.sources[index] for index in found.tolist()]
