"""Where equations are few, or noise drowns them, an image is a guess completed by them, and no worse than the guess."""

import dataclasses

import attack_cases
import pytest
import torch
from test_peel import best_settings, noisy, psnr

from rlleak.attacks.best import best
from rlleak.configuration.attacks import LikeliestSettings, PeelSettings
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.priors.gaussian import GaussianField
from rlleak.sharing.update import capture

FEW = NetworkSpec(
    image_shape=(2, 64, 64),
    vector_size=4,
    convolutions=(
        Convolution(channels=4, kernel=6, stride=2),
        Convolution(channels=8, kernel=4, stride=2),
        Convolution(channels=8, kernel=3, stride=1),
    ),
    vector_width=12,
    hidden=(48,),
    outputs=7,
)
"""The last convolution says 0.1 numbers per number of the image, and its own input has more than it says."""


def alike(images: torch.Tensor) -> torch.Tensor:
    """Images that differ as little as views of rooms do."""
    return 0.5 + 0.3 * (images - 0.5)


def public(spec: NetworkSpec) -> dict[str, torch.Tensor]:
    """What an attacker remembers: of images like the victims', which are others."""
    _, batch, _ = attack_cases.victims(12, spec=spec, seed=50)
    return {"image": alike(batch.observation["image"]), "vector": batch.observation["vector"], "action": batch.action}


def test_a_field_is_as_wide_as_the_images_that_it_is_of_and_its_root_is_symmetric() -> None:
    images = public(FEW)["image"]
    field = GaussianField.of(images)
    generator = torch.Generator().manual_seed(0)
    drawn = field.apart(torch.randn(200, *images.shape[1:], generator=generator))
    assert drawn.square().mean(dim=(0, 2, 3)) == pytest.approx(images.var(dim=0).mean(dim=(1, 2)), rel=0.25)
    one, other = torch.randn(2, 1, *images.shape[1:], generator=generator)
    assert float((field.apart(one) * other).sum()) == pytest.approx(float((one * field.apart(other)).sum()), rel=1e-3)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_few_or_drowned_equations_are_not_matched_and_leave_a_guess_no_worse(noise: float) -> None:
    network, batch, _ = attack_cases.victims(3, spec=FEW)
    truth = alike(batch.observation["image"])
    update = capture(network, DQNLoss(), dataclasses.replace(batch, observation={**batch.observation, "image": truth}))
    knowledge = {"public": public(FEW)}
    shared = noisy(update, noise) if noise else update
    found = best(shared, best_settings(30, iterations=60), seed=0, knowledge=knowledge)
    assert found.trust["guess_completed"].all()
    assert not found.trust["matched"].any()
    guess = psnr(knowledge["public"]["image"].mean(dim=0).expand_as(truth), truth)
    assert (psnr(found.image, truth) > guess - 0.01).all()


def test_without_public_rooms_or_with_equations_enough_nothing_is_guessed() -> None:
    _, _, update = attack_cases.victims(2, spec=FEW)
    assert "guess_completed" not in best(update, best_settings(2), seed=0).trust
    enough = PeelSettings(iterations=5, activation_iterations=5, likeliest=LikeliestSettings(below=0.0))
    settings = best_settings(2).model_copy(update={"peel": enough})
    assert not best(update, settings, seed=0, knowledge={"public": public(FEW)}).trust["guess_completed"].any()


def test_a_victim_gets_the_same_image_alone_and_among_others() -> None:
    _, _, update = attack_cases.victims(3, spec=FEW)
    knowledge = {"public": public(FEW)}
    together = best(update, best_settings(2), seed=0, knowledge=knowledge)
    alone = best(update.select([1]), best_settings(2), seed=0, knowledge=knowledge)
    assert together.image[1:2] == pytest.approx(alone.image, abs=1e-2)
