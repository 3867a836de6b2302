"""Reading a user's torch module: what it is in the words that attacks know, and how its parameters map onto them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rlleak.errors import ConfigurationError
from rlleak.learners.assembling import Branch, branches
from rlleak.learners.conventions import forward_of
from rlleak.learners.encoder import Rows
from rlleak.learners.inputs import Inputs, bounds
from rlleak.learners.networks import load_network
from rlleak.learners.refusals import check_module
from rlleak.learners.watching import SAMPLES, tensors_in, watch

_OF_BYTES = 0.02
"""A factor below this makes numbers of about 1 out of bytes (1/255, 1/127.5), and next to nothing out of [0, 1]."""
_AGREE = 1e-4
"""Largest difference between the module's output and its reading's, relative to the largest output."""


@dataclass(frozen=True)
class Scaling:
    """Network input = scale * u + offset, u being what attacks see: image in [0, 1], vector in [-1, 1].

    scale, offset: of the input's shape, and u = (element - low) / extent for the observation's own element.
    """

    scale: Tensor
    offset: Tensor
    low: Tensor
    extent: Tensor


@dataclass(frozen=True)
class Reading:
    """A module as attacks know it. branches: one network, or actor and critic where they share no layer.

    folded: for each branch, by "image" and "vector", the scaling that went into its first weights. unread: parameters
    that no output depends on (as the deviation of a continuous policy), whose gradients no attack looks at.
    """

    inputs: Inputs
    branches: tuple[Branch, ...]
    folded: tuple[Mapping[str, Scaling], ...]
    unread: tuple[str, ...]
    call: Callable[[nn.Module, Any], Any]

    def outputs(self, module: nn.Module, named: Mapping[str, Tensor]) -> Tensor:
        """What losses take, (N, actions) or (N, actions + 1), of named observations (N, ...)."""
        copies = {name: value.clone() for name, value in named.items()}  # some networks scale what they get in place
        returned = self.call(module, self.inputs.pack(copies))
        found = [value for value in tensors_in(returned) if value.is_floating_point()]
        parts = [value if value.dim() > 1 else value[:, None] for value in found]
        return torch.cat(sorted(parts, key=lambda part: part.shape[1] == 1), dim=1)

    def branch_of(self, output: str | None) -> int:
        """Number of the branch that gives an output ("policy" or "value"); the first for None."""
        for index, branch in enumerate(self.branches):
            if output is None or output in branch.outputs:
                return index
        raise ConfigurationError(f"the network has no {output}; it gives {', '.join(self.branches[0].outputs)}")

    def parameters(self, tensors: Mapping[str, Tensor], branch: int = 0) -> dict[str, Tensor]:
        """The module's parameters, by its names, as the specification's network has them."""
        found = self._mapped(tensors, branch)
        for name, columns, scaling in self._first_layers(branch):
            weight, scale, offset = _per_input(found[f"{name}.weight"], columns, scaling)
            found[f"{name}.weight"] = weight * scale
            if f"{name}.bias" in found:
                found[f"{name}.bias"] = found[f"{name}.bias"] + (weight * offset).flatten(1).sum(dim=1)
        return found

    def gradients(self, tensors: Mapping[str, Tensor], branch: int = 0) -> dict[str, Tensor]:
        """Gradients by the module's parameters, by its names, as gradients by the specification's."""
        found = self._mapped(tensors, branch)
        for name, columns, scaling in self._first_layers(branch):
            gradient, scale, offset = _per_input(found[f"{name}.weight"], columns, scaling)
            bias = found.get(f"{name}.bias")
            if bias is not None:
                gradient = gradient - bias.view(-1, *[1] * (gradient.dim() - 1)) * offset
            found[f"{name}.weight"] = gradient / scale
        return found

    def known(self, masks: Mapping[str, Tensor], branch: int = 0) -> dict[str, Tensor]:
        """Which entries of `gradients` are known where of the module's own, by its names, only some (bool) are."""
        found = self._mapped(masks, branch)
        for name, columns, scaling in self._first_layers(branch):
            bias = found.get(f"{name}.bias")
            if bias is not None:  # an offset brings the bias's gradient into the weight's
                _, _, offset = _per_input(found[f"{name}.weight"].float(), columns, scaling)
                needed = (offset != 0).expand_as(found[f"{name}.weight"])
                known = bias.view(-1, *[1] * (needed.dim() - 1))
                found[f"{name}.weight"] = found[f"{name}.weight"] & (known | ~needed)
        return found

    def roles(self) -> dict[str, str]:
        """The module's parameters by what they are: "convolutions.0.weight", ..., "head.bias"."""
        found = {}
        for branch in self.branches:
            for name in branch.spec.parameter_shapes:
                layer, _, kind = name.rpartition(".")
                for own, _ in branch.rows[layer].parts:
                    found[own.weight if kind == "weight" else own.bias] = name
        return found

    def network_input(self, named: Mapping[str, Tensor], branch: int = 0) -> dict[str, Tensor]:
        """Named observations (N, ...) as the specification's network takes them: image, vector."""
        flat = torch.cat([named[name].flatten(1) for name in self.inputs.shapes], dim=1)
        found = {}
        for name, held in self.branches[branch].fields.items():
            state, scaling = held.elements, self.folded[branch].get(name)
            value = flat[:, state.slot.to(flat.device).flatten()].view(len(flat), *state.slot.shape)
            if scaling is None:
                found[name] = value * state.scale.to(value) + state.offset.to(value)
            else:
                found[name] = (value - scaling.low.to(value)) / scaling.extent.to(value)
        return found

    def observation(self, components: Mapping[str, Tensor], branch: int = 0) -> dict[str, Tensor]:
        """The inverse of `network_input`: image (N, C, H, W) and vector (N, D) as the module's observations, in their
        own names, shapes and units; NaN where the network does not read, or the attack gave nothing."""
        given = {name: value for name, value in components.items() if name in self.branches[branch].fields}
        some = next(iter(given.values()))
        sizes = {name: int(torch.Size(shape).numel()) for name, shape in self.inputs.shapes.items()}
        flat = some.new_full((len(some), sum(sizes.values())), math.nan)
        for name, value in given.items():
            state, scaling = self.branches[branch].fields[name].elements, self.folded[branch].get(name)
            if scaling is None:
                value = (value - state.offset.to(value)) / state.scale.to(value)
            else:
                value = scaling.low.to(value) + scaling.extent.to(value) * value
            flat[:, state.slot.to(flat.device).flatten()] = value.flatten(1)
        parts = flat.split(list(sizes.values()), dim=1)
        shapes = self.inputs.shapes.values()
        return {
            name: part.view(len(flat), *shape)
            for name, part, shape in zip(self.inputs.shapes, parts, shapes, strict=True)
        }

    def _mapped(self, tensors: Mapping[str, Tensor], branch: int) -> dict[str, Tensor]:
        found = {}
        for name in self.branches[branch].spec.parameter_shapes:
            layer, _, kind = name.rpartition(".")
            found[name] = _gathered(self.branches[branch].rows[layer], kind, tensors)
        return found

    def _first_layers(self, branch: int) -> list[tuple[str, slice | None, Scaling]]:
        """Layers that a folded input enters: name, its columns (None: a convolution's channels), and its scaling."""
        found, spec = [], self.branches[branch].spec
        first = "hidden.0" if spec.hidden else "head"
        for name, scaling in self.folded[branch].items():
            if name == "image" and spec.convolutions:
                found.append(("convolutions.0", None, scaling))
            elif name == "image":
                found.append((first, slice(0, spec.image_features), scaling))
            elif spec.vector_width:
                found.append(("vector", slice(0, spec.vector_size), scaling))
            else:
                found.append((first, slice(spec.image_features, spec.linear_inputs), scaling))
        return found


