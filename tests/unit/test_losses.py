"""Losses: each is the formula of its paper, written out per transition, and so is its gradient."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from rlleak.learners import LOSSES
from rlleak.learners.actor_critic import ActorCriticLoss
from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.ppo import PPOLoss

ACTIONS = 4


@st.composite
def samples(draw: st.DrawFn) -> tuple[Tensor, Batch]:
    """Random outputs (N, actions + 1) in float64, and transitions; nothing lands on a kink."""
    count, seed = draw(st.integers(1, 5)), draw(st.integers(0, 9999))
    generator = torch.Generator().manual_seed(seed)
    draw_normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    output = draw_normal(count, ACTIONS + 1)
    batch = Batch(
        {},
        torch.randint(ACTIONS, (count,), generator=generator),
        draw_normal(count),
        terminated=torch.rand(count, generator=generator) < 0.5,
        target=2 * draw_normal(count),
        advantage=draw_normal(count) if draw(st.booleans()) else None,
        log_probability=-draw_normal(count).abs() if draw(st.booleans()) else None,
        value=draw_normal(count),
    )
    return output.requires_grad_(), batch


def policy_of(row: Tensor) -> Tensor:
    return row[:-1].exp() / row[:-1].exp().sum()


def agree(output: Tensor, mine: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(mine, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, output)[0] for loss in (mine, expected)))


@given(samples(), st.floats(0, 0.2), st.floats(0.1, 2))
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_actor_critic_is_mnih_2016(drawn, entropy: float, weight: float) -> None:
    output, batch = drawn
    terms = []
    for row, action, ret, index in zip(output, batch.action, batch.target, range(len(batch)), strict=True):
        policy, value = policy_of(row), row[-1]
        advantage = ret - value.detach() if batch.advantage is None else batch.advantage[index]
        bonus = -sum(p * p.log() for p in policy)
        terms.append(-policy[action].log() * advantage - entropy * bonus + weight * (ret - value) ** 2)
    agree(output, ActorCriticLoss(entropy_weight=entropy, value_weight=weight)(output, batch), sum(terms) / len(terms))


@given(samples(), st.floats(0.05, 0.4), st.sampled_from([None, 0.3]))
@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
def test_ppo_is_schulman_2017_with_the_case_of_each_sign_written_out(drawn, clip: float, value_clip) -> None:
    output, batch = drawn
    terms = []
    for row, action, ret, index in zip(output, batch.action, batch.target, range(len(batch)), strict=True):
        policy, value = policy_of(row), row[-1]
        advantage = ret - value.detach() if batch.advantage is None else batch.advantage[index]
        old = policy[action].detach() if batch.log_probability is None else batch.log_probability[index].exp()
        ratio = policy[action] / old
        if advantage > 0:
            surrogate = advantage * (ratio if ratio < 1 + clip else 1 + clip)
        else:
            surrogate = advantage * (ratio if ratio > 1 - clip else 1 - clip)
        error = (ret - value) ** 2
        if value_clip is not None:
            step = value - batch.value[index]
            moved = batch.value[index] + (step if abs(step) < value_clip else value_clip * step.sign().detach())
            error = max(error, (ret - moved) ** 2)
        terms.append(-surrogate + 0.01 * sum(p * p.log() for p in policy) + 0.5 * error)
    agree(output, PPOLoss(clip=clip, value_clip=value_clip)(output, batch), sum(terms) / len(terms))


@given(samples(), st.floats(0.05, 0.4))
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_what_ppo_withholds_as_reward_is_what_multiplies_the_policys_gradient(drawn, clip: float) -> None:
    output, batch = drawn
    loss = PPOLoss(clip=clip, entropy_weight=0.0)
    gradient = torch.autograd.grad(loss(output, batch), output)[0][:, :-1] * len(batch)
    policy = output[:, :-1].softmax(dim=1).detach()
    expected = policy - torch.nn.functional.one_hot(batch.action, ACTIONS)
    reward = loss.private_values(output, batch)["reward"]
    torch.testing.assert_close(gradient, reward[:, None] * expected)


def test_normalised_advantages_have_mean_0_and_deviation_1() -> None:
    output = torch.zeros(3, ACTIONS + 1, dtype=torch.float64)
    batch = Batch({}, torch.tensor([0, 1, 2]), torch.zeros(3), target=torch.zeros(3, dtype=torch.float64))
    batch = Batch(**vars(batch) | {"advantage": torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)})
    given_reward = PPOLoss(normalise_advantage=True).private_values(output, batch)["reward"]
    torch.testing.assert_close(given_reward, torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))


@given(samples())
@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
def test_hubers_error_is_the_clipped_one_and_equals_half_the_squared_ones_inside(drawn) -> None:
    output, batch = drawn
    (gradient,) = torch.autograd.grad(DQNLoss(error="huber")(output, batch), output)
    error = output.gather(1, batch.action[:, None])[:, 0] - batch.target
    chosen = gradient.gather(1, batch.action[:, None])[:, 0] * len(batch)
    torch.testing.assert_close(chosen, error.detach().clamp(-1, 1))
    assert int((gradient != 0).sum()) == len(batch)


def test_double_q_learning_lets_the_online_network_choose_and_the_target_network_value() -> None:
    batch = Batch({}, torch.tensor([0, 0]), torch.tensor([1.0, 1.0]), {"vector": torch.zeros(2, 1)})
    batch = Batch(**vars(batch) | {"terminated": torch.tensor([False, True])})
    online = lambda _: torch.tensor([[0.0, 5.0], [0.0, 5.0]])  # noqa: E731
    target = lambda _: torch.tensor([[3.0, 2.0], [3.0, 2.0]])  # noqa: E731
    assert DQNLoss(gamma=0.5, double=True).with_target(batch, target, online).target.tolist() == [2.0, 1.0]
    assert DQNLoss(gamma=0.5).with_target(batch, target, online).target.tolist() == [2.5, 1.0]


def test_a_critics_return_is_bootstrapped_from_its_value_unless_the_episode_ended() -> None:
    batch = Batch({}, torch.tensor([0, 0]), torch.tensor([1.0, 1.0]), {"vector": torch.zeros(2, 1)})
    batch = Batch(**vars(batch) | {"terminated": torch.tensor([False, True])})
    network = lambda _: torch.tensor([[9.0, 9.0, 4.0], [9.0, 9.0, 4.0]])  # noqa: E731
    assert ActorCriticLoss(gamma=0.5).with_target(batch, network).target.tolist() == [3.0, 1.0]


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_says_its_kind_and_its_constants_can_be_written_down(name: str) -> None:
    loss = LOSSES.load(name)()
    assert loss.kind == ("dqn" if name in ("residual_dqn", "critic", "residual_critic") else name)
    assert json.loads(json.dumps(vars(loss), allow_nan=False)) == vars(loss)
