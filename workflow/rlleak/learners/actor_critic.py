"""Advantage actor-critic: policy and value on one output (Mnih et al. 2016, section 4 and algorithm S3)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from rlleak.learners.batch import Batch
from rlleak.learners.loss import Loss
from rlleak.learners.networks import PolicyNetwork


def split(output: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, actions) and values (N,) of a stacked head (N, actions + 1): the value stands last."""
    return output[:, :-1], output[:, -1]


def entropy_of(log_policy: Tensor) -> Tensor:
    """H(pi), (N,), from log pi (N, actions)."""
    return -(log_policy.exp() * log_policy).sum(dim=1)


@dataclass(frozen=True)
class ActorCriticLoss(Loss):
    """mean(-A log pi(a | s) - beta H(pi(s)) + c (R - V(s))^2), A = R - V(s), detached, unless the batch has its own.

    R is the batch's `target`: r + gamma V(s') where `with_target` made it. beta: entropy_weight. c: value_weight;
    0.5 is what OpenAI's baselines and stable-baselines3 use beside a mean squared error.
    """

    kind: ClassVar[str] = "actor_critic"
    gamma: float = 0.99
    entropy_weight: float = 0.01
    value_weight: float = 0.5

    def with_target(self, batch: Batch, target_network: PolicyNetwork) -> Batch:
        """The batch with R = r + gamma V(s'), (N,), where it has none."""
        if batch.target is not None:
            return batch
        with torch.no_grad():
            following = target_network(batch.next_observation)
        return self.targeted(batch, following, following)

    @torch.no_grad()
    def targeted(self, batch: Batch, following: Tensor, chooser: Tensor) -> Batch:
        """As `with_target`, from the output (N, actions + 1) for the next observation."""
        return replace(batch, target=batch.reward + self.gamma * split(following)[1] * (~batch.terminated))

    def __call__(self, output: Tensor, batch: Batch) -> Tensor:
        logits, value = split(output)
        log_policy = logits.log_softmax(dim=1)
        chosen = log_policy.gather(1, batch.action[:, None])[:, 0]
        policy = -(advantage(value, batch) * chosen + self.entropy_weight * entropy_of(log_policy))
        return (policy + self.value_weight * (batch.target - value).square()).mean()

    @torch.no_grad()
    def private_values(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What an attack is scored against: reward (here the advantage), predicted_q (V) and target_q (R), (N,)."""
        logits, value = split(output)
        weight = advantage(value, batch)
        return {
            "reward": weight,
            "predicted_q": value,
            "target_q": batch.target,
            "probabilities": logits.softmax(dim=1),
        }


def advantage(value: Tensor, batch: Batch) -> Tensor:
    """The batch's own advantage, or R - V(s), detached, (N,)."""
    return batch.target - value.detach() if batch.advantage is None else batch.advantage
