"""Peel: convolutions undone layer by layer, the image found behind them, and what the attack says about itself."""

import dataclasses

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rlleak.attacks import checkpoints
from rlleak.attacks.best import best, cleaned
from rlleak.attacks.linear_algebra import solve_linear_part
from rlleak.attacks.masks import cut
from rlleak.attacks.peel import peel
from rlleak.attacks.peeling import Peeling, noise_deviation
from rlleak.attacks.qgi import qgi
from rlleak.configuration.attacks import AttackSettings, BestSettings, PeelSettings, StageSettings
from rlleak.errors import ConfigurationError
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.sharing.update import capture

THREE = NetworkSpec(
    image_shape=(1, 30, 30),
    vector_size=4,
    convolutions=(
        Convolution(channels=16, kernel=6, stride=2),
        Convolution(channels=16, kernel=4, stride=2),
        Convolution(channels=24, kernel=3, stride=1),
    ),
    vector_width=12,
    hidden=(48,),
    outputs=7,
)


def settings(**changes: object) -> AttackSettings:
    changes = {"activation_iterations": 300, **changes}
    return AttackSettings(method="peel", peel=PeelSettings(**changes))


def quiet(stage: str, total: int):
    return lambda iteration, residual: None


def psnr(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return -10 * (found - truth).double().square().flatten(1).mean(dim=1).log10()


@given(st.integers(0, 500), st.integers(0, 40))
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_a_mask_is_cut_exactly_where_small_errors_hide_it(seed: int, closeness: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(2, 5, 9, 9, generator=generator, dtype=torch.float64)
    before[:, :, :2] *= 10.0 ** (-closeness / 10)
    delta = torch.randn(2, 5, 9, 9, generator=generator, dtype=torch.float64)
    bias = (delta * (before > 0)).sum(dim=(2, 3))
    known = before.clamp(min=0)
    smallest = torch.where(known > 0, known, torch.inf).min()
    known = known + 0.3 * smallest * torch.randn(known.shape, generator=generator, dtype=torch.float64).clamp(-1, 1)
    found = cut(known, delta, bias, torch.full((2,), 0.1, dtype=torch.float64))
    assert torch.equal(found.active, before > 0)
    assert float(found.misfit.max()) < 1e-12


def test_a_mask_that_no_cut_explains_is_noticed() -> None:
    before = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    delta = torch.ones_like(before) + before.square()
    bias = (delta * (before > 0)).sum(dim=(2, 3)) + torch.tensor([[0.0, 0.4, 0.0]])
    found = cut(before.clamp(min=0), delta, bias, torch.full((1,), 1e-3, dtype=torch.float64))
    assert float(found.misfit.max()) > 1e-3


def test_among_many_entries_a_mask_that_seems_confirmed_is_right() -> None:
    generator = torch.Generator().manual_seed(2)
    before, delta = torch.randn(2, 1, 64, 36, 36, generator=generator, dtype=torch.float64)
    bias = (delta * (before > 0)).sum(dim=(2, 3))
    seen = before + 0.02 * torch.randn(before.shape, generator=generator, dtype=torch.float64)
    found = cut(seen, delta, bias, torch.full((1,), 0.1, dtype=torch.float64))
    wrong = (found.active != (before > 0)).flatten(2).any(dim=2)
    assert wrong.any()
    assert float(found.off[wrong].min()) > 1e-6


@pytest.mark.parametrize("learner", ["dqn", "reinforce"])
def test_inputs_of_convolutions_are_found_to_rounding_and_their_masks_exactly(learner: str) -> None:
    network, batch, update = attack_cases.victims(3, learner, THREE)
    part = solve_linear_part(update)
    peeling = Peeling(update, part, PeelSettings(), part.certificate())
    peeled = peeling.run(quiet, lambda name, work: work())
    with torch.no_grad():
        first = torch.relu(network.convolutions[0](batch.observation["image"]))
        second = torch.relu(network.convolutions[1](first))
    torch.testing.assert_close(peeled.second.activation.float(), second, rtol=1e-4, atol=1e-5)
    assert torch.equal(peeled.second.active, second > 0)
    assert float(peeled.misfit.max()) < 1e-6


def test_the_image_is_found_where_the_equations_suffice() -> None:
    first = Convolution(channels=16, kernel=4, stride=2)
    spec = THREE.model_copy(update={"image_shape": (1, 26, 26), "convolutions": (first, *THREE.convolutions[1:])})
    _, batch, update = attack_cases.victims(3, spec=spec)
    found = peel(update, settings(), seed=0)
    assert float(psnr(found.image, batch.observation["image"]).min()) > 50
    assert (found.trust["mask_misfit"] < 1e-6).all()
    torch.testing.assert_close(found.vector, batch.observation["vector"])
    assert found.action.tolist() == batch.action.tolist()
    assert not found.trust["assumption_failed"].any()


def test_with_more_equations_behind_than_pixels_the_image_needs_no_prior() -> None:
    first = Convolution(channels=16, kernel=4, stride=2)
    few, many = (
        THREE.model_copy(update={"image_shape": (channels, 26, 26), "convolutions": (first, *THREE.convolutions[1:])})
        for channels in (4, 1)
    )
    stages: list[str] = []
    for spec, expected, decibels in ((few, "refining", 25), (many, "polishing", 60)):
        _, batch, update = attack_cases.victims(2, spec=spec)
        stages.clear()
        found = peel(update, settings(), seed=0, progress=lambda stage, *said: stages.append(stage.split()[0]))
        assert expected in stages
        assert float(psnr(found.image, batch.observation["image"]).min()) > decibels


def test_the_certificate_has_a_line_for_each_convolution_behind_the_first() -> None:
    _, _, update = attack_cases.victims(2, spec=THREE)
    trust = peel(update, settings(iterations=2), seed=0).trust
    channels, height, width = THREE.feature_shapes[1]
    assert trust["unknowns_convolutions.2"].tolist() == [channels * height * width] * 2
    assert (trust["rank_convolutions.2"] <= trust["unknowns_convolutions.2"]).all()
    assert (trust["equations_convolutions.2"] >= trust["rank_convolutions.2"]).all()
    assert (trust["residual_convolutions.2"] < 1e-4).all()
    assert trust["condition_convolutions.2"].isfinite().all()


def test_another_activation_than_relu_is_refused_with_what_to_do() -> None:
    _, _, update = attack_cases.victims(1, spec=THREE.model_copy(update={"activation": "tanh"}))
    with pytest.raises(ConfigurationError, match="closed_form"):
        peel(update, settings(), seed=0)


def test_a_victim_that_shared_nothing_gets_a_finite_guess_and_disturbs_no_other() -> None:
    _, _, update = attack_cases.victims(2, spec=THREE)
    few = settings(iterations=60, activation_iterations=60)
    alone = peel(update.select(slice(0, 1)), few, seed=0)
    gradients = {name: value.clone() for name, value in update.gradients.items()}
    for value in gradients.values():
        value[1] = 0
    found = peel(dataclasses.replace(update, gradients=gradients), few, seed=0)
    assert found.image.isfinite().all()
    assert found.trust["assumption_failed"].tolist() == [0, 1]
    assert float((found.image[0] - alone.image[0]).abs().max()) < 0.02


def test_an_input_that_was_not_found_is_said_though_every_mask_was_cut() -> None:
    _, batch, update = attack_cases.victims(2, spec=THREE)
    found = peel(update, settings(iterations=20, activation_iterations=1, polish_rounds=0), seed=0)
    assert float(psnr(found.image, batch.observation["image"]).max()) < 30
    assert found.trust["unfulfilled"].all()
    assert found.trust["assumption_failed"].all()


def test_a_gradient_that_float32_cannot_square_gives_no_image_that_claims_to_be_one() -> None:
    _, _, update = attack_cases.victims(2, spec=THREE)
    long = dataclasses.replace(update, gradients={name: 1e22 * value for name, value in update.gradients.items()})
    found = peel(long, settings(iterations=20, activation_iterations=20), seed=0)
    assert not found.image.isfinite().all()
    assert found.trust["assumption_failed"].all()
    with pytest.raises(ConfigurationError, match="too long to be squared"):
        qgi(long, attack_cases.settings("qgi", 3), seed=0)


def test_interrupted_work_goes_on_where_it_was(tmp_path, monkeypatch) -> None:
    _, _, update = attack_cases.victims(2, spec=THREE)
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    kept, stages = tmp_path / "kept.safetensors", []

    def until_polishing(stage: str, *said: object) -> None:
        stages.append(stage.split()[0])
        if stages[-1] == "polishing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        peel(update, settings(iterations=20), seed=0, checkpoint=kept, progress=until_polishing)
    assert list(dict.fromkeys(stages)) == ["convolutions.2", "image", "polishing"]
    stages.clear()
    resumed = peel(
        update,
        settings(iterations=20),
        seed=0,
        checkpoint=kept,
        progress=lambda stage, *said: stages.append(stage.split()[0]),
    )
    assert set(stages) == {"polishing"}
    whole = peel(update, settings(iterations=20), seed=0)
    assert torch.equal(whole.image, resumed.image)
    assert set(whole.trust) == set(resumed.trust)
    assert all(torch.equal(value, resumed.trust[name]) for name, value in whole.trust.items())


def test_quiet_and_noisy_victims_may_meet_in_one_update() -> None:
    _, _, update = attack_cases.victims(2, spec=THREE)
    loud = noisy(update, 1e-3)
    gradients = {name: torch.stack([value[0], loud.gradients[name][1]]) for name, value in update.gradients.items()}
    found = peel(dataclasses.replace(update, gradients=gradients), settings(iterations=30), seed=0)
    assert found.trust["noise"].tolist() == [0, 1]
    assert found.trust["unknowns_convolutions.0"].tolist() == [900, 0]
    alone = peel(update.select(slice(0, 1)), settings(iterations=30), seed=0)
    torch.testing.assert_close(found.image[:1], alone.image, atol=0.02, rtol=0)


def noisy(update, noise: float):
    generator = torch.Generator().manual_seed(5)
    gradients = {
        name: value + noise * value.square().mean().sqrt() * torch.randn(value.shape, generator=generator)
        for name, value in update.gradients.items()
    }
    return dataclasses.replace(update, gradients=gradients)


def best_settings(steps: int, **changes: object) -> AttackSettings:
    stage = StageSettings(step_size=0.3, iterations=steps)
    return settings(**changes).model_copy(update={"method": "best", "image": stage, "restarts": 2})


def test_best_is_peeling_where_the_certificate_holds() -> None:
    _, _, update = attack_cases.victims(2, spec=THREE)
    few = {"iterations": 60, "activation_iterations": 30}
    found = best(update, best_settings(5, **few), seed=0)
    assert not found.trust["matched"].any()
    assert torch.equal(found.image, peel(update, settings(**few), seed=0).image)


def test_under_noise_peeling_loses_little_by_little() -> None:
    _, batch, update = attack_cases.victims(3, spec=THREE)
    reached = []
    for noise in (1e-3, 1e-2, 1e-1):
        shared = noisy(update, noise)
        found = peel(shared, settings(), seed=0)
        assert found.trust["noise"].all()
        reached.append(float(psnr(found.image, batch.observation["image"]).mean()))
    assert reached == sorted(reached, reverse=True)
    assert reached[0] > 17
    assert reached[0] > reached[-1] + 2


def test_under_noise_best_matches_where_the_second_convolution_says_more_than_an_image_has_numbers() -> None:
    _, _, update = attack_cases.victims(2)
    patient = best_settings(30).model_copy(update={"best": BestSettings(stuck=1e9)})
    matched = best(noisy(update, 5e-3), patient, seed=0)
    assert matched.trust["matched"].all()
    assert (matched.trust["matching_loss_image"] > 0).all()
    wide = THREE.model_copy(update={"image_shape": (4, 40, 40)})
    assert not best(noisy(attack_cases.victims(2, spec=wide)[2], 1e-2), best_settings(1), seed=0).trust["matched"].any()


def test_where_matching_leaves_more_than_noise_explains_best_takes_the_peeled_image_and_beats_a_guess() -> None:
    _, batch, update = attack_cases.victims(3)
    shared = noisy(update, 5e-3)
    found = best(shared, best_settings(30), seed=0)
    assert not found.trust["matched"].any()
    assert torch.equal(found.image, peel(shared, settings(), seed=0).image)
    truth = batch.observation["image"]
    gained = psnr(found.image, truth) - psnr(torch.full_like(truth, 0.5), truth)
    assert (gained > 0).all()
    assert gained.mean() > 2


def test_where_masks_disagree_best_matches_from_the_peeled_image_and_never_ends_above_either_start() -> None:
    _, _, update = attack_cases.victims(3, spec=THREE)
    gradients = {**update.gradients, "convolutions.2.bias": 1.5 * update.gradients["convolutions.2.bias"]}
    update = dataclasses.replace(update, gradients=gradients)
    started, ended = (best(update, best_settings(steps), seed=0) for steps in (1, 60))
    assert ended.trust["masks_disagree"].all()
    assert ended.trust["matched"].all()
    # After a single evaluation the candidates are the starts themselves.
    assert (ended.trust["matching_loss_image"] <= started.trust["matching_loss_image"]).all()
    assert float(ended.trust["matching_loss_image"].mean()) < 0.9 * float(started.trust["matching_loss_image"].mean())
    assert ended.image.isfinite().all()


def test_projecting_linear_gradients_on_rank_one_takes_most_of_their_noise_away() -> None:
    _, _, clean = attack_cases.victims(3, spec=THREE)
    shared = noisy(clean, 1e-2)
    projected = cleaned(shared, solve_linear_part(shared), torch.arange(3), BestSettings().loud)
    before, after = (
        (update.gradients["hidden.0.weight"] - clean.gradients["hidden.0.weight"]).norm()
        for update in (shared, projected)
    )
    assert float(after) < 0.4 * float(before)


@pytest.mark.parametrize("brightest", [1.0, 100.0])
def test_noise_is_measured_as_it_is_however_large_the_features_are(brightest: float) -> None:
    network, batch, _ = attack_cases.victims(3, spec=THREE)
    observation = {**batch.observation, "image": brightest * batch.observation["image"]}
    update = capture(network, DQNLoss(), dataclasses.replace(batch, observation=observation))
    generator = torch.Generator().manual_seed(0)
    deviation = 0.02 * update.gradients["hidden.0.weight"].square().mean(dim=(1, 2)).sqrt()
    gradients = {
        name: value + deviation.view(-1, *[1] * (value.dim() - 1)) * torch.randn(value.shape, generator=generator)
        for name, value in update.gradients.items()
    }
    drowned = dataclasses.replace(update, gradients=gradients)
    found = noise_deviation(drowned, solve_linear_part(drowned))
    torch.testing.assert_close(found, deviation.double(), rtol=0.05, atol=0)


def test_an_update_without_biases_is_matched_without() -> None:
    _, _, update = attack_cases.victims(2, spec=THREE.model_copy(update={"bias": False}))
    projected = cleaned(noisy(update, 0.3), solve_linear_part(noisy(update, 0.3)), torch.arange(2), 0.9)
    assert set(projected.gradients) == set(update.gradients)


def test_where_masks_cannot_be_cut_the_last_convolution_speaks_through_all_layers() -> None:
    thrice = (Convolution(channels=32, kernel=3, stride=2, padding=1),) * 3
    spec = THREE.model_copy(update={"image_shape": (1, 64, 64), "convolutions": thrice, "hidden": (128,)})
    _, batch, update = attack_cases.victims(2, spec=spec)
    found = peel(update, settings(), seed=0)
    assert found.trust["masks_disagree"].all()
    assert (found.trust["rank_convolutions.2"] <= found.trust["unknowns_convolutions.2"]).all()
    assert float(psnr(found.image, batch.observation["image"]).min()) > 25
