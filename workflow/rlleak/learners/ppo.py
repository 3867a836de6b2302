"""Proximal policy optimisation, clipped (Schulman et al. 2017, eqs. 7 and 9)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlleak.learners.actor_critic import ActorCriticLoss, advantage, entropy_of, split
from rlleak.learners.batch import Batch


@dataclass(frozen=True)
class PPOLoss(ActorCriticLoss):
    """mean(-min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) - beta H(pi(s)) + c L_V), r = pi(a | s) / pi_old(a | s).

    L_V = (R - V)^2, or with value_clip the larger of it and (R - V_old - clip(V - V_old, -value_clip, value_clip))^2
    (OpenAI's baselines; not in the paper). normalise_advantage: to mean 0 and deviation 1 over the batch, as
    stable-baselines3 and CleanRL do by default.
    """

    kind: ClassVar[str] = "ppo"
    clip: float = 0.2
    value_clip: float | None = None
    normalise_advantage: bool = False

    def __call__(self, output: Tensor, batch: Batch) -> Tensor:
        logits, value = split(output)
        log_policy = logits.log_softmax(dim=1)
        weight = self._advantage(value, batch)
        ratio = self._ratio(log_policy, batch)
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        surrogate = torch.minimum(ratio * weight, clipped * weight)
        policy = -(surrogate + self.entropy_weight * entropy_of(log_policy))
        return (policy + self.value_weight * self._value_error(value, batch)).mean()

    def _ratio(self, log_policy: Tensor, batch: Batch) -> Tensor:
        chosen = log_policy.gather(1, batch.action[:, None])[:, 0]
        before = chosen.detach() if batch.log_probability is None else batch.log_probability
        return (chosen - before).exp()

    def _advantage(self, value: Tensor, batch: Batch) -> Tensor:
        weight = advantage(value, batch)
        if not self.normalise_advantage or len(weight) < 2:
            return weight
        return (weight - weight.mean()) / (weight.std() + 1e-8)

    def _value_error(self, value: Tensor, batch: Batch) -> Tensor:
        error = (batch.target - value).square()
        if self.value_clip is None or batch.value is None:
            return error
        moved = batch.value + (value - batch.value).clamp(-self.value_clip, self.value_clip)
        return torch.maximum(error, (batch.target - moved).square())

    @torch.no_grad()
    def private_values(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """As actor-critic's; reward is what multiplies -grad log pi: r A, and 0 where the clip lets nothing through."""
        logits, value = split(output)
        log_policy = logits.log_softmax(dim=1)
        weight, ratio = self._advantage(value, batch), self._ratio(log_policy, batch)
        through = torch.where(weight > 0, ratio <= 1 + self.clip, ratio >= 1 - self.clip)
        own = super().private_values(output, batch)
        return own | {"reward": ratio * weight * through}
