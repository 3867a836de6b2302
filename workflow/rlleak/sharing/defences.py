"""What a victim does to its gradient before it shares it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlleak.seeds import derive
from rlleak.sharing import DEFENCES
from rlleak.sharing.update import SharedUpdate

Gradients = Mapping[str, Tensor]
"""One victim's gradient: parameter name -> tensor in the parameter's shape."""


def none(gradients: Gradients, generator: torch.Generator) -> Gradients:
    """The gradient as it is."""
    return gradients


def gaussian_noise(
    gradients: Gradients,
    generator: torch.Generator,
    *,
    relative_deviation: float | None = None,
    deviation: float | None = None,
) -> Gradients:
    """The gradient plus independent Gaussian noise of one deviation on all its numbers.

    relative_deviation: the noise's expected length over the gradient's; deviation: of each number. One is given.
    """
    if deviation is None:
        numbers = sum(gradient.numel() for gradient in gradients.values())
        length = torch.stack([gradient.double().square().sum() for gradient in gradients.values()]).sum().sqrt()
        deviation = float(relative_deviation * length / numbers**0.5)
    drawn = {}
    for name, gradient in sorted(gradients.items()):
        noise = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        drawn[name] = gradient + deviation * noise.to(gradient.device)
    return {name: drawn[name] for name in gradients}


def defend(update: SharedUpdate, settings: Mapping[str, Any], seed: int, victims: list[int]) -> SharedUpdate:
    """The update as its victims share it.

    settings: an entry of config/defences.yaml (`method`, and that method's arguments). victims: (V,), who they are:
    what is drawn for a victim depends on the seed and on its number, never on how victims were cut into files.
    """
    arguments = {name: value for name, value in settings.items() if name != "method" and value is not None}
    apply = DEFENCES.load(settings["method"])
    shared = []
    for row, victim in enumerate(victims):
        generator = torch.Generator().manual_seed(derive(seed, victim))
        own = {name: gradient[row] for name, gradient in update.gradients.items()}
        shared.append(apply(own, generator, **arguments))
    gradients = {name: torch.stack([own[name] for own in shared]) for name in update.gradients}
    return replace(update, gradients=gradients)
