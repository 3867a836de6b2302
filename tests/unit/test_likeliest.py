"""Where equations are few, or noise drowns them, an image is a guess completed by them: likelier than the guess, and,
where images are drawn from the field that the attack takes them to be of, nearer to the truth.
"""

import dataclasses
from collections.abc import Callable

import attack_cases
import pytest
import torch
from test_peel import best_settings, psnr, settings
from torch import Tensor

from rlleak.attacks.best import best
from rlleak.attacks.data_terms import Linearised
from rlleak.attacks.likeliest import likeliest
from rlleak.attacks.peel import peel
from rlleak.configuration.attacks import LikeliestSettings
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.priors.gaussian import GaussianField
from rlleak.sharing.update import SharedUpdate, capture

FEW = NetworkSpec(
    image_shape=(2, 48, 48),
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
"""The last convolution says 0.2 numbers per number of the image, and its own input has more than it says."""
LIVELY = 3
"""Seed of a network all of whose convolutions pass something of the image on; that of 0 has a dead one."""
HASTY = {"feature_iterations": 40, "polish_rounds": 0, "iterations": 5, "activation_iterations": 5}
"""Peeling where its own image is not asked for."""
TWO_CHANNELS = torch.tensor([[0.13, 0.05], [0.05, 0.08]])


def alike(images: Tensor) -> Tensor:
    """Images that differ as little as views of rooms do."""
    return 0.5 + 0.3 * (images - 0.5)


def shared(victims: int) -> tuple[Tensor, SharedUpdate, dict[str, dict[str, Tensor]]]:
    """Images (V, C, H, W) drawn from a Gaussian field, what is shared of them, and an attacker that remembers 12 others
    of the same field."""
    _, batch, _ = attack_cases.victims(12, spec=FEW, seed=50)
    field = dataclasses.replace(GaussianField.of(alike(batch.observation["image"])), channels=TWO_CHANNELS)
    generator = torch.Generator().manual_seed(7)
    own, truth = (
        field.mean + field.apart(torch.randn(count, *FEW.image_shape, generator=generator)) for count in (12, victims)
    )
    public = {"image": own, "vector": batch.observation["vector"], "action": batch.action}
    network, batch, _ = attack_cases.victims(victims, spec=FEW, seed=LIVELY)
    batch = dataclasses.replace(batch, observation={**batch.observation, "image": truth})
    return truth, capture(network, DQNLoss(), batch), {"public": public}


def drowned(update: SharedUpdate, relative: float) -> SharedUpdate:
    """Under noise so many times as long as the gradient, of the same deviation on every entry."""
    generator, gradients = torch.Generator().manual_seed(5), update.gradients
    length = sum(value.flatten(1).square().sum(dim=1) for value in gradients.values()).sqrt()
    deviation = relative * length / sum(value[0].numel() for value in gradients.values()) ** 0.5
    noise = {name: torch.randn(value.shape, generator=generator) for name, value in gradients.items()}
    changed = {
        name: value + deviation.view(-1, *[1] * (value.dim() - 1)) * noise[name] for name, value in gradients.items()
    }
    return dataclasses.replace(update, gradients=changed)


@dataclasses.dataclass(frozen=True)
class Rows:
    """bend(rows . image - right) as a term, rows: (M, numbers of an image), right: (V, M); slope: bend's derivative."""

    rows: Tensor
    right: Tensor
    bend: Callable[[Tensor], Tensor] = lambda off: off
    slope: Callable[[Tensor], Tensor] = torch.ones_like

    def linearise(self, image: Tensor, tolerance: float, deviation: float = 0.0) -> Linearised:
        off = image.flatten(1) @ self.rows.T - self.right
        steep = self.slope(off)
        return Linearised(
            self.bend(off),
            lambda direction: steep * (direction.flatten(1) @ self.rows.T),
            lambda grown: ((steep * grown) @ self.rows).view_as(image),
        )


def small_field() -> tuple[GaussianField, Tensor]:
    """A field of images of 2 x 8 x 8, and its root as a matrix, float64."""
    generator = torch.Generator().manual_seed(2)
    field = GaussianField.of(0.5 + 0.1 * torch.randn(6, 2, 8, 8, generator=generator, dtype=torch.float64))
    return field, field.apart(torch.eye(128, dtype=torch.float64).view(128, 2, 8, 8)).flatten(1)


def test_a_field_is_as_wide_as_the_images_that_it_is_of_and_its_root_is_symmetric() -> None:
    _, batch, _ = attack_cases.victims(12, spec=FEW, seed=50)
    images = alike(batch.observation["image"])
    field = GaussianField.of(images)
    generator = torch.Generator().manual_seed(0)
    drawn = field.apart(torch.randn(200, *images.shape[1:], generator=generator))
    assert drawn.square().mean(dim=(0, 2, 3)) == pytest.approx(images.var(dim=0).mean(dim=(1, 2)), rel=0.25)
    one, other = torch.randn(2, 1, *images.shape[1:], generator=generator)
    assert float((field.apart(one) * other).sum()) == pytest.approx(float((one * field.apart(other)).sum()), rel=1e-3)


def test_of_linear_equations_the_likeliest_image_is_the_mean_that_a_gaussian_has_given_them() -> None:
    field, root = small_field()
    covariance, mean = root @ root.T, field.mean.flatten()
    generator, error = torch.Generator().manual_seed(3), 0.03
    rows, white, noise = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((20, 128), (3, 128), (3, 20))
    )
    right = (mean + white @ root) @ rows.T + error * noise
    gain = covariance @ rows.T @ torch.linalg.inv(rows @ covariance @ rows.T + error**2 * torch.eye(20))
    expected = mean + (right - rows @ mean) @ gain.T
    assert ((expected > 0) & (expected < 1)).all()
    found = likeliest(Rows(rows, right), field, 3, LikeliestSettings(error=error, rounds=3, steps=60))
    torch.testing.assert_close(found.flatten(1), expected, atol=1e-5, rtol=0)


