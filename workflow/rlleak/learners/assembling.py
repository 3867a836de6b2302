"""From layers that were watched to the specification that attacks know: image, vector, hidden layers, head."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from pydantic import ValidationError
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.learners.elements import Watched, WatchedLayer
from rlleak.learners.encoder import Encoder, Field, Rows, activated, check_permutation, plain
from rlleak.learners.specification import Convolution, NetworkSpec


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
        if state.slot.dim() > 1:
            raise ConfigurationError(
                f"{name} has shape {tuple(state.slot.shape)} for one observation, as distributions over values have; "
                "attacks know one number per action: return Q-values or logits"
            )
        pieces: Parts = []
        for source in watched.sources_of(state.slot):
            if source.layer is None or source.layer.is_convolution or len(source.shape) != 1:
                raise ConfigurationError(f"{name} is not a linear layer's; return Q-values or logits")
            if source.activation is not None or not plain(state):
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


def _branch(watched: Watched, outputs: tuple[str, ...], head: Parts) -> Branch:
    rows: dict[str, Rows] = {}
    layers = {f"head.{index}" if index else "head": layer for index, (layer, _) in enumerate(head)}
    hidden: list[WatchedLayer] = []
    current, above = head[0][0].input, "head"
    while True:
        sources = activated(watched, current, (hidden or [head[0][0]])[0])
        if len(sources) != 1 or sources[0].layer is None or sources[0].layer.is_convolution:
            break
        layer = sources[0].layer
        columns = current.slot - sources[0].start
        check_permutation(columns, sources[0].size, layer.name)
        rows[above] = Rows(_parts(hidden, head, above), _unless_sorted(columns))
        hidden.insert(0, layer)
        above = layer.name
        current = layer.input
    if current.slot.dim() != 1:
        raise ConfigurationError(
            f"layer '{(hidden or [head[0][0]])[0].name}' gets {current.slot.dim()} dimensions; flatten"
        )
    names = {layer.name: f"hidden.{index}" for index, layer in enumerate(hidden)} | {"head": "head"}
    encoder = Encoder(watched, current, (hidden or [head[0][0]])[0].name)
    rows[above] = Rows(_parts(hidden, head, above), _unless_sorted(encoder.columns))
    mapped = encoder.rows | {names[name]: value for name, value in rows.items()}
    ordered = encoder.layers | {names[layer.name]: layer for layer in hidden} | layers
    return Branch(_spec(encoder, hidden, head, ordered), mapped, encoder.fields, ordered, outputs)


def _parts(hidden: list[WatchedLayer], head: Parts, above: str) -> tuple[tuple[WatchedLayer, Tensor], ...]:
    if above == "head":
        return tuple(head)
    return ((hidden[0], torch.arange(hidden[0].weight_shape[0])),)


def _unless_sorted(columns: Tensor) -> Tensor | None:
    return None if torch.equal(columns, torch.arange(len(columns))) else columns.argsort()


def _spec(encoder: Encoder, hidden: list[WatchedLayer], head: Parts, layers: Mapping[str, WatchedLayer]) -> NetworkSpec:
    biased = {name: layer.bias is not None for name, layer in layers.items()}
    if len(set(biased.values())) != 1:
        without = ", ".join(f"'{layers[name].name}'" for name, has in biased.items() if not has)
        raise ConfigurationError(
            f"layer {without} has no bias and others have; attacks know networks with biases everywhere or nowhere"
        )
    used = {
        source.activation
        for source in encoder.watched.sources
        if source.activation and any(source.layer is layer for layer in layers.values())
    }
    if len(used) > 1:
        raise ConfigurationError(f"the network has several activations ({', '.join(sorted(used))}); attacks know one")
    convolutions = [layer for name, layer in layers.items() if name.startswith("convolutions")]
    vector_layer = layers.get("vector")
    vector = encoder.fields.get("vector")
    try:
        return NetworkSpec(
            image_shape=encoder.image_shape,
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
