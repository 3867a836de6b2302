"""The first layer undone: its equations hold at the truth, and the image comes back from them and a prior."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlleak.attacks.data_terms import fit, squared
from rlleak.attacks.first_layer import Schedule, chosen, solve
from rlleak.attacks.known_convolution import KnownConvolution, NextLayer, equations
from rlleak.attacks.refining import masked
from rlleak.priors.denoiser import DenoiserNetwork, LearntPrior
from rlleak.priors.variation import TotalVariation

torch.set_num_threads(1)
SIDE = 40


def rooms(victims: int, channels: int, side: int = SIDE, seed: int = 0) -> Tensor:
    """Piecewise constant images (V, C, side, side): walls with boxes before them, edges shared by the channels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(victims, channels, 1, 1, generator=generator).expand(-1, -1, side, side).clone()
    for image in images:
        for _ in range(4):
            row, column = torch.randint(0, side - 8, (2,), generator=generator).tolist()
            height, width = torch.randint(6, 16, (2,), generator=generator).tolist()
            colour = torch.rand(channels, 1, 1, generator=generator)
            image[:, row : row + height, column : column + width] = colour
    return images


def layers(
    image: Tensor, *shapes: tuple[int, int, int, int], bias: bool = True, seed: int = 0
) -> list[KnownConvolution]:
    """What is known of convolutions (channels, kernel, stride, padding) over an image if all but their inputs is.

    The loss is linear in the last layer's ReLU; gradients by autograd.
    """
    generator = torch.Generator().manual_seed(seed)
    taken, parameters, outputs = image, [], []
    for channels, kernel, stride, padding in shapes:
        reach = (taken.shape[1] * kernel**2) ** -0.5
        weight = torch.rand(channels, taken.shape[1], kernel, kernel, generator=generator).to(image) * 2 - 1
        biases = (torch.rand(channels, generator=generator).to(image) * 2 - 1) * reach if bias else None
        # One copy per victim: autograd gives each one's own gradient.
        copies = [(weight * reach).clone().requires_grad_() for _ in image]
        before = torch.cat(
            [F.conv2d(one[None], own, biases, stride, padding) for one, own in zip(taken, copies, strict=True)]
        )
        after = before.relu()
        parameters.append((weight * reach, biases, copies))
        outputs.append((before, after))
        taken = after
    loss = (taken * torch.randn(taken.shape, generator=generator).to(image)).sum()
    sought = [copy for *_, copies in parameters for copy in copies] + [after for _, after in outputs]
    found = list(torch.autograd.grad(loss, sought))
    deltas, known = found[len(found) - len(shapes) :], []
    shapes_in = [image.shape[1:], *[after.shape[1:] for _, after in outputs]]
    for index, (_, _, stride, padding) in enumerate(shapes):
        (weight, biases, _), (before, _) = parameters[index], outputs[index]
        before = before.detach()
        gradient = torch.stack(found[index * len(image) : (index + 1) * len(image)])
        known.append(
            KnownConvolution(
                weight,
                biases,
                stride,
                tuple(shapes_in[index]),
                before.relu(),
                before > 0,
                before <= 0,
                deltas[index],
                gradient,
                padding,
            )
        )
    return known


def unsure(layer: KnownConvolution, where: Tensor | bool = True) -> KnownConvolution:
    """The same with masks that say nothing where told."""
    sure = ~torch.as_tensor(where).expand_as(layer.active)
    return replace(layer, active=layer.active & sure, inactive=layer.inactive & sure)


def psnr(found: Tensor, truth: Tensor) -> Tensor:
    return -10 * (found - truth).square().flatten(1).mean(dim=1).log10()


class Nothing:
    """A prior that believes everything."""

    unseen = 0.5

    def __call__(self, image: Tensor, deviation: Tensor) -> Tensor:
        return image

    def reset(self) -> None:
        pass


