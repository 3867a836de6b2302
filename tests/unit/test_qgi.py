"""QGI: its rules are exact when fed the truth, its stages find what they promise, and it sees shared updates only."""

import dataclasses
import inspect

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rlleak.attacks import ATTACKS, rules
from rlleak.attacks.checkpoints import Checkpoint
from rlleak.attacks.qgi import q_values, qgi, qgi_joint
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.attacks.running import Chunk
from rlleak.errors import CorruptArtefactError
from rlleak.learners.dqn import DQNLoss
from rlleak.sharing.update import SharedUpdate, capture


@given(st.integers(0, 200))
@hypothesis_settings(max_examples=15, deadline=None, derandomize=True)
def test_the_rules_recover_action_and_q_values_from_true_features(seed: int) -> None:
    network, batch, update = attack_cases.victims(4, dtype=torch.float64, seed=seed)
    assert rules.dqn_action(update.gradients["head.bias"]).tolist() == batch.action.tolist()
    chunk = Chunk(update, attack_cases.settings("qgi"), 0, "all", Checkpoint(None, ""), lambda *said: None)
    with torch.no_grad():
        split = update.architecture.image_features
        features = network.features(batch.observation)[:, :split]
        predicted = network(batch.observation).gather(1, batch.action[:, None])[:, 0]
        inputs = {"features": features, "vector": batch.observation["vector"]}
        values = q_values(chunk, "features", inputs, batch.action)
    torch.testing.assert_close(values["predicted_q"], predicted)
    torch.testing.assert_close(values["target_q"], batch.target)


@pytest.mark.parametrize("above", [True, False])
def test_the_error_may_have_either_sign(above: bool) -> None:
    predicted, action = torch.tensor([1.0]), torch.tensor([2])
    last_bias = torch.tensor([[0.0, 0.0, 0.6 if above else -0.6]])
    target = rules.target_value(predicted, action, last_bias, torch.tensor([0.3]))
    assert float(target) == pytest.approx(0.7 if above else 1.3)


def test_the_whole_attack_finds_action_box_and_q_values_and_nears_the_image() -> None:
    network, batch, update = attack_cases.victims(6)
    chosen = attack_cases.settings("qgi", iterations=400, tv_weight=0.0).with_stage("image", iterations=300)
    found = qgi(update, chosen, seed=3)
    with torch.no_grad():
        predicted = network(batch.observation).gather(1, batch.action[:, None])[:, 0]
    assert found.action.tolist() == batch.action.tolist()
    converged = found.trust["matching_loss_vector"] < 1e-9
    assert converged.sum() >= 4
    for mine, truth in (
        (found.vector, batch.observation["vector"]),
        (found.predicted_q, predicted),
        (found.target_q, batch.target),
    ):
        torch.testing.assert_close(mine[converged], truth[converged], rtol=0, atol=1e-3)
    started = qgi(update, chosen.with_stage("image", iterations=1), seed=3)
    assert (found.trust["matching_loss_image"] < 0.1 * started.trust["matching_loss_image"]).all()
    before, after = ((each.image - batch.observation["image"]).square().mean() for each in (started, found))
    assert float(after) < 0.5 * float(before)
    assert found.image.min() >= 0
    assert found.image.max() <= 1
    assert found.metadata["seconds_per_victim"] > 0
    assert found.metadata["peak_memory_mb"] > 0


def test_two_stages_find_the_box_better_than_one_does() -> None:
    _, batch, update = attack_cases.victims(6)
    error = {}
    for attack in (qgi, qgi_joint):
        found = attack(update, attack_cases.settings(attack.__name__, iterations=100), seed=3)
        error[attack.__name__] = float((found.vector - batch.observation["vector"]).abs().median())
        assert found.image.shape == batch.observation["image"].shape
    assert error["qgi"] < 0.5 * error["qgi_joint"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_start() -> None:
    _, _, update = attack_cases.victims(2)
    chosen = attack_cases.settings("qgi", iterations=5)
    first, again, other = (qgi(update, chosen, seed=seed).image for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("method", list(ATTACKS))
def test_an_attack_is_handed_the_shared_update_and_nothing_of_the_victim(method: str) -> None:
    parameters = inspect.signature(ATTACKS.load(method)).parameters
    assert parameters["update"].annotation is SharedUpdate
    known = {"update", "settings", "seed", "device", "memory_limit", "checkpoint", "progress", "knowledge"}
    assert set(parameters) == known


def test_an_update_that_holds_nan_is_refused_before_work_starts() -> None:
    _, _, update = attack_cases.victims(2)
    update.gradients["hidden.0.weight"][1, 0, 0] = float("nan")
    with pytest.raises(CorruptArtefactError, match="holds NaN or Inf"):
        qgi(update, attack_cases.settings("qgi"), seed=3)


def test_a_reconstruction_is_read_as_it_was_written(tmp_path) -> None:
    _, _, update = attack_cases.victims(2)
    found = qgi(update, attack_cases.settings("qgi", iterations=3), seed=3)
    found.save(tmp_path / "found.safetensors")
    read = Reconstruction.load(tmp_path / "found.safetensors")
    assert set(read.components) == set(found.components)
    assert torch.equal(read.image, found.image)
    assert torch.equal(read.trust["matching_loss_image"], found.trust["matching_loss_image"])
    assert read.metadata["settings"] == found.metadata["settings"]
    update.save(tmp_path / "shared.safetensors")
    with pytest.raises(CorruptArtefactError, match="holds no reconstruction"):
        Reconstruction.load(tmp_path / "shared.safetensors")


def test_hubers_error_gives_its_target_with_hubers_slope_and_at_its_limit_the_attacks_say_so() -> None:
    network, batch, _ = attack_cases.victims(6)
    with torch.no_grad():
        predicted = network(batch.observation).gather(1, batch.action[:, None])[:, 0]
    # The first errors stand inside Huber's limit of 1, the others beyond.
    target = predicted + torch.tensor([0.3, -0.4, 0.5, 0.6, 3.0, -3.0])
    update = capture(network, DQNLoss(error="huber"), dataclasses.replace(batch, target=target))
    for method, iterations in (("qgi", 400), ("dlg_ruled_action", 600)):
        chosen = attack_cases.settings(method, iterations)
        chosen = chosen.with_stage("image", iterations=1) if method == "qgi" else chosen
        found = ATTACKS.load(method)(update, chosen, seed=3)
        converged = found.trust["matching_loss_vector"][:4] < 1e-8
        assert converged.any()
        torch.testing.assert_close(found.target_q[:4][converged], target[:4][converged], rtol=0, atol=1e-2)
        assert found.trust["error_unseen"].tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("method", ["qgi", "qgi_joint", "inverting_gradients", "rgi"])
def test_of_a_shortened_gradient_the_attacks_say_that_its_values_are_not_the_victims(method: str) -> None:
    _, _, update = attack_cases.victims(2, "reinforce" if method == "rgi" else "dqn")
    chosen = attack_cases.settings(method, iterations=2)
    short = dataclasses.replace(update, loss={**update.loss, "shortened": True})
    assert ATTACKS.load(method)(short, chosen, seed=3).trust["error_unseen"].all()
    assert "error_unseen" not in ATTACKS.load(method)(update, chosen, seed=3).trust