def _per_input(weight: Tensor, columns: slice | None, scaling: Scaling) -> tuple[Tensor, Tensor, Tensor]:
    """A weight, and scale and offset of its inputs in a shape that multiplies it."""
    if columns is None:
        scale, offset = (part[:, 0, 0].to(weight).view(1, -1, 1, 1) for part in (scaling.scale, scaling.offset))
        return weight, scale, offset
    scale, offset = torch.ones_like(weight[0]), torch.zeros_like(weight[0])
    scale[columns], offset[columns] = scaling.scale.flatten().to(weight), scaling.offset.flatten().to(weight)
    return weight, scale, offset


def _gathered(rows: Rows, kind: str, tensors: Mapping[str, Tensor]) -> Tensor:
    parts = []
    for layer, own in rows.parts:
        name = layer.weight if kind == "weight" else layer.bias
        parts.append(tensors[name][own.to(tensors[name].device)])
    value = torch.cat(parts)
    if kind == "weight" and rows.columns is not None:
        value = value[:, rows.columns.to(value.device)]
    return value


def read(module: nn.Module, observation_space: Any, *, forward: Callable[..., Any] | None = None) -> Reading:
    """Reads a module by watching one forward pass, and checks the result on others.

    observation_space: a gymnasium Box or Dict, shapes, or `Inputs`. Finite ranges other than [0, 1] for images and
    [-1, 1] for vectors go into the first layer's weights where that is exact; an image without one is taken to be in
    bytes if the network divides it by as much, else in [0, 1]. forward: called with (module,
    observation), where the module itself does not return Q-values, or logits, or (logits, value). Raises
    ConfigurationError naming the layer that attacks cannot handle, why, and what would do.
    """
    check_module(module)
    inputs = Inputs.of_space(observation_space)
    forward = forward or forward_of(module)
    if forward is None:
        inputs = inputs.for_module(module)
    call = inputs.call(module, forward)
    parameters = dict(module.named_parameters())
    like = next(value for value in parameters.values() if value.is_floating_point())
    generator = torch.Generator().manual_seed(0)
    named = inputs.random(SAMPLES, generator, like)
    try:
        watched = watch(module, call, inputs.pack(named), {id(value): name for name, value in named.items()})
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        if inputs.style == "dict" and len(inputs.shapes) == 1:  # a batch names what the module takes without a name
            return read(module, replace(inputs, style="tensor"), forward=forward)
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        shapes = ", ".join(f"{name} {shape}" for name, shape in inputs.shapes.items())
        raise ConfigurationError(
            f"the network does not take observations of shapes {shapes} ({said}); give those that it was made for"
        ) from error
    found = branches(watched)
    inputs = _with_ranges(inputs, found)
    folded = tuple(_folded(branch, inputs) for branch in found)
    known = {name for branch in found for layer in branch.layers.values() for name in (layer.weight, layer.bias)}
    reading = Reading(inputs, found, folded, tuple(name for name in parameters if name not in known), call)
    _check(reading, module, inputs.random(4, generator, like))
    return reading


