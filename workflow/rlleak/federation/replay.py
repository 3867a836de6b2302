"""What clients remember of what they lived through, and draw their updates from."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rlleak.configuration.environments import Environment


class Replay:
    """The latest transitions of C clients that play in step: tensors (C, capacity, ...), the oldest overwritten.

    observation/..., next_observation/...: `image` in bytes, `vector` in float32, whichever a state has. action: int64,
    or float32 (..., A). reward: float32. terminated: bool.
    """

    def __init__(self, environment: Environment, clients: int, capacity: int) -> None:
        actions = ((environment.actions,), torch.float32) if environment.continuous else ((), torch.int64)
        parts = {
            f"{state}/{name}": (shape, torch.uint8 if name == "image" else torch.float32)
            for state in ("observation", "next_observation")
            for name, shape in environment.state_shapes.items()
        }
        parts |= {"action": actions, "reward": ((), torch.float32), "terminated": ((), torch.bool)}
        self.capacity, self.added = capacity, 0
        self.kept = {name: torch.zeros(clients, capacity, *size, dtype=dtype) for name, (size, dtype) in parts.items()}

    def __len__(self) -> int:
        """How many transitions each client remembers."""
        return min(self.added, self.capacity)

    def add(self, parts: Mapping[str, np.ndarray]) -> None:
        """One transition of each client: each part (C, ...)."""
        place = self.added % self.capacity
        for name, value in parts.items():
            self.kept[name][:, place] = torch.from_numpy(np.ascontiguousarray(value))
        self.added += 1

    def draw(self, places: Tensor) -> dict[str, Tensor]:
        """Transitions (C, B, ...) at places (C, B) in [0, 1) of what is remembered, drawn with replacement."""
        rows = (places * len(self)).long().clamp_(max=len(self) - 1)
        own = torch.arange(len(rows))[:, None]
        return {name: value[own, rows] for name, value in self.kept.items()}

    def restore(self, kept: Mapping[str, Tensor], added: int) -> None:
        """Goes on from what another held."""
        self.kept, self.added = {name: value.clone() for name, value in kept.items()}, added
