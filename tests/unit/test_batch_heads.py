"""Samples of a batch: what is claimed is true, small batches are separated whole, and doubt claims nothing."""

from dataclasses import replace

import attack_cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rlleak.attacks.batch_heads import batch_heads
from rlleak.attacks.closed_form import closed_form
from rlleak.attacks.subset_sums import supports
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError
from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import PolicyNetwork
from rlleak.learners.reinforce import ReinforceLoss
from rlleak.learners.specification import NetworkSpec
from rlleak.metrics.batches import score_claims
from rlleak.sharing.update import SharedUpdate, capture

WIDE = attack_cases.SMALL.model_copy(update={"hidden": (96,)})
SETTINGS = AttackSettings(method="batch_heads", separation={"rounds": 20})


def shared(
    size: int, seed: int, learner: str = "dqn", spec: NetworkSpec = WIDE, dtype: torch.dtype = torch.float64
) -> tuple[PolicyNetwork, Batch, SharedUpdate, torch.Tensor]:
    """One update over `size` transitions, and the inputs of the first linear layer, (size, D)."""
    network, batch, _ = attack_cases.victims(size, learner, spec, dtype, seed)
    loss = DQNLoss() if learner == "dqn" else ReinforceLoss(entropy_weight=0.05)
    with torch.no_grad():
        truth = network.features(batch.observation)
    return network, batch, capture(network, loss, batch, size), truth


def scores(found, truth: torch.Tensor) -> dict[str, float]:
    scored = score_claims(found.claimed.numpy(), found.linear_input.numpy(), truth.numpy())
    return {name: float(value[0]) for name, value in scored.items()}


def noisy(update: SharedUpdate, share: float) -> SharedUpdate:
    generator = torch.Generator().manual_seed(5)
    return replace(
        update,
        gradients={
            name: value
            + share * value.square().mean().sqrt() * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for name, value in update.gradients.items()
        },
    )


@given(
    st.integers(0, 300),
    st.integers(1, 8),
    st.sampled_from(["dqn", "reinforce"]),
    st.sampled_from([(96,), (64, 64)]),
    st.sampled_from([1, 7]),
    st.sampled_from([torch.float32, torch.float64]),
)
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_everything_claimed_is_true(seed, size, learner, hidden, outputs, dtype) -> None:
    if learner == "reinforce":
        outputs = 7
    spec = WIDE.model_copy(update={"hidden": hidden, "outputs": outputs})
    _, _, update, truth = shared(size, seed, learner, spec, dtype)
    scored = scores(batch_heads(update, SETTINGS, seed=1), truth)
    assert scored["recall"] == scored["claimed"]


@given(st.integers(0, 300), st.integers(2, 4), st.sampled_from([1, 7]))
@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
def test_small_batches_are_recovered_whole_with_actions_values_and_vectors(seed, size, outputs) -> None:
    network, batch, update, truth = shared(size, seed, spec=WIDE.model_copy(update={"outputs": outputs}))
    found = batch_heads(update, SETTINGS, seed=1)
    with torch.no_grad():
        masks = network.hidden[0](truth) > 0
    columns = torch.cat([masks.int(), batch.action[:, None].int()], dim=1)
    if len(torch.unique(columns, dim=0)) < size:
        assert found.trust["rank"] < size
        return
    assert found.claimed.all()
    assert found.trust["assumption_failed"] == 0
    mine = torch.cdist(found.linear_input[0], truth).argmin(dim=1)
    assert sorted(mine.tolist()) == list(range(size))
    assert found.action[0].tolist() == batch.action[mine].tolist()
    with torch.no_grad():
        predicted = network(batch.observation).gather(1, batch.action[:, None])[:, 0]
    torch.testing.assert_close(found.predicted_q[0], predicted[mine])
    torch.testing.assert_close(found.target_q[0], batch.target[mine])
    enough = (truth[:, WIDE.image_features :] > 0).sum(dim=1)[mine] >= 4
    torch.testing.assert_close(found.vector[0][enough], batch.observation["vector"][mine][enough])
    known = found.vector[0].any(dim=1)
    torch.testing.assert_close(found.vector[0][known], batch.observation["vector"][mine][known])


def test_hubers_targets_are_read_with_hubers_slope_and_at_its_limit_not_at_all() -> None:
    network, batch, _, truth = shared(3, 3)
    with torch.no_grad():
        chosen = network(batch.observation).gather(1, batch.action[:, None])[:, 0]
    batch = replace(batch, target=chosen + torch.tensor([0.5, -3.0, -0.25], dtype=chosen.dtype))
    found = batch_heads(capture(network, DQNLoss(error="huber"), batch, 3), SETTINGS, seed=1)
    assert found.claimed.all()
    mine = torch.cdist(found.linear_input[0], truth).argmin(dim=1)
    torch.testing.assert_close(found.predicted_q[0], chosen[mine])
    torch.testing.assert_close(found.target_q[0], torch.where(mine == 1, 0, batch.target[mine]))
    assert found.trust["error_unseen"] == 1


def test_of_two_actions_a_policy_gradient_tells_neither_and_the_attack_knows() -> None:
    _, _, update, truth = shared(3, 3, "reinforce", WIDE.model_copy(update={"outputs": 2}))
    found = batch_heads(update, SETTINGS, seed=1)
    assert found.claimed.any()
    assert scores(found, truth)["precision"] == 1
    assert not found.action.any()
    assert not found.reward.any()
    assert found.trust["action_unseen"] == 1


