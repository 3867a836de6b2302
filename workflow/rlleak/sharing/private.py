"""What stays on the device: everything that an update was made from, and that only scoring may read."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlleak.artefacts import provenance, read_tensors, write_tensors
from rlleak.errors import CorruptArtefactError
from rlleak.learners.batch import Batch
from rlleak.learners.networks import Observation, PolicyNetwork

_KIND = "private side"


@dataclass(frozen=True)
class PrivateSide:
    """The truth about N transitions: one per victim, or its update's in consecutive rows.

    image: (N, C, H, W) in [0, 1]. vector: (N, D), the state's numbers; in rooms the target's box, (N, 4) in [-1, 1].
    action, victim: (N,) int64. layout: (N,) int64, the room, where there is one. target: (N,) int64, what was looked
    for, an index into the target types. predicted_q, target_q: (N,), for DQN and critics. reward: (N,), of one step, or
    for REINFORCE the return R_t. probabilities (N, actions), for REINFORCE. continuous_action: (N, A) in [-1, 1], for
    critics, whose `action` is 0. next_image, next_vector: the state after the action, and terminated (N,) bool, where
    whole transitions are what is sought.
    linear_input: (N, D), the input of the first linear layer that sees everything.
    depth_limit: metres that depth 1.0 stands for.
    """

    action: Tensor
    victim: Tensor
    vector: Tensor | None = None
    layout: Tensor | None = None
    target: Tensor | None = None
    image: Tensor | None = None
    predicted_q: Tensor | None = None
    target_q: Tensor | None = None
    reward: Tensor | None = None
    probabilities: Tensor | None = None
    linear_input: Tensor | None = None
    continuous_action: Tensor | None = None
    next_image: Tensor | None = None
    next_vector: Tensor | None = None
    terminated: Tensor | None = None
    depth_limit: float = 10.0

    def __len__(self) -> int:
        return len(self.action)

    def first(self, transitions: int) -> "PrivateSide":
        """The first transitions. Raises CorruptArtefactError if there are fewer."""
        if len(self) < transitions:
            raise CorruptArtefactError(
                f"the private side holds {len(self)} transitions, not {transitions}; delete it and run again"
            )
        return replace(self, **{name: tensor[:transitions] for name, tensor in self.components.items()})

    def save(self, path: str | Path) -> None:
        """Writes the file that the server must not see."""
        description = {"depth_limit": self.depth_limit, "provenance": provenance()}
        write_tensors(path, _KIND, self.components, description)

    @classmethod
    def load(cls, path: str | Path) -> "PrivateSide":
        """Reads what `save` wrote. Raises CorruptArtefactError in one line."""
        tensors, description = read_tensors(path, _KIND)
        try:
            private = cls(**tensors, depth_limit=float(description["depth_limit"]))
        except (TypeError, KeyError) as error:
            raise CorruptArtefactError(f"{path} does not hold a private side ({error}); share it again") from error
        lengths = {len(tensor) for tensor in private.components.values()}
        if len(lengths) != 1:
            raise CorruptArtefactError(f"{path} holds different numbers of victims {sorted(lengths)}; share it again")
        return private

    @property
    def components(self) -> dict[str, Tensor]:
        """What there is to know, by name."""
        names = [field.name for field in fields(self) if field.name != "depth_limit"]
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def withhold(
    network: PolicyNetwork,
    loss: Any,
    batch: Batch,
    layout: np.ndarray | None,
    victim: np.ndarray,
    depth_limit: float = 10.0,
    target: np.ndarray | None = None,
    whole: bool = False,
) -> PrivateSide:
    """The private side of the updates that `capture` makes from the same batch, one row per transition.

    layout, victim, target: (N,) integers, as `rlleak.simulators.recorded.Recorded` has them. depth_limit: metres.
    whole: reward, next state and `terminated` too, for attacks on transitions.
    """
    with torch.no_grad():
        values = loss.private_values(network(batch.observation), batch)
        values["linear_input"] = network.features(batch.observation)
    observation = _seen(loss, batch.observation)
    if whole:
        following = _seen(loss, batch.next_observation)
        values |= {"reward": batch.reward, "terminated": batch.terminated}
        values |= {f"next_{name}": tensor for name, tensor in following.items()}
    return PrivateSide(
        vector=observation.get("vector"),
        action=batch.action,
        layout=None if layout is None else torch.as_tensor(layout, dtype=torch.int64),
        victim=torch.as_tensor(victim, dtype=torch.int64),
        target=None if target is None else torch.as_tensor(target, dtype=torch.int64),
        image=observation.get("image"),
        depth_limit=depth_limit,
        **values,
    )


def _seen(loss: Any, observation: Observation) -> dict[str, Tensor]:
    # What a camera gave is exact in float32, whatever it was computed with.
    return {name: tensor.detach().float() for name, tensor in loss.state(observation).items()}
