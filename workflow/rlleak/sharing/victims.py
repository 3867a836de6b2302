"""From experience to the network, the loss and the batch whose gradients a victim shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from rlleak.learners import LOSSES
from rlleak.learners.batch import Batch
from rlleak.learners.networks import PolicyNetwork, build_network
from rlleak.learners.specification import NetworkSpec

if TYPE_CHECKING:
    from rlleak.simulators.experience import Experience


class Training(NamedTuple):
    """One step of training, one transition per victim: `loss(network(batch.observation), batch)`."""

    network: PolicyNetwork
    loss: Any
    batch: Batch


def prepare_training(
    experience: Experience,
    *,
    learner: str,
    setting: str,
    architecture: Mapping[str, Any],
    constants: Mapping[str, Any],
    network_seed: int,
    depth_limit: float,
) -> Training:
    """What every victim computes its gradient from.

    The network is freshly initialised, as in QGI's section V; DQN's target network is then a copy of it (Mnih et al.
    2015 copy it at the start). learner: a name in rlleak.learners.LOSSES; constants: its arguments; setting: S1 or S2;
    depth_limit: metres that depth 1.0 stands for.
    """
    network = build_network(NetworkSpec.model_validate(dict(architecture)), network_seed)
    loss = LOSSES.load(learner)(**constants)
    # REINFORCE weighs log pi with the return R_t; DQN's target is made from the reward of one step.
    reward = experience.return_to_go if learner == "reinforce" else experience.reward
    batch = Batch(
        observation=experience.observations(setting, depth_limit),
        action=torch.from_numpy(experience.action),
        reward=torch.from_numpy(reward),
        next_observation=experience.observations(setting, depth_limit, next=True),
        terminated=torch.from_numpy(experience.terminated),
    )
    return Training(network, loss, loss.with_target(batch, network))
