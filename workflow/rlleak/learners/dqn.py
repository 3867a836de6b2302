"""Deep Q-learning: the error between the chosen Q-value and its target (Mnih et al. 2015; QGI, eq. 3)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.learners.batch import Batch
from rlleak.learners.loss import Loss
from rlleak.learners.networks import PolicyNetwork


@dataclass(frozen=True)
class DQNLoss(Loss):
    """mean l(Q_hat(s, a) - Q) with Q = r + gamma * max_a' Q_target(s', a'), detached (a semi-gradient).

    residual: Q is computed with the network itself and differentiated too (Baird 1995, residual gradient).

    error: l is the square, or Huber's function with threshold 1 (Mnih et al. 2015 clip the error to [-1, 1], which is
    its derivative). double: Q = r + gamma * Q_target(s', argmax_a' Q_hat(s', a')) (van Hasselt et al. 2016, eq. 4).
    """

    kind: ClassVar[str] = "dqn"
    gamma: float = 0.99
    error: Literal["squared", "huber"] = "squared"
    double: bool = False
    residual: bool = False

    def objective(self, network: PolicyNetwork, batch: Batch) -> Tensor:
        """As `Loss.objective`; a residual one reads the reward, the next observation and `terminated` too."""
        output = network(batch.observation)
        if not self.residual:
            return self(output, batch)
        best = network(batch.next_observation).amax(dim=1)
        return self(output, replace(batch, target=batch.reward + self.gamma * best * (~batch.terminated)))

    def with_target(
        self, batch: Batch, target_network: PolicyNetwork, online_network: PolicyNetwork | None = None
    ) -> Batch:
        """The batch with its target Q-values, (N,). online_network: chooses the next action in Double DQN."""
        with torch.no_grad():
            following = target_network(batch.next_observation)
            chooser = following if online_network is None else online_network(batch.next_observation)
        return self.targeted(batch, following, chooser)

    @torch.no_grad()
    def targeted(self, batch: Batch, following: Tensor, chooser: Tensor) -> Batch:
        """As `with_target`, from Q-values of the next observation, (N, actions), and those that choose the action."""
        chooser = chooser if self.double else following
        best = following.gather(1, chooser.argmax(dim=1, keepdim=True))[:, 0]
        return replace(batch, target=batch.reward + self.gamma * best * (~batch.terminated))

    def __call__(self, output: Tensor, batch: Batch) -> Tensor:
        chosen = output.gather(1, batch.action[:, None])[:, 0]
        if self.error == "huber":
            return F.smooth_l1_loss(chosen, batch.target)
        return (chosen - batch.target).square().mean()

    @torch.no_grad()
    def private_values(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What an attack is scored against beside the observation: predicted_q and target_q, (N,)."""
        return {"predicted_q": output.gather(1, batch.action[:, None])[:, 0], "target_q": batch.target}


@dataclass(frozen=True)
class ResidualDQNLoss(DQNLoss):
    """The same with the residual gradient."""

    residual: bool = True
