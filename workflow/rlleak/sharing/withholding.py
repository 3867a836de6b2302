"""Parts that stay at home: whole tensors, or the columns of a gradient that say most about an observation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.learners.networks import load_network
from rlleak.sharing.sending import Client, Sent


def withheld(sent: Sent, client: Client, *, parts: Sequence[str]) -> Sent:
    """Without some tensors, which the server then does not train.

    parts: biases; first_layer (the layers that read the observation: the first convolution and the vector's own layer,
    or the first linear layer where one of them is missing); body (all but the head).
    """
    roles = {name: client.role(name) for name in sent.gradients}
    layers = [role.removesuffix(".weight") for role in roles.values() if role.endswith(".weight")]
    first = {layer for layer in ("convolutions.0", "vector") if layer in layers}
    if not first or (client.architecture is not None and _reads_directly(client)):
        first |= {"hidden.0" if "hidden.0" in layers else "head"}
    gone = {}
    for name, role in roles.items():
        layer, _, kind = role.rpartition(".")
        if (
            ("biases" in parts and kind == "bias")
            or ("first_layer" in parts and layer in first)
            or ("body" in parts and layer != "head")
        ):
            gone[name] = torch.zeros_like(sent.gradients[name], dtype=torch.bool)
    if len(gone) == len(roles):
        raise ConfigurationError(f"withholding {', '.join(parts)} leaves nothing of this network to share")
    return sent.only(gone)


def _reads_directly(client: Client) -> bool:
    """Whether the first linear layer reads an image or a vector that passed no layer of its own."""
    spec = client.architecture
    return bool(spec.vector_size and not spec.vector_width) or (spec.image_shape is not None and not spec.convolutions)


def pruned_representation(sent: Sent, client: Client, *, share: float, probes: int = 64) -> Sent:
    """Soteria (Sun et al. 2021): columns of the first linear layer's gradient, its input's most telling numbers, gone.

    share: of the input's numbers r_i that are not 0, those of largest |r_i| / |dr_i/dx|, where x is the observation.
    |dr_i/dx| is estimated from `probes` random directions in x (Soteria computes each r_i's gradient).
    Over several transitions scores are averaged. The server sees which columns are 0, and cannot tell what was pruned
    from what was 0. Raises ConfigurationError where the device's network or observation is not given.
    """
    if client.architecture is None or client.observation is None:
        raise ConfigurationError(
            "defence 'pruned_representation' needs the network as rlleak builds it; use it in config/defences.yaml"
        )
    name = "hidden.0.weight" if client.architecture.hidden else "head.weight"
    score, activation = _telling(client, probes)
    gradient = sent.gradients[name]
    active = int((activation != 0).sum())
    gone = torch.zeros(len(score), dtype=torch.bool, device=gradient.device)
    gone[score.topk(round(share * active)).indices.to(gradient.device)] = True
    pruned = gradient * ~gone
    known = (pruned != 0).any(dim=0).expand_as(pruned)
    return sent.with_values({**sent.gradients, name: pruned}).only({name: known}, beside=sent.beside + len(score))


def _telling(client: Client, probes: int) -> tuple[Tensor, Tensor]:
    """|r_i| / |dr_i/dx| (inputs,), averaged over the observations, and the largest |r_i|."""
    network = load_network(client.architecture, client.parameters).requires_grad_(False)
    names, seen = zip(*client.observation.items(), strict=True)

    def represented(*parts: Tensor) -> Tensor:
        return network.features(dict(zip(names, parts, strict=True)))

    value, squares = represented(*seen), 0.0
    for _ in range(probes):
        direction = tuple(
            torch.randn(part.shape, generator=client.generator, dtype=part.dtype).to(part.device) for part in seen
        )
        _, change = torch.func.jvp(represented, seen, direction)
        squares = squares + change.square()
    slope = (squares / probes).sqrt()
    score = torch.where(value != 0, value.abs() / slope.clamp(min=torch.finfo(value.dtype).tiny), 0.0)
    return score.mean(dim=0), value.abs().amax(dim=0)
