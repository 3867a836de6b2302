"""What an attack gives back: its guess at the private side, and how far it trusts itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import CorruptArtefactError

_KIND = "reconstruction"
_TRUST = "trust/"


@dataclass(frozen=True)
class Reconstruction:
    """Guesses about N victims; a component that an attack does not give is None.

    image: (N, C, H, W) float32. vector: (N, D). action: (N,) int64. predicted_q, target_q: (N,), for DQN.
    probabilities: (N, actions) and reward: (N,), for REINFORCE. linear_input: (N, D), the input of the first linear
    layer. Of updates over B > 1 transitions each (N, B, ...), in no order, and claimed: (N, B) bool, which rows hold a
    sample; the others are zeros. trust: name -> (N,), computed without the truth:
    `matching_loss_<stage>`, the loss that was reached; `zero_update`, 1 where the victim shared nothing but zeros and
    every guess is empty. metadata: attack, settings, seconds_per_victim, peak_memory_mb, device, provenance.
    """

    image: Tensor | None = None
    vector: Tensor | None = None
    action: Tensor | None = None
    predicted_q: Tensor | None = None
    target_q: Tensor | None = None
    probabilities: Tensor | None = None
    reward: Tensor | None = None
    linear_input: Tensor | None = None
    claimed: Tensor | None = None
    trust: Mapping[str, Tensor] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.components.values())))

    @property
    def components(self) -> dict[str, Tensor]:
        """The guesses that there are, by name."""
        names = [item.name for item in fields(self) if item.name not in ("trust", "metadata")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def save(self, path: str | Path) -> None:
        """Writes the reconstruction file."""
        tensors = {**self.components, **{f"{_TRUST}{name}": value for name, value in self.trust.items()}}
        write_tensors(path, _KIND, tensors, self.metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Reconstruction":
        """Reads what `save` wrote. Raises CorruptArtefactError in one line."""
        tensors, metadata = read_tensors(path, _KIND)
        trust = {name.removeprefix(_TRUST): value for name, value in tensors.items() if name.startswith(_TRUST)}
        components = {name: value for name, value in tensors.items() if not name.startswith(_TRUST)}
        try:
            return cls(**components, trust=trust, metadata=metadata)
        except TypeError as error:
            raise CorruptArtefactError(f"{path} holds more than a reconstruction ({error}); run it again") from error