def test_steps_that_overshoot_are_shortened() -> None:
    field, root = small_field()
    white = torch.randn(2, 128, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    truth, error, width = field.mean.flatten() + white @ root, 0.003, 1e-3

    def wide(off: Tensor) -> Tensor:
        return (off.square() + width**2) ** -0.3

    # About |off|^0.4, of which Newton's step goes to -1.5 off, and a quarter of it to 0.375 off.
    bent = Rows(
        torch.eye(128, dtype=torch.float64),
        truth,
        lambda off: off * wide(off),
        lambda off: wide(off) * (1 - 0.6 * off.square() / (off.square() + width**2)),
    )

    def away(rounds: int) -> Tensor:
        found = likeliest(bent, field, 2, LikeliestSettings(error=error, rounds=rounds, steps=30))
        return (found.flatten(1) - truth).square().mean(dim=1).sqrt()

    torch.testing.assert_close(away(1), (field.mean.flatten() - truth).square().mean(dim=1).sqrt())
    assert (away(10) < 0.2 * away(1)).all()


@pytest.mark.parametrize(("noise", "gained", "beyond"), [(0.0, 8.0, 4.0), (0.5, 2.0, 2.0)])
def test_few_or_drowned_equations_are_not_matched_and_complete_a_guess(
    noise: float, gained: float, beyond: float
) -> None:
    """gained, beyond: decibels over the guess and over total variation, at least."""
    truth, update, knowledge = shared(2)
    update = drowned(update, noise) if noise else update
    found = best(update, best_settings(30, iterations=5), seed=0, knowledge=knowledge)
    assert found.trust["guess_completed"].all()
    assert not found.trust["matched"].any()
    assert not found.trust["nothing_heard"].any()
    reached = psnr(found.image, truth)
    guess = psnr(knowledge["public"]["image"].mean(dim=0).expand_as(truth), truth)
    assert (reached > guess + gained).all()
    smooth = peel(update, settings(iterations=100), seed=0)
    assert (reached > psnr(smooth.image, truth) + beyond).all()


def test_without_public_rooms_or_with_equations_enough_nothing_is_guessed() -> None:
    _, update, knowledge = shared(1)
    assert "guess_completed" not in best(update, best_settings(2, **HASTY), seed=0).trust
    enough = best_settings(2, **HASTY, likeliest=LikeliestSettings(below=0.0))
    assert not best(update, enough, seed=0, knowledge=knowledge).trust["guess_completed"].any()


def test_a_victim_gets_the_same_image_alone_and_among_others() -> None:
    _, update, knowledge = shared(2)
    together = best(update, best_settings(2, **HASTY), seed=0, knowledge=knowledge)
    alone = best(update.select([1]), best_settings(2, **HASTY), seed=0, knowledge=knowledge)
    assert float((together.image[1] - knowledge["public"]["image"].mean(dim=0)).abs().max()) > 0.1
    assert together.image[1:2] == pytest.approx(alone.image, abs=1e-2)
