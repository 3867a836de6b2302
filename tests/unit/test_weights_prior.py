"""What a trained network's first layer says of the states that it was trained on, and what it does not."""

import numpy as np
import pytest
import torch

from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.from_weights import prior_from_weights

torch.set_num_threads(1)
HALF_CHEETAH = NetworkSpec(vector_size=17 + 6, hidden=(64, 64), outputs=1)


def trained(deviation: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
    """A critic's parameters after learning any function of states of given deviations, and actions."""
    network, generator = build_network(HALF_CHEETAH, 0), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    direction = torch.randn(23, generator=generator)
    for _ in range(steps):
        unit = torch.randn(64, 23, generator=generator)
        inputs = torch.cat([unit[:, :17] * deviation, unit[:, 17:]], dim=1)
        loss = (network({"vector": inputs})[:, 0] - torch.tanh(unit @ direction)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return dict(network.named_parameters())


def test_a_trained_layer_tells_which_numbers_vary_little() -> None:
    deviation = torch.logspace(-1.3, 0.7, 17)[torch.randperm(17, generator=torch.Generator().manual_seed(1))]
    prior = prior_from_weights("HalfCheetah", trained(deviation, 400))
    assert np.corrcoef(prior.state_scale.log(), deviation.log())[0, 1] > 0.5
    assert not prior.learnt
    assert prior.reward_range is None
    assert prior.state_mean.tolist() == [0] * 17


def test_a_fresh_layer_tells_nothing() -> None:
    prior = prior_from_weights("HalfCheetah", trained(torch.ones(17), 0))
    assert prior.state_scale.tolist() == pytest.approx([1] * 17, abs=0.3)


def test_kernels_say_nothing_of_images() -> None:
    prior = prior_from_weights("Pong", {"convolutions.0.weight": torch.randn(32, 4, 8, 8)})
    assert prior.amount == "weights"
    assert float(prior.state_covariance.std()) == 0