def _with_ranges(inputs: Inputs, found: tuple[Branch, ...]) -> Inputs:
    """Images of an unknown range: in bytes where the network itself divides them by as much as 255, else in [0, 1]."""
    ranges, start = dict(inputs.ranges), 0
    for name, shape in inputs.shapes.items():
        end = start + int(torch.Size(shape).numel())
        for held in (branch.fields["image"].elements for branch in found if "image" in branch.fields):
            own = (held.slot >= start) & (held.slot < end)
            if ranges[name] is None and bool(own.any()):
                in_bytes = float(held.scale[own].abs().max()) < _OF_BYTES
                ranges[name] = bounds(0.0, 255.0 if in_bytes else 1.0, shape)
        start = end
    return replace(inputs, ranges=ranges)


def _folded(branch: Branch, inputs: Inputs) -> dict[str, Scaling]:
    """What of the observations' ranges can go into the first weights, so that attacks see [0, 1] or [-1, 1]."""
    lows, extents, known = [], [], []
    for name, shape in inputs.shapes.items():
        size, bounds = int(torch.Size(shape).numel()), inputs.ranges[name]
        lows.append(torch.zeros(size) if bounds is None else bounds[0].flatten())
        extents.append(torch.ones(size) if bounds is None else (bounds[1] - bounds[0]).flatten())
        known.append(torch.full((size,), bounds is not None))
    low, extent, known = (torch.cat(parts) for parts in (lows, extents, known))
    found = {}
    for name, held in branch.fields.items():
        state = held.elements
        if not bool(known[state.slot].all()):
            continue
        start, span = low[state.slot].double(), extent[state.slot].double()
        if name == "vector":  # [-1, 1] about the range's middle
            start, span = start + span / 2, span / 2
        scale, offset = state.scale * span, state.offset + state.scale * start
        inside = scale.min() > 0 and (
            (offset - scale).min() >= -1 and (offset + scale).max() <= 1
            if name == "vector"
            else offset.min() >= 0 and (offset + scale).max() <= 1
        )
        if not inside and _exact(branch, name, scale, offset):
            found[name] = Scaling(scale, offset, start, span)
    return found


def _exact(branch: Branch, name: str, scale: Tensor, offset: Tensor) -> bool:
    """Whether weights and biases can take a scaling over without a rest."""
    if bool((scale == 0).any()) or (bool((offset != 0).any()) and not branch.spec.bias):
        return False
    if name == "vector" or not branch.spec.convolutions:
        return True
    even = all(bool((part == part[:, :1, :1]).all()) for part in (scale, offset))
    return even and (branch.spec.convolutions[0].padding == 0 or not bool((offset != 0).any()))


def _check(reading: Reading, module: nn.Module, named: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        tensors = {name: value.detach() for name, value in module.named_parameters()}
        true = reading.outputs(module, named)
        parts = {}
        for index, branch in enumerate(reading.branches):
            network = load_network(branch.spec, reading.parameters(tensors, index))
            output = network(reading.network_input(named, index))
            width = output.shape[1] - (len(branch.outputs) - 1)
            parts |= dict(
                zip(branch.outputs, output.split([width, *[1] * (len(branch.outputs) - 1)], dim=1), strict=True)
            )
        mine = torch.cat([parts[name] for name in ("policy", "value") if name in parts], dim=1)
    apart = (mine - true).abs().max() if mine.shape == true.shape else torch.tensor(math.inf)
    if not float(apart) <= _AGREE * max(1.0, float(true.abs().max())):
        raise ConfigurationError(
            f"the network's output differs from its reading's by {float(apart):.2g}: activations need their default "
            "arguments (elu alpha 1, leaky_relu slope 0.01, exact gelu), and the forward pass must not depend on the "
            "observation's values"
        )
