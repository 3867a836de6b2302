"""Images of a batch's samples: each its own, from sums over all of them, and none where samples are not told apart."""

from collections.abc import Callable
from dataclasses import replace

import attack_cases
import numpy as np
import pytest
import torch

from rlleak.attacks.batch_heads import batch_heads
from rlleak.attacks.batch_images import batch_images, believed
from rlleak.attacks.batch_layers import Misfits, apart, better
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.learners.dqn import DQNLoss
from rlleak.metrics.comparison import compare
from rlleak.metrics.images import batch_psnr_depth, batch_psnr_rgb, psnr
from rlleak.metrics.scoring import score
from rlleak.priors.around import Around
from rlleak.priors.variation import TotalVariation
from rlleak.sharing.private import PrivateSide, withhold
from rlleak.sharing.update import SharedUpdate, capture

SPEC = attack_cases.SMALL.model_copy(update={"hidden": (96,)})
SETTINGS = AttackSettings(method="batch_images")


def shared(clients: int, size: int, dtype: torch.dtype = torch.float32) -> tuple[SharedUpdate, PrivateSide]:
    """Updates over `size` transitions each, and what they were made from."""
    network, batch, _ = attack_cases.victims(clients * size, "dqn", SPEC, dtype)
    rows = torch.arange(clients * size)
    return capture(network, DQNLoss(), batch, size), withhold(network, DQNLoss(), batch, rows, rows)


@pytest.mark.parametrize("size", [1, 2])
def test_every_sample_of_a_batch_gets_its_own_image(size: int) -> None:
    update, private = shared(2, size)
    found = batch_images(update, SETTINGS, seed=1)
    assert found.claimed.all()
    assert (found.trust["convolutions_undone"] == 2).all()
    assert (found.trust["residual_features"] < 0.005).all()
    compared = compare(found, private, SPEC, size)
    assert (batch_psnr_rgb(compared) > 40).all()
    assert (batch_psnr_depth(compared) > 40).all()


def test_where_equations_are_too_few_masks_are_not_confirmed_and_images_come_from_the_last_convolution() -> None:
    update, private = shared(1, 4)
    found = batch_images(update, SETTINGS, seed=1)
    assert found.claimed.all()
    assert found.trust["convolutions_undone"] == 1
    assert found.trust["mask_misfit"] > 1e-3
    assert found.trust["residual_gradients"] > 0.1
    assert batch_psnr_rgb(compare(found, private, SPEC, 4)) > 12


def test_what_images_have_in_common_says_what_sums_over_a_batch_do_not() -> None:
    network, batch, _ = attack_cases.victims(4, "dqn", SPEC, torch.float32)
    mean = batch.observation["image"][0]
    images = mean.repeat(4, 1, 1, 1)
    for sample, image in enumerate(images):
        place = 2 + 3 * sample
        image[:, place : place + 3, place : place + 3] = 1 - image[:, place : place + 3, place : place + 3]
    own = replace(batch, observation={**batch.observation, "image": images})
    update, rows = capture(network, DQNLoss(), own, 4), torch.arange(4)
    private = withhold(network, DQNLoss(), own, rows, rows)
    knowing = {"prior": Around(mean, TotalVariation())}
    with_it, without = (batch_images(update, SETTINGS, seed=1, knowledge=known) for known in (knowing, {}))
    near, far = (batch_psnr_rgb(compare(found, private, SPEC, 4))[0] for found in (with_it, without))
    same = replace(with_it, image=mean.expand_as(with_it.image))
    assert near > batch_psnr_rgb(compare(same, private, SPEC, 4))[0] + 5
    assert near > far + 10


def changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
    """The images that each convolution gives, those after the first as changed."""
    passes: list[torch.Tensor] = []

    def spoilt(*told: object) -> torch.Tensor:
        picture = believed(*told)
        passes.append(change(picture) if passes else picture)
        return passes[-1].clone()

    monkeypatch.setattr("rlleak.attacks.batch_images.believed", spoilt)
    return passes


def test_a_sample_that_a_later_convolution_spoils_keeps_its_earlier_image(monkeypatch: pytest.MonkeyPatch) -> None:
    update, _ = shared(1, 2)

    def upside_down(picture: torch.Tensor) -> torch.Tensor:
        first, second = picture.chunk(2, dim=2)
        return torch.cat([first, second.flip(2)], dim=2)

    passes = changed(monkeypatch, upside_down)
    found = batch_images(update, SETTINGS, seed=1)
    assert len(passes) == 2
    earlier, later = (apart(picture, 2) for picture in passes)
    assert torch.equal(found.image[0, 0], later[0])
    assert torch.equal(found.image[0, 1], earlier[1])


