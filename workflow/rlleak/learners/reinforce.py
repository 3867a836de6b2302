"""REINFORCE with an entropy bonus (Williams 1992; RGI, eq. 4)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlleak.learners.batch import Batch
from rlleak.learners.loss import Loss
from rlleak.learners.networks import PolicyNetwork


@dataclass(frozen=True)
class ReinforceLoss(Loss):
    """-mean(R_t log pi(a | s) + alpha H(pi(s))): minimising it follows eq. 4; `reward` of the batch is R_t."""

    kind: ClassVar[str] = "reinforce"
    gamma: float = 0.99
    entropy_weight: float = 0.01

    def with_target(self, batch: Batch, target_network: PolicyNetwork) -> Batch:
        """REINFORCE needs no target; the batch as it is."""
        return batch

    def __call__(self, output: Tensor, batch: Batch) -> Tensor:
        log_policy = output.log_softmax(dim=1)
        chosen = log_policy.gather(1, batch.action[:, None])[:, 0]
        entropy = -(log_policy.exp() * log_policy).sum(dim=1)
        return -(batch.reward * chosen + self.entropy_weight * entropy).mean()

    @torch.no_grad()
    def private_values(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What an attack is scored against beside the observation: reward (N,) and probabilities (N, actions)."""
        return {"reward": batch.reward, "probabilities": output.softmax(dim=1)}
