"""Gradient matching: the written-out passes equal autograd, for any network, target and restart."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import attack_cases
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from rlleak.attacks.passes import GradientMatching
from rlleak.attacks.signals import ErrorDirection, SquaredError
from rlleak.attacks.targets import MatrixTarget
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError
from rlleak.learners.networks import load_network
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.sharing.update import SharedUpdate

CONFIG = Path(__file__).resolve().parents[2] / "config"


NETWORKS = load_study(read_yaml(CONFIG / "config.yaml"), CONFIG).configuration.networks


@st.composite
def specifications(draw: st.DrawFn) -> NetworkSpec:
    """Networks of all the family's shapes, small enough for autograd to check."""
    layers, height, width = [], draw(st.integers(9, 14)), draw(st.integers(9, 14))
    shape = (draw(st.sampled_from([1, 4])), height, width)
    for _ in range(draw(st.integers(0, 2))):
        layer = Convolution(
            channels=draw(st.integers(1, 4)),
            kernel=draw(st.integers(1, 4)),
            stride=draw(st.integers(1, 3)),
            padding=draw(st.integers(0, 3)),
        )
        if min(height, width) + 2 * layer.padding < layer.kernel:
            break
        height, width = ((side + 2 * layer.padding - layer.kernel) // layer.stride + 1 for side in (height, width))
        layers.append(layer)
    return NetworkSpec(
        image_shape=shape,
        vector_size=4,
        convolutions=tuple(layers),
        vector_width=draw(st.sampled_from([0, 5])),
        hidden=tuple(draw(st.lists(st.integers(4, 9), max_size=2))),
        outputs=draw(st.integers(2, 5)),
        bias=draw(st.booleans()),
    )


def autograd_reference(
    update: SharedUpdate, inputs: Mapping[str, Tensor], error_of, loss: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Matching loss and its derivatives by differentiating torch.autograd.grad of the whole network, one by one."""
    network = load_network(update.architecture, update.parameters)
    names, parameters = zip(*network.named_parameters(), strict=True)
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    losses = []
    for victim in range(len(update)):
        own = {name: value[victim : victim + 1] for name, value in leaves.items()}
        objective = error_of(network(own), own, victim)
        found = torch.autograd.grad(objective, parameters, create_graph=True)
        shared = [update.gradients[name][victim] for name in names]
        inner = sum((a * b).sum() for a, b in zip(found, shared, strict=True))
        squares = [sum(part.square().sum() for part in group) for group in (found, shared)]
        if loss == "cosine":
            losses.append(1 - inner / (squares[0] * squares[1]).sqrt())
        else:
            losses.append((squares[0] - 2 * inner + squares[1]) / squares[1])
    derivatives = torch.autograd.grad(sum(losses), list(leaves.values()))
    return torch.stack(losses).detach(), dict(zip(leaves, derivatives, strict=True))


def signal_case(kind: str, update: SharedUpdate, generator: torch.Generator):
    """A signal, the variables it adds, and the same as a scalar objective of the network's output."""
    victims, outputs = len(update), update.architecture.outputs
    dtype = next(iter(update.parameters.values())).dtype
    target = torch.randn(victims, generator=generator, dtype=dtype)
    if kind == "direction":
        error = torch.randn(victims, outputs, generator=generator, dtype=dtype)
        return ErrorDirection(error), {}, lambda output, own, victim: (output[0] * error[victim]).sum()
    if kind == "ruled":
        action = torch.eye(outputs, dtype=dtype)[torch.arange(victims) % outputs]
        objective = lambda output, own, victim: ((output[0] * action[victim]).sum() - own["target"][0]) ** 2  # noqa: E731
        return SquaredError(action), {"target": target}, objective
    logits = torch.randn(victims, outputs, generator=generator, dtype=dtype)

    def soft(output, own, victim):
        return ((output[0] * own["action_logits"][0].softmax(0)).sum() - own["target"][0]) ** 2

    return SquaredError(), {"target": target, "action_logits": logits}, soft


def assert_equal_to_autograd(update: SharedUpdate, inputs: Mapping, kind: str, loss: str, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(5)
    signal, extra, objective = signal_case(kind, update, generator)
    inputs = {**inputs, **extra}
    found, derivatives = GradientMatching(update, "image", loss)(inputs, signal)
    expected, expected_derivatives = autograd_reference(update, inputs, objective, loss)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for name, derivative in expected_derivatives.items():
        # Where there is no derivative (a cosine's by a scale, such as the target) both hold nothing but rounding.
        size = max(float(derivative.norm()), 1e-3)
        assert float((derivatives[name] - derivative).norm()) <= 20 * tolerance * size, name


@given(specifications(), st.sampled_from(["direction", "ruled", "soft"]), st.sampled_from(["cosine", "mse"]))
@hypothesis_settings(max_examples=80, deadline=None, derandomize=True)
def test_loss_and_derivatives_equal_autograd_on_any_network(spec: NetworkSpec, kind: str, loss: str) -> None:
    _, batch, update = attack_cases.victims(2, spec=spec, dtype=torch.float64)
    assume(not any(update.gradients["head.weight"].flatten(1).norm(dim=1) == 0))
    inputs = {name: torch.flip(value, [0]) * 0.9 + 0.05 for name, value in batch.observation.items()}
    assert_equal_to_autograd(update, inputs, kind, loss, 1e-9)


@pytest.mark.parametrize("channels", [4, 1], ids=["S1", "S2"])
@pytest.mark.parametrize(
    ("kind", "dtype", "tolerance"),
    [("direction", torch.float64, 1e-11), ("soft", torch.float64, 1e-11), ("direction", torch.float32, 3e-6)],
)
def test_loss_and_derivatives_equal_autograd_on_the_papers_observations(channels, kind, dtype, tolerance) -> None:
    layers = [Convolution(channels=c, kernel=k, stride=s) for c, k, s in ((32, 8, 4), (64, 4, 2), (64, 3, 1))]
    shape = {"image_shape": (channels, 150, 150), "vector_size": 4, "vector_width": 64, "hidden": (32,), "outputs": 7}
    spec = NetworkSpec(convolutions=tuple(layers), **shape)
    _, _, update = attack_cases.victims(2, spec=spec, dtype=dtype)
    generator = torch.Generator().manual_seed(3)
    inputs = {
        "image": torch.rand(2, channels, 150, 150, generator=generator, dtype=dtype),
        "vector": torch.rand(2, 4, generator=generator, dtype=dtype),
    }
    assert_equal_to_autograd(update, inputs, kind, "cosine", tolerance)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 3e-6)])