def test_images_that_explain_the_sums_far_better_are_kept_though_their_own_outputs_fit_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, _ = shared(1, 2)
    generator = torch.Generator().manual_seed(0)
    passes = changed(monkeypatch, lambda image: image + 0.0035 * torch.randn(image.shape, generator=generator))
    found = batch_images(update, SETTINGS, seed=1)
    assert torch.equal(found.image[0], apart(passes[1], 2))


@pytest.mark.parametrize(
    ("own", "sums", "share", "kept"),
    [
        (0.9, 1.5, 0.9, "later"),  # its own outputs alone say so
        (1.4, 0.6, 0.5, "later"),
        (1.4, 0.6, 1e-3, "earlier"),  # the sums hardly speak of it: 1 % of them was open before
        (1.4, 0.8, 0.5, "earlier"),
        (1.1, 1.5, 0.5, "earlier"),
    ],
)
def test_sums_count_as_far_as_they_speak_of_a_sample(own: float, sums: float, share: float, kept: str) -> None:
    earlier, later = (
        Misfits(torch.tensor([[0.01 * by]]), torch.tensor([0.01]), torch.tensor([0.1 * of]))
        for by, of in ((1, 1), (own, sums))
    )
    assert bool(better(later, earlier, torch.tensor([[share]]))) == (kept == "later")


def test_what_is_told_apart_is_what_batch_heads_tells_apart() -> None:
    update, _ = shared(1, 3)
    images, heads = (
        attack(update, AttackSettings(method=name), seed=1)
        for name, attack in (("batch_images", batch_images), ("batch_heads", batch_heads))
    )
    for name, value in heads.components.items():
        torch.testing.assert_close(images.components[name], value)


def test_a_batch_that_is_not_told_apart_gets_no_images_and_the_others_beside_it_theirs() -> None:
    update, _ = shared(2, 2)
    generator = torch.Generator().manual_seed(5)
    for name in ("hidden.0.weight", "head.weight"):
        gradient = update.gradients[name][0]
        gradient += 0.3 * gradient.square().mean().sqrt() * torch.randn(gradient.shape, generator=generator)
    found = batch_images(update, SETTINGS, seed=1)
    assert not found.claimed[0].any()
    assert not found.image[0].any()
    assert found.trust["convolutions_undone"].tolist()[0] == 0
    assert found.claimed[1].all()
    assert found.image[1].flatten(1).amax(dim=1).min() > 0.5


def test_wrong_kernel_gradients_show_in_the_residuals() -> None:
    update, _ = shared(1, 2)
    update.gradients["convolutions.0.weight"].neg_()
    found = batch_images(update, SETTINGS, seed=1)
    assert found.trust["residual_gradients"] > 0.1


def test_an_image_is_compared_with_the_sample_that_its_claim_is_about() -> None:
    _, private = shared(2, 3)
    order = [2, 0, 1]
    inputs, images = (value.unflatten(0, (2, 3))[:, order].clone() for value in (private.linear_input, private.image))
    images[0, 0] += 0.1
    claimed = torch.tensor([[True, True, False], [False, False, False]])
    compared = compare(Reconstruction(linear_input=inputs, image=images, claimed=claimed), private, SPEC, 3)
    shown, true = private.image[2, 3].double().numpy() + 0.1, private.image[2, 3].double().numpy()
    depth = batch_psnr_depth(compared)
    rows, columns = compared.reads
    own = psnr(true[:rows, :columns], np.clip(shown, 0, 1)[:rows, :columns])
    # What is not claimed is black, be it a part of an update or all of it.
    black = [
        psnr(np.zeros((rows, columns)), np.clip(image[3], 0, 1)[:rows, :columns]) for image in private.image.numpy()
    ]
    assert depth[0] == pytest.approx((own + 100 + black[1]) / 3, abs=0.5)
    assert depth[1] == pytest.approx(np.mean(black[3:]), abs=0.1)


def test_an_update_of_which_nothing_is_claimed_keeps_its_images_scores_and_has_no_precision() -> None:
    _, private = shared(2, 3)
    claimed = torch.tensor([[True, True, True], [False, False, False]])
    inputs, images = (value.unflatten(0, (2, 3)) for value in (private.linear_input, private.image))
    place = {"simulator": "rooms", "scale": "reduced", "learner": "dqn", "network": "mnih2015", "setting": "S1"}
    place |= {"seed": 0, "attack": "batch_images", "batch": 3, "actions": "any", "precision": "float32"}
    place |= {"defence": "none", "policy": "random"}
    found = Reconstruction(linear_input=inputs, image=images, claimed=claimed)
    table = score(found, private, place, SPEC).set_index(["metric", "victim"])["value"]
    met = {name: len(table[name]) for name in ("batch_psnr_rgb", "batch_psnr_depth", "batch_recall", "batch_precision")}
    assert met == {"batch_psnr_rgb": 2, "batch_psnr_depth": 2, "batch_recall": 2, "batch_precision": 1}
