"""What a network observes: names, shapes and ranges of its observations, and how they are handed to it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rlleak.errors import ConfigurationError

ONE = "observation"
"""The name of an observation that comes without one."""

Range = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Inputs:
    """shapes: name -> shape of one observation. ranges: name -> (low, high), each of that shape, or None: unknown.

    style: how a module gets them: one tensor, one dictionary, several arguments in order, or by name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    ranges: Mapping[str, Range | None]
    style: Literal["tensor", "dict", "arguments", "names"] = "tensor"

    @classmethod
    def of_space(cls, space: Any) -> "Inputs":
        """From a gymnasium Box or Dict of Boxes, a shape, or a dictionary or tuple of shapes.

        Raises ConfigurationError for anything else.
        """
        if isinstance(space, Inputs):
            return space
        if hasattr(space, "spaces"):
            space = space.spaces
        if isinstance(space, Mapping):
            parts = {str(name): _shape_and_range(part, str(name)) for name, part in space.items()}
            style = "dict"
        elif isinstance(space, Sequence) and space and not all(isinstance(side, Integral) for side in space):
            parts = {f"input {index}": _shape_and_range(part, f"input {index}") for index, part in enumerate(space)}
            style = "arguments"
        else:
            parts, style = {ONE: _shape_and_range(space, ONE)}, "tensor"
        return cls(
            {name: part[0] for name, part in parts.items()}, {name: part[1] for name, part in parts.items()}, style
        )

    @classmethod
    def of_observation(cls, observation: Any) -> "Inputs":
        """From observations of a batch; what is stored in bytes ranges over [0, 255], of the rest nothing is known."""
        named = name_observations(observation)
        style = "dict" if isinstance(observation, Mapping) else "tensor"
        if isinstance(observation, tuple | list):
            style = "arguments"
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in named.items()}
        ranges = {
            name: bounds(0.0, 255.0, shapes[name]) if tensor.dtype == torch.uint8 else None
            for name, tensor in named.items()
        }
        return cls(shapes, ranges, style)

    def for_module(self, module: nn.Module) -> "Inputs":
        """The same, passed by name if that is how the module's forward takes them."""
        wanted = [
            name
            for name, parameter in inspect.signature(module.forward).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        if self.style == "dict" and set(self.shapes) <= set(wanted) and len(wanted) >= len(self.shapes):
            return replace(self, style="names")
        return self

    def call(self, module: nn.Module, forward: Callable[..., Any] | None) -> Callable[[nn.Module, Any], Any]:
        """forward(module, observation), or the module's own."""
        if forward is not None:
            return forward
        if self.style == "names":
            return lambda module, observation: module(**observation)
        if self.style == "arguments":
            return lambda module, observation: module(*observation)
        return lambda module, observation: module(observation)

    def pack(self, named: Mapping[str, Tensor]) -> Any:
        """Named observations as the module takes them."""
        if self.style == "tensor":
            return next(iter(named.values()))
        if self.style == "arguments":
            return tuple(named[name] for name in self.shapes)
        return {name: named[name] for name in self.shapes}

    def random(self, count: int, generator: torch.Generator, like: Tensor) -> dict[str, Tensor]:
        """Uniform in each observation's range, or in [0, 1] where none is known; (count, *shape)."""
        drawn = {}
        for name, shape in self.shapes.items():
            uniform = torch.rand(count, *shape, generator=generator)
            if (known := self.ranges[name]) is not None:
                uniform = known[0] + (known[1] - known[0]) * uniform
            drawn[name] = uniform.to(like)
        return drawn


def name_observations(observation: Any) -> dict[str, Tensor]:
    """A tensor or array, or a dictionary or tuple of them, as named tensors (N, ...)."""
    if isinstance(observation, Mapping):
        return {str(name): torch.as_tensor(value) for name, value in observation.items()}
    if isinstance(observation, tuple | list) and not all(isinstance(item, int | float) for item in observation):
        return {f"input {index}": torch.as_tensor(value) for index, value in enumerate(observation)}
    return {ONE: torch.as_tensor(observation)}


def bounds(low: Any, high: Any, shape: tuple[int, ...]) -> Range | None:
    """A range of observations of a shape, or None where one side is not known."""
    low, high = (torch.as_tensor(np.broadcast_to(side, shape).astype(np.float32)) for side in (low, high))
    # MuJoCo's environments and others say +-1e38 where they mean that they do not know.
    known = torch.isfinite(low) & torch.isfinite(high) & (low.abs() < 1e6) & (high.abs() < 1e6) & (high > low)
    return (low, high) if bool(known.all()) else None


def _shape_and_range(space: Any, name: str) -> tuple[tuple[int, ...], Range | None]:
    if hasattr(space, "low") and hasattr(space, "high"):
        return tuple(space.shape), bounds(space.low, space.high, tuple(space.shape))
    if isinstance(space, Integral):
        space = (space,)
    if isinstance(space, Sequence) and all(isinstance(side, Integral) for side in space):
        if any(side < 1 for side in space):
            raise ConfigurationError(f"{name}: a shape {tuple(space)} holds no observation; give sides above 0")
        return tuple(int(side) for side in space), None
    raise ConfigurationError(
        f"{name}: {type(space).__name__} is no space that networks read as numbers; give a gymnasium Box, a Dict of "
        "Boxes, or shapes, as (16,) for one of 16 states, one-hot"
    )