SHAPES = [(6, 8, 4, 0), (5, 3, 2, 1), (4, 5, 3, 0), (3, 3, 1, 1), (4, 4, 4, 0), (4, 2, 3, 0)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_equation_holds_at_the_truth_and_not_elsewhere(shape: tuple[int, ...], bias: bool) -> None:
    image = rooms(2, 3, 23).double()
    (layer,) = layers(image, shape, bias=bias)
    terms = equations(layer)
    assert len(terms) == 2
    for term in terms:
        assert squared(term.linearise(image, 1e-3).residual).max() < 1e-16
        assert squared(term.linearise(1 - image, 1e-3).residual).min() > 1e-3


@settings(max_examples=25, deadline=None)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 1000), second=st.booleans())
def test_adjoints_are_adjoint_and_residuals_move_as_their_linearisation_says(
    shape: tuple[int, ...], seed: int, second: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, 23, 23, generator=generator, dtype=torch.float64)
    known = layers(image, shape, *([(4, 2, 1, 0)] if second else []), seed=seed)
    terms = [NextLayer(known[0], equations(known[1]))] if second else equations(known[0])
    at = torch.rand(image.shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    for term in terms:
        near = term.linearise(at, 1e-6)
        grown = near.apply(torch.randn(image.shape, generator=generator, dtype=torch.float64))
        assert torch.allclose((near.apply(direction) * grown).sum(), (direction * near.adjoint(grown)).sum())
        step = 1e-9
        moved = term.linearise(at + step * direction, 1e-6).residual - near.residual
        assert torch.allclose(moved / step, near.apply(direction), rtol=1e-3, atol=1e-3)


def test_with_more_equations_than_unknowns_the_image_comes_back_without_a_prior() -> None:
    image = rooms(2, 1).double()
    (layer,) = layers(image, (40, 6, 2, 0))
    found = solve(layer, Nothing(), Schedule(rounds=3, steps=400, trust=1e-4))
    assert psnr(found.image, image).min() > 80
    assert all(residual.max() < 1e-5 for residual in found.residuals.values())
    assert set(found.residuals) == {"active", "inactive", "gradient"}


def test_with_a_third_of_the_equations_the_prior_brings_the_image_back() -> None:
    image = rooms(3, 4, 56)
    (layer,) = layers(image, (12, 8, 4, 0))
    assert (layer.active.flatten(1).sum(dim=1) + equations(layer)[1].rank < 0.4 * image[0].numel()).all()
    with_prior = solve(layer, TotalVariation(), Schedule(rounds=60))
    without = solve(layer, Nothing(), Schedule(rounds=60))
    assert psnr(with_prior.image, image).min() > 45
    assert psnr(without.image, image).max() < 25
    assert with_prior.image.min() >= 0
    assert with_prior.image.max() <= 1


def test_a_learnt_prior_is_chosen_where_equations_are_few_and_it_helps() -> None:
    few, many = (layers(rooms(2, channels, 80), (32, 8, 4, 0))[0] for channels in (4, 1))
    learnt, poor = (
        LearntPrior(DenoiserNetwork(4), {"channels": 4, "held_out": {"0.1": {"learnt": quality, "variation": 30.0}}})
        for quality in (31.0, 29.0)
    )
    assert isinstance(chosen(few, poor)[0], TotalVariation)
    assert chosen(few, learnt)[0] is learnt
    own = TotalVariation(strength=0.5)
    assert chosen(few, own)[0] is own
    assert isinstance(chosen(few)[0], TotalVariation)
    for known in (many, unsure(many)):
        prior, schedule = chosen(known, learnt)
        assert isinstance(prior, TotalVariation)
        assert schedule.last < chosen(few, learnt)[1].last


def test_gradient_equations_and_inequalities_each_add_to_the_image() -> None:
    image = rooms(3, 4, seed=3)
    (layer,) = layers(image, (12, 8, 4, 0))
    poorer = [replace(layer, delta=None, kernel_gradient=None), replace(layer, inactive=torch.zeros_like(layer.active))]
    whole, *poor = (solve(known, TotalVariation()) for known in (layer, *poorer))
    assert "gradient" not in poor[0].residuals
    assert all(psnr(whole.image, image).mean() > psnr(found.image, image).mean() + 1 for found in poor)


def test_a_few_unsure_masks_cost_little() -> None:
    image = rooms(2, 4, seed=1)
    (layer,) = layers(image, (32, 8, 4, 0))
    doubtful = unsure(layer, layer.activation < 0.02)
    doubtful = replace(doubtful, inactive=layer.inactive & (torch.rand(layer.active.shape) > 0.05))
    assert (~(doubtful.active | doubtful.inactive)).float().mean() > 0.02
    assert psnr(solve(doubtful, TotalVariation(), Schedule(rounds=60)).image, image).min() > 35


def test_what_the_next_layer_says_undoes_a_first_layer_of_which_nothing_is_known() -> None:
    image = rooms(2, 3, seed=2)
    first, second = layers(image, (24, 6, 3, 0), (32, 4, 2, 0))
    first = unsure(first)
    term = NextLayer(first, equations(second))
    found = solve(first, TotalVariation(), Schedule(rounds=60, steps=20), extra=[term])
    alone = solve(first, TotalVariation(), Schedule(rounds=60, steps=20))
    assert psnr(found.image, image).min() > 35
    assert psnr(alone.image, image).max() < 25
    assert (found.misfit < alone.misfit + 1).all()


def test_a_mask_that_the_gradient_contradicts_stays_unsure_and_spoils_no_other_channel() -> None:
    image = rooms(2, 3, seed=2).double()
    (layer,) = layers(image, (24, 6, 3, 0))
    bias = (layer.delta * layer.active).sum(dim=(2, 3))
    nearly = image + 1e-3 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).double()
    solved = layer.activation.clone()
    solved[1, 5] = solved[1, 5].flip(-1)
    known, misfit, exact = masked(unsure(layer), solved, nearly, bias)
    assert exact[0]
    sure = known.active | known.inactive
    assert torch.equal(known.active & sure, layer.active & sure)
    assert torch.equal(known.inactive & sure, layer.inactive & sure)
    assert sure.flatten(2).any(dim=2).sum(dim=1).min() >= 23
    assert float(misfit[0]) < 1e-6
    # Entries whose errors cancel in the bias's gradient exchange their places: the kernel's gradient tells.
    pair = layer.delta.clone()
    pair[0, 9] = 1
    layer = replace(layer, delta=pair)
    patches = F.unfold(image, 6, stride=3).transpose(1, 2)
    gradient = ((layer.delta * layer.active).flatten(2) @ patches).view_as(layer.kernel_gradient)
    layer, bias = replace(layer, kernel_gradient=gradient), (layer.delta * layer.active).sum(dim=(2, 3))
    solved = layer.activation.clone()
    solved[0, 9] = solved[0, 9].flip(-1)
    known, _, _ = masked(unsure(layer), solved, nearly, bias)
    sure = (known.active | known.inactive)[0, 9]
    assert torch.equal(known.active[0, 9] & sure, layer.active[0, 9] & sure)


