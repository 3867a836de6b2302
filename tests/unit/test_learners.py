"""Learners: losses are the papers' formulas, networks are what their specification says."""

import attack_cases
import pytest
import torch
from pydantic import ValidationError

from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network, load_network
from rlleak.learners.reinforce import ReinforceLoss
from rlleak.learners.specification import Convolution, NetworkSpec


def test_dqns_target_is_reward_plus_discounted_best_value_unless_the_episode_ended() -> None:
    network, batch, _ = attack_cases.victims(2)
    batch = Batch(
        batch.observation, batch.action, torch.tensor([0.5, 0.5]), batch.observation, torch.tensor([False, True])
    )
    targeted = DQNLoss(gamma=0.9).with_target(batch, network)
    best = network(batch.observation).max(dim=1).values
    torch.testing.assert_close(targeted.target, torch.stack([0.5 + 0.9 * best[0], torch.tensor(0.5)]).detach())
    assert not targeted.target.requires_grad


def test_dqns_loss_reaches_the_chosen_action_only() -> None:
    _, batch, _ = attack_cases.victims(1)
    output = torch.arange(7.0)[None].requires_grad_()
    loss = DQNLoss()(output, batch)
    (gradient,) = torch.autograd.grad(loss, output)
    chosen = int(batch.action[0])
    assert float(loss.detach()) == pytest.approx((chosen - float(batch.target[0])) ** 2, rel=1e-5)
    assert gradient.nonzero().tolist() == [[0, chosen]]
    assert float(gradient[0, chosen]) == pytest.approx(2 * (chosen - float(batch.target[0])), rel=1e-5)


def test_reinforces_loss_is_the_negative_return_times_log_policy_plus_entropy() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    batch = Batch({}, torch.tensor([1]), torch.tensor([-1.5]))
    policy = logits.softmax(dim=1)[0]
    entropy = -(policy * policy.log()).sum()
    expected = -(-1.5 * policy[1].log() + 0.1 * entropy)
    torch.testing.assert_close(ReinforceLoss(entropy_weight=0.1)(logits, batch), expected)


def test_a_network_depends_on_nothing_but_its_seed() -> None:
    first = build_network(attack_cases.SMALL, 3).state_dict()
    torch.rand(5)
    second, other = build_network(attack_cases.SMALL, 3).state_dict(), build_network(attack_cases.SMALL, 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("bias", [True, False])
def test_a_specification_knows_its_networks_shapes(bias: bool) -> None:
    spec = attack_cases.SMALL.model_copy(update={"bias": bias})
    network = build_network(spec, 0)
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert list(shapes.items()) == list(spec.parameter_shapes.items())
    _, batch, _ = attack_cases.victims(2)
    assert network.features(batch.observation).shape == (2, spec.linear_inputs)
    loaded = load_network(spec, {name: value.detach() for name, value in network.named_parameters()})
    assert torch.equal(loaded(batch.observation), network(batch.observation))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "needs an image, a vector, or both"),
        ({"vector_width": 3, "image_shape": (1, 9, 9)}, "vector_width is set but vector_size is 0"),
        ({"vector_size": 4, "convolutions": (Convolution(channels=1, kernel=2, stride=1),)}, "need an image_shape"),
        (
            {"image_shape": (1, 9, 9), "convolutions": (Convolution(channels=1, kernel=12, stride=1),)},
            "kernel 12 but its input is 9x9",
        ),
        ({"vector_size": 4, "layers": 3}, "layers\n.*not permitted"),
    ],
    ids=["no input", "layer without vector", "convolution without image", "kernel too large", "unknown key"],
)
def test_a_network_that_cannot_be_built_is_refused_with_the_reason(wrong: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        NetworkSpec(outputs=7, **wrong)
