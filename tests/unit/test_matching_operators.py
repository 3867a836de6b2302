"""What gradient matching computes with: weights in panels, block convolutions, targets as factors, total variation."""

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rlleak.attacks.convolution import BlockConvolution
from rlleak.attacks.layers import Layer, copy
from rlleak.attacks.targets import FactoredTarget, MatrixTarget, linear_target
from rlleak.attacks.variation import VariationDerivative, total_variation
from rlleak.attacks.weights import Weight


@given(st.integers(1, 70), st.integers(1, 70), st.integers(2, 4))
@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
def test_a_weight_in_panels_multiplies_like_a_weight(outputs: int, inputs: int, victims: int) -> None:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    plain = draw(outputs, inputs)
    weight, above, below = Weight(plain, wide=1), draw(victims, inputs), draw(victims, outputs)
    torch.testing.assert_close(weight.up(above), above @ plain.T)
    torch.testing.assert_close(weight.down(below), below @ plain)
    torch.testing.assert_close(weight.up(above, below), above @ plain.T + below)
    torch.testing.assert_close(weight.down(below, above), below @ plain + above)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(5, 11), st.integers(5, 11))
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_a_block_convolution_is_a_convolution(kernel: int, stride: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    weight, bias, image = draw(3, 2, kernel, kernel), draw(3), draw(2, 2, height, width)
    layer = BlockConvolution(weight, bias, stride, height, width)
    blocks = layer.blocks(image.permute(0, 2, 3, 1))
    expected = torch.nn.functional.conv2d(image, weight, stride=stride)
    torch.testing.assert_close(layer.image(layer.apply(blocks)).permute(0, 3, 1, 2), expected)
    error = draw(*expected.shape)
    rows = layer.rows_of(error.permute(0, 2, 3, 1))
    _, back = torch.autograd.functional.vjp(
        lambda x: torch.nn.functional.conv2d(x, weight, stride=stride), image, error
    )
    torch.testing.assert_close(layer.unblocks(layer.apply_transposed(rows)).permute(0, 3, 1, 2), back)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(5, 11), st.integers(5, 11))
@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
def test_a_layers_kernels_have_each_victims_own_gradient(kernel: int, stride: int, padding: int, height, width) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    weight, image = draw(3, 2, kernel, kernel), draw(2, 2, height, width)
    convolve = lambda x, w: torch.nn.functional.conv2d(x, w, stride=stride, padding=padding)  # noqa: E731
    error = draw(*convolve(image, weight).shape)
    own = [
        torch.autograd.functional.vjp(lambda w, x=x: convolve(x[None], w), weight, e[None])[1]
        for x, e in zip(image, error, strict=True)
    ]
    layer = Layer("convolutions.0", weight, None, stride, padding, height, width)
    blocks = layer.store(layer.blocks_buffer("input", 2), copy, image.permute(0, 2, 3, 1))
    errors = layer.errors_buffer("error", 2)
    layer.outputs(layer.errors(errors)).copy_(error.permute(0, 2, 3, 1))
    torch.testing.assert_close(layer.own_gradients(blocks, errors), layer.to_taps(torch.stack(own)))


def test_a_linear_gradient_of_one_transition_is_kept_as_factors_and_a_noisy_one_as_it_came() -> None:
    _, _, update = attack_cases.victims(3)
    weight, bias = update.gradients["hidden.0.weight"], update.gradients["hidden.0.bias"]
    assert isinstance(linear_target(weight, bias), FactoredTarget)
    noisy = weight + 1e-3 * weight.std() * torch.randn_like(weight)
    assert isinstance(linear_target(noisy, bias), MatrixTarget)


@pytest.mark.parametrize("channels", [4, 1])
def test_total_variation_has_the_derivative_it_says_and_counts_depth_apart(channels: int) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, channels, 6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(total_variation(image).sum(), image)
    found = VariationDerivative(0.5).add(image.detach(), torch.ones_like(image))
    torch.testing.assert_close(found, 1 + 0.5 * expected)
    flat = torch.zeros(1, 4, 6, 6)
    flat[:, 3, :, ::2] = 1.0
    assert float(total_variation(flat)) == pytest.approx(1.0, abs=3e-3)
