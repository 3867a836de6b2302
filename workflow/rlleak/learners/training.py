"""Training a network on experience that is all there already: what makes its weights those of a learnt policy."""

import copy
from typing import Any

import torch

from rlleak.learners.batch import Batch
from rlleak.learners.networks import PolicyNetwork


def train(
    network: PolicyNetwork,
    loss: Any,
    experience: Batch,
    *,
    updates: int,
    batch: int,
    learning_rate: float,
    target_every: int,
    seed: int,
) -> list[float]:
    """Trains the network in place with Adam on transitions drawn from the experience; the loss of each update.

    batch: transitions per update. target_every: updates after which DQN's target network is copied anew (Mnih et al.
    2015); REINFORCE has none.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    target_network, losses = copy.deepcopy(network), []
    for update in range(updates):
        if update % target_every == 0:
            target_network.load_state_dict(network.state_dict())
        drawn = torch.randint(len(experience), (batch,), generator=generator)
        part = loss.with_target(experience.select(drawn), target_network)
        value = loss.objective(network, part)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
    return losses