def test_noisy_equations_count_for_less_than_exact_ones() -> None:
    image = rooms(2, 4, seed=4)
    (layer,) = layers(image, (32, 8, 4, 0))
    error = 0.02
    noisy = layer.activation + error * torch.randn(layer.activation.shape, generator=torch.Generator().manual_seed(0))
    told = replace(layer, activation=noisy, activation_error=error)
    untold = replace(layer, activation=noisy)
    schedule = Schedule(rounds=60)
    better, worse = (psnr(solve(known, TotalVariation(), schedule).image, image) for known in (told, untold))
    assert (better > worse + 1).all()


def test_exact_knowledge_and_victims_that_shared_nothing_leave_every_number_finite() -> None:
    image = rooms(2, 2, 24)
    (layer,) = layers(image, (12, 5, 3, 1))
    exact = replace(layer, gradient_error=0.0, activation_error=0.0)
    silent = replace(unsure(exact), delta=0 * layer.delta, kernel_gradient=0 * layer.kernel_gradient)
    for known in (exact, silent):
        found = solve(known, TotalVariation(), Schedule(rounds=5))
        assert found.image.isfinite().all()
        assert found.misfit.isfinite().all()
    assert (equations(silent)[1].rank == 0).all()


def test_a_victim_is_undone_alike_alone_and_among_others() -> None:
    image = rooms(3, 2, 24).double()
    (layer,) = layers(image, (12, 5, 3, 1))
    together = solve(layer, TotalVariation()).image
    (alone,) = layers(image[1:2], (12, 5, 3, 1))
    only = ("activation", "active", "inactive", "delta", "kernel_gradient")
    alone = replace(layer, **{name: getattr(layer, name)[1:2] for name in only})
    prior = TotalVariation()
    found = solve(alone, prior).image
    assert torch.allclose(found, together[1:2], atol=1e-3)
    # What a prior keeps between its calls belongs to one search.
    assert torch.equal(solve(alone, prior).image, found)


def test_a_search_goes_on_from_a_start_and_reports() -> None:
    image = rooms(2, 4, 56, seed=5)
    (layer,) = layers(image, (12, 8, 4, 0))
    told: list[int] = []
    short = Schedule(rounds=2, first=0.002, last=0.002)
    found = solve(layer, TotalVariation(), short, start=image, report=lambda done, misfit: told.append(done))
    assert told == [0, 1]
    assert psnr(found.image, image).min() > 50
    assert psnr(solve(layer, TotalVariation(), short).image, image).max() < 40


def test_a_step_towards_a_picture_keeps_what_the_equations_do_not_see() -> None:
    image = rooms(2, 3, 23).double()
    (layer,) = layers(image, (4, 4, 4, 0))
    picture = torch.rand(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = fit(equations(layer), picture, 1e-6, 1e-3, 200)
    # A kernel of 4 in steps of 4 reads 20 of 23 rows and columns.
    assert torch.equal(found[..., 20:, :], picture[..., 20:, :])
    assert torch.equal(found[..., 20:], picture[..., 20:])
    # Inequalities that only the step has violated wait for the next one.
    forward, kernels = equations(layer)
    assert forward.misfits(picture)["active"].min() > 0.1
    assert forward.misfits(found)["active"].max() < 1e-3
    assert kernels.misfits(found)["gradient"].max() < 1e-3