def test_loss_and_derivatives_equal_autograd_on_every_network_of_the_configuration(name, dtype, tolerance) -> None:
    spec = NetworkSpec.model_validate(NETWORKS[name].architecture("S1"))
    _, batch, update = attack_cases.victims(1, spec=spec, dtype=dtype)
    inputs = {key: value * 0.8 + 0.1 for key, value in batch.observation.items()}
    assert_equal_to_autograd(update, inputs, "direction", "cosine", tolerance)


def test_a_step_writes_over_nothing_that_a_caller_was_given_but_the_image() -> None:
    _, batch, update = attack_cases.victims(2)
    matching, signal = GradientMatching(update, "image"), ErrorDirection(update.gradients["head.bias"])
    first_loss, first = matching({name: value * 0.5 for name, value in batch.observation.items()}, signal)
    kept = first_loss.clone(), first["vector"].clone(), first["image"].clone()
    matching(batch.observation, signal)
    again_loss, again = matching({name: value * 0.5 for name, value in batch.observation.items()}, signal)
    assert torch.equal(first_loss, kept[0])
    assert torch.equal(first["vector"], kept[1])
    assert torch.equal(again_loss, kept[0])
    assert torch.equal(again["image"], kept[2])


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_a_network_without_relu_is_sent_to_closed_form(activation: str) -> None:
    _, _, update = attack_cases.victims(2)
    other = update.architecture.model_copy(update={"activation": activation})
    with pytest.raises(ConfigurationError, match="attack it with closed_form"):
        GradientMatching(replace(update, architecture=other), "image")


@pytest.mark.parametrize("repeat", [1, 3])
def test_restarts_share_a_noisy_target_and_are_matched_as_if_each_had_its_own(repeat: int) -> None:
    _, batch, update = attack_cases.victims(2, dtype=torch.float64)
    noisy = {name: value + 0.3 * value.std() * torch.randn_like(value) for name, value in update.gradients.items()}
    update = replace(update, gradients=noisy)
    rows = torch.arange(2).repeat_interleave(repeat)
    inputs = {
        name: value[rows] * torch.linspace(0.5, 1, len(rows)).view(-1, *(1,) * (value.dim() - 1)).double()
        for name, value in batch.observation.items()
    }
    together = GradientMatching(update, "image", rows=rows)
    assert together.loss.linear["hidden.0"].matrix is update.gradients["hidden.0.weight"]
    loss, found = together(inputs, ErrorDirection(update.gradients["head.bias"][rows]))
    for row, victim in enumerate(rows.tolist()):
        own = update.select(slice(victim, victim + 1))
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        expected, derivatives = GradientMatching(own, "image")(alone, ErrorDirection(own.gradients["head.bias"]))
        torch.testing.assert_close(loss[row], expected[0])
        for name, derivative in derivatives.items():
            torch.testing.assert_close(found[name][row], derivative[0])


@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_a_gradient_of_higher_rank_is_matched_over_all_its_entries(loss: str) -> None:
    _, batch, update = attack_cases.victims(3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(9)
    noisy = {
        name: value + 0.3 * value.std() * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in update.gradients.items()
    }
    update = replace(update, gradients=noisy)
    assert isinstance(GradientMatching(update, "image").loss.linear["hidden.0"], MatrixTarget)
    inputs = {name: value * 0.8 for name, value in batch.observation.items()}
    assert_equal_to_autograd(update, inputs, "direction", loss, 1e-9)


def test_the_loss_is_zero_at_the_truth_and_resolves_errors_far_below_float32s_cosine() -> None:
    _, batch, update = attack_cases.victims(3)
    signal = ErrorDirection(update.gradients["head.bias"])
    matching = GradientMatching(update, "image")
    at_truth, _ = matching(batch.observation, signal)
    near = {"image": batch.observation["image"], "vector": batch.observation["vector"] + 1e-4}
    beside, _ = matching(near, signal)
    assert (at_truth < 1e-12).all()
    assert (beside > 10 * at_truth).all()
    assert (beside < 1e-6).all()