@pytest.mark.parametrize("learner", ["dqn", "reinforce"])
def test_a_shortened_gradient_gives_samples_apart_and_no_target_or_reward(learner: str) -> None:
    network, batch, _ = attack_cases.victims(3, learner, WIDE, torch.float64, 3)
    loss = DQNLoss() if learner == "dqn" else ReinforceLoss(entropy_weight=0.0)
    update = capture(network, loss, batch, 3)
    gradients = {name: 0.01 * value for name, value in update.gradients.items()}
    short = replace(update, gradients=gradients, loss={**update.loss, "shortened": True})
    found = batch_heads(short, SETTINGS, seed=1)
    assert found.claimed.all()
    mine = torch.cdist(found.linear_input[0], network.features(batch.observation)).argmin(dim=1)
    assert found.action[0].tolist() == batch.action[mine].tolist()
    assert not (found.target_q if learner == "dqn" else found.reward).any()
    assert found.trust["error_unseen"] == 1
    assert batch_heads(update, SETTINGS, seed=1).trust["error_unseen"] == 0


@pytest.mark.parametrize("size", [2, 3, 4])
def test_policy_gradients_give_probabilities_actions_and_returns(size: int) -> None:
    network, batch, update, truth = shared(size, 3, "reinforce")
    found = batch_heads(update, SETTINGS, seed=1)
    assert found.claimed.all()
    mine = torch.cdist(found.linear_input[0], truth).argmin(dim=1)
    assert found.action[0].tolist() == batch.action[mine].tolist()
    torch.testing.assert_close(found.reward[0], batch.reward[mine])
    with torch.no_grad():
        torch.testing.assert_close(found.probabilities[0], network(batch.observation).softmax(dim=1)[mine])


def test_a_batch_of_one_gives_what_the_closed_form_gives() -> None:
    _, _, update, _ = shared(1, 4)
    mine = batch_heads(update, SETTINGS, seed=1)
    theirs = closed_form(update, AttackSettings(method="closed_form"), seed=1)
    for name in ("linear_input", "action", "predicted_q", "target_q", "vector"):
        torch.testing.assert_close(getattr(mine, name)[:, 0], getattr(theirs, name))


@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("size", [1, 3])
def test_a_noisy_update_claims_nothing_and_says_so(size: int, share: float) -> None:
    _, _, update, _ = shared(size, 2)
    found = batch_heads(noisy(update, share), SETTINGS, seed=1)
    assert not found.claimed.any()
    assert not found.linear_input.any()
    assert found.trust["assumption_failed"] == 1
    assert found.trust["residual_separation"] > 0.01


def test_a_mixture_of_two_samples_that_look_like_one_is_not_claimed() -> None:
    spec = NetworkSpec(vector_size=4, hidden=(64,), outputs=1)
    network, batch, _ = attack_cases.victims(3, "dqn", spec, torch.float64, 0)
    vectors = batch.observation["vector"].clone()
    vectors[1] = vectors[0] + 1e-4
    batch = replace(batch, observation={"vector": vectors}, target=batch.target + 5)
    with torch.no_grad():
        masks = network.hidden[0](vectors) > 0
    assert torch.equal(masks[0], masks[1])
    found = batch_heads(capture(network, DQNLoss(), batch, 3), SETTINGS, seed=1)
    assert found.trust["rank"] == 2
    assert not found.claimed.any()


def test_without_biases_nothing_is_claimed_and_another_activation_is_refused() -> None:
    _, _, update, _ = shared(2, 0, spec=WIDE.model_copy(update={"bias": False}))
    found = batch_heads(update, SETTINGS, seed=1)
    assert not found.claimed.any()
    assert found.trust["assumption_failed"] == 1
    _, _, update, _ = shared(2, 0, spec=WIDE.model_copy(update={"activation": "tanh"}))
    with pytest.raises(ConfigurationError, match="ReLU"):
        batch_heads(update, SETTINGS, seed=1)


@given(st.integers(0, 1000), st.integers(1, 9))
@hypothesis_settings(max_examples=25, deadline=None, derandomize=True)
def test_the_search_over_subset_sums_finds_every_mask(seed: int, rank: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(rank, 80, generator=generator) < 0.5
    weights = torch.randn(80, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr((masks * weights).T)[0]
    found, misfits = supports(basis, weights, 1e-8)
    heard = weights.abs() > 0.1
    assert {tuple(mask) for mask in masks[:, heard].tolist()} <= {tuple(mask) for mask in found[:, heard].tolist()}
    assert float(misfits.max()) < 1e-8


def test_claims_are_scored_one_to_one() -> None:
    truth = np.eye(4)[:3].repeat(2, axis=1)
    attempt = np.stack([truth[2], truth[2], truth[0] * 1.1])[None]
    scored = score_claims(np.array([[True, True, True]]), attempt, truth)
    assert scored["claimed"] == 1
    assert scored["recall"] == pytest.approx(1 / 3)
    assert scored["precision"] == pytest.approx(1 / 3)
    scored = score_claims(np.array([[True, False, False]]), attempt, truth)
    assert scored["precision"] == 1
    assert scored["claim_error"] == 0
    silent = score_claims(np.zeros((1, 3), dtype=bool), attempt, truth)
    assert silent["recall"] == 0
    assert np.isnan(silent["precision"])
