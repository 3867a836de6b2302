"""What a victim does to its update before it shares it, and what the server learns of that."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlleak.configuration.defences import MOST_STEPS, parts_of
from rlleak.learners.specification import NetworkSpec
from rlleak.seeds import derive
from rlleak.sharing import DEFENCES
from rlleak.sharing.sending import Client, Sent, Train
from rlleak.sharing.update import SharedUpdate

_CLIPPING = ("clipping", "clipped_gaussian")


def none(sent: Sent, client: Client) -> Sent:
    """The update as it is."""
    return sent


def applied(sent: Sent, client: Client, settings: Mapping[str, Any]) -> Sent:
    """What leaves instead. settings: an entry of config/defences.yaml: `method`, and that method's arguments."""
    arguments = {name: value for name, value in settings.items() if name != "method" and value is not None}
    return DEFENCES.load(settings["method"])(sent, client, **arguments)


def defend(
    update: SharedUpdate,
    settings: Mapping[str, Any],
    seed: int,
    victims: Sequence[int],
    observation: Mapping[str, Tensor] | None = None,
    gradient: Train | None = None,
) -> SharedUpdate:
    """The update as its victims share it, with what the server knows of the defence: its parameters, never its draws.

    settings: an entry of config/defences.yaml (`method`, and that method's arguments). victims: (V,), who they are:
    what is drawn for a victim depends on the seed and on its number, never on how victims were cut into files.
    observation: what the updates were made from, name -> (V * batch_size, ...), for defences that look at it; gradient:
    how they were made (`rlleak.sharing.local_steps.training_of`), rows being numbers of all V * batch_size transitions,
    for defences that train.
    """
    shared, size = [], update.batch_size
    for row, victim in enumerate(victims):
        generator = torch.Generator().manual_seed(derive(seed, victim))
        seen = {name: value[row * size : (row + 1) * size] for name, value in (observation or {}).items()}
        train = None if gradient is None else _on_own(gradient, row * size)
        client = Client(generator, {}, update.architecture, update.parameters, seen or None, train, size)
        own = Sent({name: value[row] for name, value in update.gradients.items()})
        shared.append(applied(own, client, settings))
    gradients, known = stacked(shared)
    loss = {**update.loss, "shortened": True} if shortens(settings, shared) else update.loss
    return replace(update, gradients=gradients, known=known, loss=loss, defence=dict(settings))


def _on_own(gradient: Train, first: int) -> Train:
    """One device's training, its transitions counted from 0."""
    return lambda weights, rows: gradient(weights, first + rows)


def stacked(shared: Sequence[Sent]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Several victims' gradients, name -> (V, *shape), and what of them is known, for tensors that are not whole."""
    gradients = {name: torch.stack([sent.gradients[name] for sent in shared]) for name in shared[0].gradients}
    partial = [name for name in gradients if any(name in sent.known for sent in shared)]
    whole = {name: torch.ones_like(gradients[name][0], dtype=torch.bool) for name in partial}
    return gradients, {name: torch.stack([sent.known.get(name, whole[name]) for sent in shared]) for name in partial}


def shortens(settings: Mapping[str, Any], shared: Sequence[Sent]) -> bool:
    """Whether a server must take it for shortened: it is as long as clipping lets it be, or noise hides whether."""
    parts = parts_of(settings)
    norms = [part["norm"] for part in parts if part["method"] in _CLIPPING]
    if not norms:
        return False
    hidden = parts[-1]["method"] != "clipping"
    return hidden or any(float(sent.length) >= 0.999 * min(norms) for sent in shared)


def message_bytes(settings: Mapping[str, Any], spec: NetworkSpec) -> int:
    """How many bytes an update of this network takes on the wire, defended like this, without framing.

    Measured on a made-up gradient: what is pruned by its values differs a little between victims.
    """
    generator = torch.Generator().manual_seed(0)
    made_up, observation = (
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for shapes in (spec.parameter_shapes, _observed(spec))
    )
    # As many transitions as local steps may ask for: it does not matter here what they give.
    client = Client(generator, {}, spec, made_up, observation, lambda *_: made_up, MOST_STEPS)
    return applied(Sent(made_up), client, settings).bytes


def _observed(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    shapes = {"image": spec.image_shape, "vector": (spec.vector_size,) if spec.vector_size else None}
    return {name: (1, *shape) for name, shape in shapes.items() if shape is not None}
