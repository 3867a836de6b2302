"""Temporal-difference learning of a critic Q(s, a) beside an actor, as in TD3 (Fujimoto et al. 2018, algorithm 1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import Observation, PolicyNetwork
from rlleak.learners.specification import NetworkSpec


def policy(actor: PolicyNetwork, state: Observation) -> Tensor:
    """pi(s) = tanh(actor(s)), (N, A) in [-1, 1]."""
    return torch.tanh(actor(state))


def with_action(state: Observation, action: Tensor) -> dict[str, Tensor]:
    """What a critic reads: the state, with the action (N, A) behind the vector."""
    parts = [state["vector"], action] if "vector" in state else [action]
    return {**state, "vector": torch.cat(parts, dim=1)}


@dataclass(frozen=True)
class CriticLoss(DQNLoss):
    """DQN's loss of a network with one output, Q(s, a): y = r + gamma Q(s', pi(s')), with one critic and no noise.

    TD3's second critic and the noise on pi(s') are left out: a server sees the gradient of each critic, and noise that
    it does not know only blurs y. actor: pi before its tanh, public and held still. The batch's observation and next
    observation are `with_action`, its actions 0.
    """

    actor: PolicyNetwork | None = None

    @property
    def constants(self) -> dict[str, Any]:
        return super().constants | {"actor": self.actor.spec.model_dump(mode="json")}

    @property
    def others(self) -> Mapping[str, Tensor]:
        return {f"actor/{name}": value.detach() for name, value in self.actor.named_parameters()}

    def state(self, observation: Observation) -> dict[str, Tensor]:
        kept = observation["vector"].shape[1] - self.actor.spec.outputs
        state = {**observation, "vector": observation["vector"][:, :kept]}
        return state if kept else {name: value for name, value in state.items() if name != "vector"}

    @torch.no_grad()
    def private_values(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """As DQN's, and the continuous_action (N, A)."""
        actions = self.actor.spec.outputs
        action = batch.observation["vector"][:, -actions:]
        return super().private_values(output, batch) | {"continuous_action": action}


@dataclass(frozen=True)
class ResidualCriticLoss(CriticLoss):
    """The same with the residual gradient: Q(s', pi(s')) is differentiated too."""

    residual: bool = True


def actor_spec(critic: NetworkSpec, actions: int) -> NetworkSpec:
    """An actor as the critic is, without the action among its inputs: TD3's two have the same hidden layers."""
    shape = critic.model_dump() | {"vector_size": critic.vector_size - actions, "outputs": actions}
    return NetworkSpec.model_validate(shape | ({} if shape["vector_size"] else {"vector_width": 0}))
