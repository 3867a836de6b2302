"""What an attack on transitions gives back: every restart's guess, and how far it trusts itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import CorruptArtefactError

_KIND = "transition reconstructions"
_TRUST = "trust/"


@dataclass(frozen=True)
class TransitionReconstruction:
    """Guesses about V victims by R restarts, each of B transitions in no order, all four parts of them.

    state, next_state: (V, R, B, *S), images in [0, 1] or vectors. action: (V, R, B, A): probabilities where actions are
    discrete, values in [-1, 1] where they are continuous. reward: (V, R, B). chosen: (V,) int64, the restart that the
    attack prefers, by a loss of its own. gradient_error: (V, R), |g - g*| / |g*| of the guess's gradient, as far as it
    computes one; else NaN. trust: name -> (V,) or (V, R), computed without the truth. metadata: attack, settings,
    seconds_per_victim, device, provenance.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    next_state: Tensor
    chosen: Tensor
    gradient_error: Tensor
    trust: Mapping[str, Tensor] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def restarts(self) -> int:
        return self.gradient_error.shape[1]

    @property
    def components(self) -> dict[str, Tensor]:
        """state, action, reward and next_state by name, (V, R, B, ...)."""
        return {name: getattr(self, name) for name in ("state", "action", "reward", "next_state")}

    @property
    def preferred(self) -> "TransitionReconstruction":
        """The same with the chosen restart alone, R = 1."""
        rows = torch.arange(len(self))
        kept = {name: value[rows, self.chosen][:, None] for name, value in self.components.items()}
        error = self.gradient_error[rows, self.chosen][:, None]
        trust = {name: value[rows, self.chosen] if value.dim() > 1 else value for name, value in self.trust.items()}
        return replace(self, **kept, chosen=torch.zeros_like(self.chosen), gradient_error=error, trust=trust)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, as it is stored."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("trust", "metadata")}
        return own | {f"{_TRUST}{name}": value for name, value in self.trust.items()}


def save_all(path: str | Path, found: Mapping[str, TransitionReconstruction]) -> None:
    """Writes the reconstructions of several attacks on the same victims, by attack's name, to one file."""
    tensors = {f"{name}/{key}": value for name, own in found.items() for key, value in own.tensors.items()}
    write_tensors(path, _KIND, tensors, {"attacks": {name: dict(own.metadata) for name, own in found.items()}})


def load_all(path: str | Path) -> dict[str, TransitionReconstruction]:
    """Reads what `save_all` wrote. Raises CorruptArtefactError in one line."""
    tensors, description = read_tensors(path, _KIND)
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in description.get("attacks", {})}
    for key, tensor in tensors.items():
        attack, _, name = key.partition("/")
        groups.setdefault(attack, {})[name] = tensor
    found = {}
    for attack, group in groups.items():
        trust = {key.removeprefix(_TRUST): group.pop(key) for key in list(group) if key.startswith(_TRUST)}
        try:
            found[attack] = TransitionReconstruction(**group, trust=trust, metadata=description["attacks"][attack])
        except (TypeError, KeyError) as error:
            raise CorruptArtefactError(f"{path} holds no whole attack '{attack}' ({error}); run it again") from error
    return found
