"""Closed forms: they invert every linear layer of one transition, and say so where they cannot."""

import dataclasses

import attack_cases
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import rlleak
from rlleak.attacks.closed_form import closed_form
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.learners.networks import build_network
from rlleak.learners.reinforce import ReinforceLoss
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.sharing.update import SharedUpdate, capture

ACTIVATIONS = ("relu", "tanh", "elu", "leaky_relu", "silu", "gelu", "sigmoid")
SETTINGS = AttackSettings(method="closed_form")


def attacked(update: SharedUpdate) -> Reconstruction:
    return closed_form(update, SETTINGS, seed=0)


def corrupted(update: SharedUpdate, noise: float) -> SharedUpdate:
    """The update with Gaussian noise of this size relative to each layer's entries."""
    generator = torch.Generator().manual_seed(3)
    gradients = {
        name: value + noise * value.square().mean().sqrt() * torch.randn(value.shape, generator=generator)
        for name, value in update.gradients.items()
    }
    return dataclasses.replace(update, gradients=gradients)


@st.composite
def networks(draw: st.DrawFn) -> NetworkSpec:
    image = draw(st.booleans())
    return NetworkSpec(
        image_shape=(2, 11, 9) if image else None,
        convolutions=(Convolution(channels=5, kernel=3, stride=2, padding=draw(st.integers(0, 1))),) if image else (),
        vector_size=draw(st.integers(1, 6)),
        vector_width=draw(st.sampled_from((0, 24))),
        hidden=tuple(draw(st.lists(st.integers(12, 40), min_size=1, max_size=3))),
        outputs=draw(st.integers(3, 9)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )


@given(networks(), st.sampled_from((torch.float32, torch.float64)), st.integers(0, 999))
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_q_learning_inverts_for_any_network_of_linear_layers(spec, dtype, seed: int) -> None:
    network, batch, update = attack_cases.victims(3, spec=spec, dtype=dtype, seed=seed)
    found = attacked(update)
    assume(not found.trust["dead_layer"].any())
    with torch.no_grad():
        predicted = network(batch.observation).gather(1, batch.action[:, None])[:, 0]
        features = network.features(batch.observation)
    assert found.action.tolist() == batch.action.tolist()
    for mine, truth in (
        (found.vector, batch.observation["vector"]),
        (found.predicted_q, predicted),
        (found.target_q, batch.target),
        (found.linear_input, features),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine, truth, rtol=1e-5, atol=2e-6 if dtype == torch.float32 else 1e-12)
    assert not found.trust["assumption_failed"].any()


@given(
    networks(),
    st.floats(0, 0.3),
    st.lists(st.floats(0.05, 3) | st.floats(-3, -0.05), min_size=3, max_size=3),
    st.integers(0, 999),
)
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_reinforce_with_entropy_inverts_for_returns_of_either_sign(spec, entropy, returns, seed: int) -> None:
    network, batch, _ = attack_cases.victims(3, "reinforce", spec, seed=seed)
    batch = dataclasses.replace(batch, reward=torch.tensor(returns))
    found = attacked(capture(network, ReinforceLoss(entropy_weight=entropy), batch))
    assume(not found.trust["dead_layer"].any())
    assert found.action.tolist() == batch.action.tolist()
    torch.testing.assert_close(found.reward, batch.reward, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.vector, batch.observation["vector"], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(found.probabilities, network(batch.observation).softmax(dim=1))
    assert not found.trust["assumption_failed"].any()


@given(networks(), st.sampled_from(("dqn", "reinforce")), st.sampled_from((1e-4, 1e-2)), st.integers(0, 99))
@hypothesis_settings(max_examples=20, deadline=None, derandomize=True)
def test_a_noisy_update_is_flagged_and_still_estimated(spec, learner: str, noise: float, seed: int) -> None:
    _, batch, update = attack_cases.victims(3, learner, spec, seed=seed)
    found = attacked(corrupted(update, noise))
    assume(not found.trust["dead_layer"].any())
    assert found.trust["assumption_failed"].all()
    assert not found.trust["several_samples"].any()
    assert all(value.isfinite().all() for value in found.components.values())
    assert float((found.vector - batch.observation["vector"]).abs().median()) < 100 * noise


@given(networks(), st.sampled_from(("dqn", "reinforce")), st.integers(0, 99))
@hypothesis_settings(max_examples=20, deadline=None, derandomize=True)
def test_an_update_over_two_transitions_that_claims_one_is_flagged(spec, learner: str, seed: int) -> None:
    network, batch, clean = attack_cases.victims(4, learner, spec, seed=seed)
    assume(not attacked(clean).trust["dead_layer"].any())
    loss = attack_cases.DQNLoss() if learner == "dqn" else ReinforceLoss(entropy_weight=0.05)
    update = dataclasses.replace(capture(network, loss, batch, batch_size=2), batch_size=1)
    found = attacked(update)
    assert found.trust["assumption_failed"].all()
    unclaimed = found.trust["several_samples"].bool()
    assert not found.vector[unclaimed].any()


def test_two_samples_are_told_apart_from_noise_and_nothing_of_them_is_claimed() -> None:
    network, batch, clean = attack_cases.victims(8)
    mixed = dataclasses.replace(capture(network, attack_cases.DQNLoss(), batch, batch_size=2), batch_size=1)
    found = attacked(mixed)
    assert found.trust["several_samples"].float().mean() > 0.7
    assert not found.linear_input[found.trust["several_samples"].bool()].any()
    for noise in (1e-3, 0.1, 1.0):
        assert not attacked(corrupted(clean, noise)).trust["several_samples"].any()


@pytest.mark.parametrize("tampered", ["hidden.0.weight", "head.weight", "vector.weight", "hidden.0.bias"])
def test_a_single_changed_entry_is_noticed(tampered: str) -> None:
    _, _, update = attack_cases.victims(2)
    value = update.gradients[tampered]
    value[0].view(-1)[value[0].abs().argmax()] *= 1.01
    assert attacked(update).trust["assumption_failed"].tolist() == [1, 0]


def test_without_biases_the_inputs_are_known_up_to_a_factor_and_no_value_is_claimed() -> None:
    spec = attack_cases.SMALL.model_copy(update={"bias": False})
    network, batch, update = attack_cases.victims(3, spec=spec)
    found = attacked(update)
    assert found.trust["no_bias"].all()
    assert found.trust["assumption_failed"].all()
    assert found.vector is None
    assert found.predicted_q is None
    assert found.action.tolist() == batch.action.tolist()
    with torch.no_grad():
        features = torch.nn.functional.normalize(network.features(batch.observation), dim=1)
    torch.testing.assert_close(found.linear_input, features, rtol=1e-5, atol=1e-6)


def test_a_dead_hidden_layer_costs_what_lies_behind_it_and_nothing_else() -> None:
    network = build_network(attack_cases.SMALL, 0)
    with torch.no_grad():
        network.hidden[0].bias.fill_(-100.0)
    _, batch, _ = attack_cases.victims(2)
    found = attacked(capture(network, attack_cases.DQNLoss(), batch))
    assert found.trust["dead_layer"].all()
    assert found.trust["rank_hidden.0"].tolist() == [0, 0]
    assert found.trust["condition_hidden.0"].isinf().all()
    assert found.action.tolist() == batch.action.tolist()
    torch.testing.assert_close(found.target_q, batch.target)
    assert not found.vector.any()
    assert not found.linear_input.any()


def test_an_update_of_zeros_claims_nothing() -> None:
    _, _, update = attack_cases.victims(2)
    nothing = {name: torch.zeros_like(value) for name, value in update.gradients.items()}
    found = attacked(dataclasses.replace(update, gradients=nothing))
    assert found.trust["assumption_failed"].all()
    assert found.trust["zero_update"].all()
    for name in ("vector", "predicted_q", "target_q", "linear_input"):
        assert not getattr(found, name).any()


def test_a_return_of_zero_hides_the_action_and_the_attack_knows() -> None:
    network, batch, _ = attack_cases.victims(3, "reinforce")
    batch = dataclasses.replace(batch, reward=torch.tensor([0.0, 1.0, 0.0]))
    found = attacked(capture(network, ReinforceLoss(entropy_weight=0.05), batch))
    assert found.trust["action_unseen"].tolist() == [1, 0, 1]
    torch.testing.assert_close(found.reward, batch.reward, rtol=1e-4, atol=1e-5)


def test_of_two_actions_a_policy_gradient_tells_neither_and_the_attack_knows() -> None:
    spec = attack_cases.SMALL.model_copy(update={"outputs": 2})
    network, batch, _ = attack_cases.victims(4, "reinforce", spec)
    batch = dataclasses.replace(batch, action=torch.tensor([0, 0, 1, 1]), reward=torch.tensor([1.0, -2.0, 1.0, -2.0]))
    found = attacked(capture(network, ReinforceLoss(entropy_weight=0.05), batch))
    assert found.trust["action_unseen"].all()
    assert found.trust["assumption_failed"].all()
    assert not found.trust["noise"].any()
    assert not found.action.any()
    assert not found.reward.any()
    torch.testing.assert_close(found.vector, batch.observation["vector"], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(found.probabilities, network(batch.observation).softmax(dim=1))


def test_the_certificate_counts_the_equations_of_each_layer() -> None:
    network, batch, update = attack_cases.victims(1)
    trust = attacked(update).trust
    width = update.architecture.linear_inputs
    with torch.no_grad():
        active = int((network.hidden[0](network.features(batch.observation)) > 0).sum())
    assert trust["unknowns_hidden.0"].tolist() == [width]
    assert trust["equations_hidden.0"].tolist() == [width * active]
    assert trust["rank_hidden.0"].tolist() == [width]


def test_a_network_without_hidden_layers_or_image_is_inverted_too() -> None:
    spec = NetworkSpec(vector_size=5, hidden=(), outputs=4)
    _, batch, update = attack_cases.victims(3, "reinforce", spec)
    torch.testing.assert_close(attacked(update).vector, batch.observation["vector"])


def test_what_eight_bits_leave_of_one_sample_is_no_second_one() -> None:
    for seed in range(12):  # of two of them rounding leaves a second direction
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Linear(60, 48), torch.nn.ReLU(), torch.nn.Linear(48, 5))
        with torch.no_grad():
            network[2].weight.mul_(torch.logspace(0, -2, 48))
        seen = torch.rand(2, 60) * torch.logspace(0, -2, 60)
        batch = {"observation": seen, "action": [1, 2], "target": [0.7, -0.9]}
        both = dataclasses.replace(rlleak.share(network, "dqn", batch, defence="int8"), batch_size=1)
        first = rlleak.share(network, "dqn", {name: value[:1] for name, value in batch.items()}, defence="int8")
        found = rlleak.attack("closed_form", first)
        assert not found.trust["several_samples"].any()
        assert found.trust["noise"].all()
        assert (found.vector - seen[:1]).norm() < 0.02 * seen[:1].norm()
        assert rlleak.attack("closed_form", both).trust["several_samples"].all()
