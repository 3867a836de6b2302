"""What an algebraic attack can say about itself without the truth: equations counted, and what they left."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

ROUNDINGS = 16
"""A rank-1 gradient rounded once differs from its factors by under half an epsilon per entry; this leaves room for
frameworks that round more than once. Anything above is noise, or not what was assumed."""


def rounding(dtype: torch.dtype) -> float:
    """Largest relative residual that rounding in this dtype explains."""
    return ROUNDINGS * torch.finfo(dtype).eps


@dataclass(frozen=True)
class Layer:
    """What solving for one layer's input met, (V,) each.

    unknowns: numbers sought. equations: usable ones. rank: of a linear layer's equations, exactly; of a convolution's
    at most, and at most `unknowns`: of its kernels' gradient, as far as singular values stand above rounding, and one
    more for each output known to be active, as if those were independent of it and of each other (together they are too
    many for a decomposition: 18,496 unknowns for the default network's last convolution). condition: largest over
    smallest of the gradient's singular values, inf without any. residual: relative, of all equations together at the
    solution.
    """

    unknowns: Tensor
    equations: Tensor
    rank: Tensor
    condition: Tensor
    residual: Tensor


NOTHING = {"unknowns": 0, "equations": 0, "rank": 0, "condition": torch.inf, "residual": 0}


def spread(layer: Layer | None, victims: Tensor, count: int) -> Layer:
    """A line about some victims as one about all; for the others, and without a line, nothing was sought."""
    values = {}
    for name, nothing in NOTHING.items():
        line = torch.full((count,), float(nothing), dtype=torch.float64, device=victims.device)
        values[name] = line if layer is None else line.index_copy(0, victims, getattr(layer, name).to(line))
    return Layer(**values)


def packed(name: str, layer: Layer) -> dict[str, Tensor]:
    """A line as tensors that a checkpoint can keep."""
    return {f"line {name} {number}": value for number, value in vars(layer).items()}


def unpacked(kept: Mapping[str, Tensor]) -> dict[str, Layer]:
    """The lines among tensors, by name."""
    lines: dict[str, dict[str, Tensor]] = {}
    for key, value in kept.items():
        if key.startswith("line "):
            _, name, number = key.split(" ")
            lines.setdefault(name, {})[number] = value
    return {name: Layer(**numbers) for name, numbers in lines.items()}


@dataclass
class Certificate:
    """One `Layer` by parameter name ("convolutions.1", "hidden.0"); what failed, by reason, (V,) bool; notes (V,)."""

    layers: dict[str, Layer] = field(default_factory=dict)
    failures: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def failed(self) -> Tensor:
        """Whether any assumption failed, (V,) bool."""
        return torch.stack(list(self.failures.values())).any(dim=0)

    def trust(self) -> Mapping[str, Tensor]:
        """As attacks return it: `trust/<number>_<layer>`, `trust/<reason>`, `trust/assumption_failed`, (V,) float."""
        found = {}
        for name, layer in self.layers.items():
            for number, value in vars(layer).items():
                found[f"trust/{number}_{name}"] = value.float()
        found |= {f"trust/{reason}": failed.float() for reason, failed in self.failures.items()}
        found |= {f"trust/{name}": value.float() for name, value in self.notes.items()}
        return found | {"trust/assumption_failed": self.failed.float()}
