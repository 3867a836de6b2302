"""What one shared update was made from: the private side."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """N transitions. `target` is the target Q-value for DQN, the return R for a critic (where computed), else None.

    observation, next_observation: `image` (N, C, H, W) in [0, 1] and / or `vector` (N, D). action: (N,) int64.
    reward: (N,), for REINFORCE the return R_t that multiplies log pi. terminated: (N,) bool.
    advantage: (N,), for actor-critic and PPO; None: R - V(s). log_probability: (N,), log pi(a | s) when the data was
    collected, for PPO; None: the network's own, as in the first step after collecting. value: (N,), V(s) then.
    """

    observation: Mapping[str, Tensor]
    action: Tensor
    reward: Tensor
    next_observation: Mapping[str, Tensor] | None = None
    terminated: Tensor | None = None
    target: Tensor | None = None
    advantage: Tensor | None = None
    log_probability: Tensor | None = None
    value: Tensor | None = None

    def __len__(self) -> int:
        return len(self.action)

    def select(self, index: int | slice | Tensor) -> "Batch":
        """The transitions at an index (kept as a batch of one), at several, or in a slice."""
        part = slice(index, index + 1) if isinstance(index, int) else index

        def cut(value: Mapping[str, Tensor] | Tensor | None) -> Mapping[str, Tensor] | Tensor | None:
            if isinstance(value, Mapping):
                return {name: tensor[part] for name, tensor in value.items()}
            return None if value is None else value[part]

        return Batch(**{field.name: cut(getattr(self, field.name)) for field in fields(self)})
