"""Deep Q-learning: mean squared error between the chosen Q-value and its target (Mnih et al. 2015; QGI, eq. 3)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from rlleak.learners.batch import Batch
from rlleak.learners.networks import PolicyNetwork


@dataclass(frozen=True)
class DQNLoss:
    """mean (Q_hat(s, a) - Q)^2 with Q = r + gamma * max_a' Q_target(s', a'), detached (a semi-gradient)."""

    kind: ClassVar[str] = "dqn"
    gamma: float = 0.99

    @torch.no_grad()
    def with_target(self, batch: Batch, target_network: PolicyNetwork) -> Batch:
        """The batch with its target Q-values, (N,)."""
        following = target_network(batch.next_observation).amax(dim=1)
        return replace(batch, target=batch.reward + self.gamma * following * (~batch.terminated))

    def __call__(self, output: Tensor, batch: Batch) -> Tensor:
        chosen = output.gather(1, batch.action[:, None])[:, 0]
        return (chosen - batch.target).square().mean()

    @torch.no_grad()
    def private_values(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What an attack is scored against beside the observation: predicted_q and target_q, (N,)."""
        return {"predicted_q": output.gather(1, batch.action[:, None])[:, 0], "target_q": batch.target}
