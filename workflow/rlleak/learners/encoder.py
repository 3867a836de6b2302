"""What stands before the first linear layer that sees everything: an image's convolutions, a vector and its layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.learners.elements import Elements, Source, Watched, WatchedLayer

_PARTS = ("slot", "scale", "offset")


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


class Encoder:
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
                check_permutation(taken.slot - source.start, source.size, source.name)
                image.append((positions[(taken.slot - source.start).argsort()], taken))
            else:
                check_permutation(taken.slot - source.start, source.size, source.name)
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
            sources = activated(self.watched, chain[0].input, chain[0])
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
        check_permutation(current.slot - source.start, source.size, source.name)
        self.columns = current.slot - source.start
        order = self.columns.argsort()
        self.image_shape = source.shape
        self.fields["image"] = Field(Elements(*(getattr(current, part)[order].view(source.shape) for part in _PARTS)))


def plain(state: Elements) -> bool:
    """Whether these are values as a layer or the observation gave them, without factor and offset."""
    return bool((state.scale == 1).all() and (state.offset == 0).all())


def activated(watched: Watched, state: Elements, above: WatchedLayer) -> list[Source]:
    """The sources of a layer's input. Raises ConfigurationError for a layer's output without activation, or scaled."""
    sources = watched.sources_of(state.slot)
    for source in sources:
        if source.layer is not None and source.activation is None:
            raise ConfigurationError(
                f"nothing stands between layers '{source.name}' and '{above.name}'; attacks know layers with an "
                "activation behind each but the last"
            )
        own = (state.slot >= source.start) & (state.slot < source.start + source.size)
        if source.layer is not None and not plain(Elements(state.slot[own], state.scale[own], state.offset[own])):
            raise ConfigurationError(f"the output of layer '{source.name}' is scaled; leave the factor to the weights")
    return sources


def check_permutation(columns: Tensor, size: int, name: str) -> None:
    """Raises ConfigurationError unless `columns` are all `size` outputs of the layer, each once, in any order."""
    if columns.dim() != 1 or not torch.equal(columns.sort().values, torch.arange(size)):
        raise ConfigurationError(
            f"a part of what layer '{name}' puts out is left out or used twice; use all of it once"
        )


def _take(state: Elements, positions: Tensor) -> Elements:
    return Elements(*(getattr(state, part)[positions] for part in _PARTS))


def _joined(states: list[Elements]) -> Elements:
    return Elements(*(torch.cat([getattr(state, part) for state in states]) for part in _PARTS))
