"""What one shared update was made from: the private side."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """N transitions. `target` is the target Q-value for DQN (where it was computed), else None.

    observation, next_observation: `image` (N, C, H, W) in [0, 1] and / or `vector` (N, D). action: (N,) int64.
    reward: (N,), for REINFORCE the return R_t that multiplies log pi. terminated: (N,) bool.
    """

    observation: Mapping[str, Tensor]
    action: Tensor
    reward: Tensor
    next_observation: Mapping[str, Tensor] | None = None
    terminated: Tensor | None = None
    target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.action)

    def select(self, index: int | slice | Tensor) -> "Batch":
        """The transitions at an index (kept as a batch of one), at several, or in a slice."""
        part = slice(index, index + 1) if isinstance(index, int) else index
        cut = lambda value: None if value is None else value[part]  # noqa: E731
        observations = [
            None if group is None else {name: value[part] for name, value in group.items()}
            for group in (self.observation, self.next_observation)
        ]
        return Batch(
            observations[0],
            self.action[part],
            self.reward[part],
            observations[1],
            cut(self.terminated),
            cut(self.target),
        )
