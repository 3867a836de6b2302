"""From layers that were watched to the specification that attacks know: image, vector, hidden layers, head."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from pydantic import ValidationError
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.learners.elements import Elements, Source, Watched, WatchedLayer
from rlleak.learners.specification import Convolution, NetworkSpec


@dataclass(frozen=True)
class Rows:
    """One parameter of the specification in the module's parameters: rows of some, columns in another order.

    parts: (module's layer, its rows) one below the other. columns: for each input column the module's, or None where
    all are in their places.
    """

    parts: tuple[tuple[WatchedLayer, Tensor], ...]
    columns: Tensor | None = None


@dataclass(frozen=True)
class Field:
    """What the specification calls `image` or `vector`: for each of its numbers the observation's element, and the
    affine map from the observation's units (network input = scale * element + offset); all of its shape."""

    elements: Elements


@dataclass(frozen=True)
class Branch:
    """A network without forks: its specification, the map of its parameters, its inputs, its layers from input to head.

    outputs: what its head's rows are, in order ("policy" for logits or Q-values, "value").
    """

    spec: NetworkSpec
    rows: Mapping[str, Rows]
    fields: Mapping[str, Field]
    layers: Mapping[str, WatchedLayer] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("policy",)


def branches(watched: Watched) -> tuple[Branch, ...]:
    """One branch with all outputs, or two where actor and critic share no layer. Raises ConfigurationError."""
    streams = _streams(watched)
    read = {name: {tuple(layer.input.slot.flatten().tolist()) for layer, _ in parts} for name, parts in streams.items()}
    for name, inputs in read.items():
        if len(inputs) != 1:
            raise ConfigurationError(
                f"the layers whose outputs make up the {name} do not share one input; attacks know one"
            )
    shared = len(set.union(*read.values())) == 1
    groups = [tuple(streams)] if shared else [(name,) for name in streams]
    found = tuple(_branch(watched, group, [part for name in group for part in streams[name]]) for group in groups)
    weights = [layer.weight for branch in found for layer in branch.layers.values()]
    if not shared and len(set(weights)) != len(weights):
        raise ConfigurationError(
            "policy and value share their first layers and part behind them in layers of their own; "
            "audit one at a time: forward= that returns the one"
        )
    return found


Parts = list[tuple[WatchedLayer, Tensor]]


def _streams(watched: Watched) -> dict[str, Parts]:
    """What leaves the network, "policy" first: for each the layers and rows of which it consists."""
    parts: list[tuple[str, Parts]] = []
    for path, state in watched.outputs:
        name = f"output '{path}'" if path else "the output"
        pieces: Parts = []
        for source in watched.sources_of(state.slot):
            if source.layer is None or source.layer.is_convolution or len(source.shape) != 1:
                raise ConfigurationError(f"{name} is not a linear layer's; return Q-values or logits")
            if source.activation is not None or not _plain(state):
                raise ConfigurationError(
                    f"{name} has {source.activation or 'a factor'} behind layer '{source.name}'; return it without"
                )
            slots = state.slot.flatten()
            own = slots[(slots >= source.start) & (slots < source.start + source.size)] - source.start
            pieces.append((source.layer, own))
        parts.append((path, pieces))
    sizes = [sum(len(rows) for _, rows in pieces) for _, pieces in parts]
    if len(parts) == 1:
        return {"policy": parts[0][1]}
    if len(parts) == 2 and sorted(size == 1 for size in sizes) == [False, True]:
        value = sizes.index(1)
        return {"policy": parts[1 - value][1], "value": parts[value][1]}
    raise ConfigurationError(
        f"the network returns {len(parts)} tensors of widths {sizes}; attacks know one (Q-values or logits), "
        "or logits and one value: give forward= that returns these"
    )


def _plain(state: Elements) -> bool:
    return bool((state.scale == 1).all() and (state.offset == 0).all())


def _branch(watched: Watched, outputs: tuple[str, ...], head: Parts) -> Branch:
    rows: dict[str, Rows] = {}
    layers = {f"head.{index}" if index else "head": layer for index, (layer, _) in enumerate(head)}
    hidden: list[WatchedLayer] = []
    current, above = head[0][0].input, "head"
    while True:
        sources = _activated(watched, current, (hidden or [head[0][0]])[0])
        if len(sources) != 1 or sources[0].layer is None or sources[0].layer.is_convolution:
            break
        layer = sources[0].layer
        columns = current.slot - sources[0].start
        _check_permutation(columns, sources[0].size, layer.name)
        rows[above] = Rows(_parts(hidden, head, above), _unless_sorted(columns))
        hidden.insert(0, layer)
        above = layer.name
        current = layer.input
    if current.slot.dim() != 1:
        raise ConfigurationError(
            f"layer '{(hidden or [head[0][0]])[0].name}' gets {current.slot.dim()} dimensions; flatten"
        )
    names = {layer.name: f"hidden.{index}" for index, layer in enumerate(hidden)} | {"head": "head"}
    start = _Start(watched, current, (hidden or [head[0][0]])[0].name)
    rows[above] = Rows(_parts(hidden, head, above), _unless_sorted(start.columns))
    mapped = start.rows | {names[name]: value for name, value in rows.items()}
    ordered = start.layers | {names[layer.name]: layer for layer in hidden} | layers
    return Branch(_spec(start, hidden, head, ordered), mapped, start.fields, ordered, outputs)


def _parts(hidden: list[WatchedLayer], head: Parts, above: str) -> tuple[tuple[WatchedLayer, Tensor], ...]:
    if above == "head":
        return tuple(head)
    return ((hidden[0], torch.arange(hidden[0].weight_shape[0])),)


def _activated(watched: Watched, state: Elements, above: WatchedLayer) -> list[Source]:
    """The sources of a layer's input. Raises ConfigurationError for a layer's output without activation, or scaled."""
    sources = watched.sources_of(state.slot)
    for source in sources:
        if source.layer is not None and source.activation is None:
            raise ConfigurationError(
                f"nothing stands between layers '{source.name}' and '{above.name}'; attacks know layers with an "
                "activation behind each but the last"
            )
        own = (state.slot >= source.start) & (state.slot < source.start + source.size)
        if source.layer is not None and not _plain(Elements(state.slot[own], state.scale[own], state.offset[own])):
            raise ConfigurationError(f"the output of layer '{source.name}' is scaled; leave the factor to the weights")
    return sources


def _check_permutation(columns: Tensor, size: int, name: str) -> None:
    if columns.dim() != 1 or not torch.equal(columns.sort().values, torch.arange(size)):
        raise ConfigurationError(
            f"a part of what layer '{name}' puts out is left out or used twice; use all of it once"
        )


def _unless_sorted(columns: Tensor) -> Tensor | None:
    return None if torch.equal(columns, torch.arange(len(columns))) else columns.argsort()


class _Start:
    """Everything before the first linear layer that sees all: convolutions of an image, a vector and its layer."""

    def __init__(self, watched: Watched, current: Elements, above: str) -> None:
        self.watched, self.above = watched, above
        self.rows: dict[str, Rows] = {}
        self.layers: dict[str, WatchedLayer] = {}
        self.fields: dict[str, Field] = {}
        self.image_shape: tuple[int, int, int] | None = None
        image, vector = [], []  # positions among the columns
        convolutions = []
        for source in watched.sources_of(current.slot):
            own = (current.slot >= source.start) & (current.slot < source.start + source.size)
            positions = own.nonzero()[:, 0]
            taken = _take(current, positions)
            if source.layer is None:
                if len(source.shape) == 3 and not convolutions and self._only_raw(current):
                    image.append((positions, taken))
                else:
                    vector.append((positions, taken))
            elif source.layer.is_convolution:
                convolutions.append(source)
                if len(convolutions) > 1:
                    raise ConfigurationError(
                        f"layers '{convolutions[0].name}' and '{source.name}' both end an image's convolutions; "
                        "attacks know one image: stack images on the channels"
                    )
                _check_permutation(taken.slot - source.start, source.size, source.name)
                image.append((positions[(taken.slot - source.start).argsort()], taken))
            else:
                _check_permutation(taken.slot - source.start, source.size, source.name)
                self._vector_layer(source, vector)
                vector.append((positions[(taken.slot - source.start).argsort()], taken))
        order = torch.cat([positions for positions, _ in [*image, *vector]])
        # Column j of the specification is column order[j] of the module's.
        self.columns = order.argsort() if not torch.equal(order, torch.arange(len(order))) else order
        if convolutions:
            self._image_behind(convolutions[0].layer)
        elif image:
            self._flat_image(image, current)
        if vector and "vector" not in self.layers:
            self.fields["vector"] = Field(_joined([taken for _, taken in vector]))

    def _only_raw(self, current: Elements) -> bool:
        sources = self.watched.sources_of(current.slot)
        return len(sources) == 1 and sources[0].layer is None and len(current.slot) == sources[0].size

    def _vector_layer(self, source: Source, vector: list) -> None:
        layer = source.layer
        if "vector" in self.layers or vector:
            raise ConfigurationError(
                f"layer '{source.name}' is one of several vectors' ways into layer '{self.above}'; attacks know one "
                "vector, straight or through one layer: concatenate the vectors first"
            )
        below = self.watched.sources_of(layer.input.slot)
        if any(under.layer is not None for under in below):
            raise ConfigurationError(
                f"layer '{source.name}' stands on a part of the features alone before layer '{self.above}' sees all; "
                "attacks know convolutions and one layer for the vector there: audit that part alone, with forward="
            )
        self.layers["vector"] = layer
        self.rows["vector"] = Rows(((layer, torch.arange(layer.weight_shape[0])),))
        self.fields["vector"] = Field(layer.input)

    def _image_behind(self, last: WatchedLayer) -> None:
        chain = [last]
        while True:
            sources = _activated(self.watched, chain[0].input, chain[0])
            if len(sources) == 1 and sources[0].layer is not None and sources[0].layer.is_convolution:
                whole = torch.arange(sources[0].size).view(sources[0].shape)
                if not torch.equal(chain[0].input.slot - sources[0].start, whole):
                    raise ConfigurationError(f"layer '{chain[0].name}' gets the image of another in another order")
                chain.insert(0, sources[0].layer)
                continue
            if any(source.layer is not None for source in sources):
                raise ConfigurationError(
                    f"layer '{chain[0].name}' is a convolution behind a linear layer; attacks know none"
                )
            break
        if chain[0].input.slot.dim() != 3:
            raise ConfigurationError(f"layer '{chain[0].name}' gets no image (channels, height, width)")
        for index, layer in enumerate(chain):
            name = f"convolutions.{index}"
            self.layers[name] = layer
            self.rows[name] = Rows(((layer, torch.arange(layer.weight_shape[0])),))
        self.image_shape = tuple(chain[0].input.slot.shape)
        self.fields["image"] = Field(chain[0].input)

    def _flat_image(self, image: list, current: Elements) -> None:
        """A linear layer on a flattened image: the specification's image is the observation's own."""
        source = self.watched.sources_of(current.slot)[0]
        _check_permutation(current.slot - source.start, source.size, source.name)
        self.columns = current.slot - source.start
        order = self.columns.argsort()
        self.image_shape = source.shape
        self.fields["image"] = Field(Elements(*(getattr(current, part)[order].view(source.shape) for part in _PARTS)))


_PARTS = ("slot", "scale", "offset")


def _take(state: Elements, positions: Tensor) -> Elements:
    return Elements(*(getattr(state, part)[positions] for part in _PARTS))


def _joined(states: list[Elements]) -> Elements:
    return Elements(*(torch.cat([getattr(state, part) for state in states]) for part in _PARTS))


def _spec(start: _Start, hidden: list[WatchedLayer], head: Parts, layers: Mapping[str, WatchedLayer]) -> NetworkSpec:
    biased = {name: layer.bias is not None for name, layer in layers.items()}
    if len(set(biased.values())) != 1:
        without = ", ".join(f"'{layers[name].name}'" for name, has in biased.items() if not has)
        raise ConfigurationError(
            f"layer {without} has no bias and others have; attacks know networks with biases everywhere or nowhere"
        )
    used = {
        source.activation
        for source in start.watched.sources
        if source.activation and any(source.layer is layer for layer in layers.values())
    }
    if len(used) > 1:
        raise ConfigurationError(f"the network has several activations ({', '.join(sorted(used))}); attacks know one")
    convolutions = [layer for name, layer in layers.items() if name.startswith("convolutions")]
    vector_layer = layers.get("vector")
    vector = start.fields.get("vector")
    try:
        return NetworkSpec(
            image_shape=start.image_shape,
            convolutions=tuple(
                Convolution(
                    channels=layer.weight_shape[0],
                    kernel=layer.weight_shape[2],
                    stride=layer.stride,
                    padding=layer.padding,
                )
                for layer in convolutions
            ),
            vector_size=0 if vector is None else vector.elements.slot.numel(),
            vector_width=0 if vector_layer is None else vector_layer.weight_shape[0],
            hidden=tuple(layer.weight_shape[0] for layer in hidden),
            outputs=sum(len(rows) for _, rows in head),
            bias=all(biased.values()),
            activation=used.pop() if used else "relu",
        )
    except ValidationError as error:
        raise ConfigurationError(f"the network does not fit what attacks know: {error.errors()[0]['msg']}") from error
