"""RGI: eqs. 8 and 9 are exact when fed the truth, and the whole attack finds what it promises."""

from dataclasses import replace

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rlleak.attacks import rules
from rlleak.attacks.rgi import rgi
from rlleak.learners.reinforce import ReinforceLoss
from rlleak.sharing.update import capture


@given(
    st.integers(3, 9),
    st.floats(-5, 5).filter(lambda value: abs(value) > 0.05),
    st.floats(0, 0.5),
    st.integers(0, 1000),
)
@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
def test_the_rules_recover_action_and_reward_of_either_sign(
    actions: int, reward: float, weight: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, actions, generator=generator, dtype=torch.float64).requires_grad_()
    action = torch.randint(actions, (1,), generator=generator)
    policy = logits.softmax(dim=1)
    entropy = -(policy * policy.log()).sum()
    loss = -(reward * policy[0, action].log().sum() + weight * entropy)
    (last_bias,) = torch.autograd.grad(loss, logits)
    found, value, unexplained = rules.reinforce_action_and_reward(last_bias, policy.detach(), weight)
    assert found.tolist() == action.tolist()
    assert float(value) == pytest.approx(reward, abs=1e-9)
    assert float(unexplained) < 1e-6


def test_a_wrong_policy_shows_in_what_the_rules_leave_unexplained() -> None:
    _, _, update = attack_cases.victims(4, "reinforce")
    wrong = torch.full((4, 7), 1 / 7)
    wrong[:, 0], wrong[:, 1] = wrong[:, 0] + 0.1, wrong[:, 1] - 0.1
    _, _, unexplained = rules.reinforce_action_and_reward(update.gradients["head.bias"], wrong, 0.05)
    assert (unexplained > 0.01).all()


def test_of_two_actions_a_policy_gradient_tells_neither_and_the_attack_knows() -> None:
    """Each action, with the return that makes up for it, shares the same update."""
    spec = attack_cases.SMALL.model_copy(update={"outputs": 2})
    network, batch, _ = attack_cases.victims(4, "reinforce", spec)
    with torch.no_grad():
        policy = network(batch.observation).softmax(dim=1)
    action = torch.tensor([0, 1, 0, 1])
    taken, other = (policy.gather(1, which[:, None])[:, 0] for which in (action, 1 - action))
    same = replace(batch, action=1 - action, reward=-batch.reward * other / taken)
    update, twin = (
        capture(network, ReinforceLoss(entropy_weight=0.05), own) for own in (replace(batch, action=action), same)
    )
    for name, gradient in update.gradients.items():
        torch.testing.assert_close(twin.gradients[name], gradient, rtol=1e-3, atol=1e-6)
    found = rgi(update, attack_cases.settings("rgi", iterations=5), seed=3)
    assert found.trust["action_unseen"].all()
    assert found.trust["assumption_failed"].all()


def test_the_whole_attack_finds_action_reward_policy_and_box() -> None:
    network, batch, update = attack_cases.victims(6, "reinforce")
    chosen = attack_cases.settings("rgi", iterations=400).with_stage("image", iterations=5)
    found = rgi(update, chosen, seed=3)
    with torch.no_grad():
        policy = network(batch.observation).softmax(dim=1)
    assert found.action.tolist() == batch.action.tolist()
    torch.testing.assert_close(found.reward, batch.reward, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.probabilities, policy, rtol=0, atol=1e-6)
    converged = found.trust["matching_loss_vector"] < 1e-9
    assert converged.sum() >= 4
    torch.testing.assert_close(found.vector[converged], batch.observation["vector"][converged], rtol=0, atol=1e-3)
    assert found.image.shape == batch.observation["image"].shape
    assert found.target_q is None
    assert (found.trust["unexplained_error"] < 1e-3).all()
    assert not found.trust["action_unseen"].any()
    assert not found.trust["assumption_failed"].any()
