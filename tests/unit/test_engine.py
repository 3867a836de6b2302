"""Gradient matching: the written-out passes equal autograd, and work survives being cut, killed and starved."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from rlleak.attacks import ATTACKS, METHODS, checkpoints
from rlleak.attacks.convolution import BlockConvolution
from rlleak.attacks.optimisation import EPSILON, Variable, minimise, step_share
from rlleak.attacks.passes import GradientMatching
from rlleak.attacks.qgi import qgi
from rlleak.attacks.running import victim_bytes
from rlleak.attacks.signals import ErrorDirection, SquaredError
from rlleak.attacks.targets import FactoredTarget, MatrixTarget, linear_target
from rlleak.attacks.variation import add_derivative, total_variation
from rlleak.attacks.weights import Weight
from rlleak.configuration.attacks import StageSettings
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError, ResourceError
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
    if any(update.gradients["head.weight"].flatten(1).norm(dim=1) == 0):
        return
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
    kernels = layer.from_taps(layer.kernel_gradients(blocks, rows))
    for victim in range(2):
        _, own = torch.autograd.functional.vjp(
            lambda w, x=image[victim : victim + 1]: torch.nn.functional.conv2d(x, w, stride=stride),
            weight,
            error[victim : victim + 1],
        )
        torch.testing.assert_close(kernels[victim], own)


def test_a_linear_gradient_of_one_transition_is_kept_as_factors_and_a_noisy_one_as_it_came() -> None:
    _, _, update = attack_cases.victims(3)
    weight, bias = update.gradients["hidden.0.weight"], update.gradients["hidden.0.bias"]
    assert isinstance(linear_target(weight, bias), FactoredTarget)
    noisy = weight + 1e-3 * weight.std() * torch.randn_like(weight)
    assert isinstance(linear_target(noisy, bias), MatrixTarget)


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


@pytest.mark.parametrize("channels", [4, 1])
def test_total_variation_has_the_derivative_it_says_and_counts_depth_apart(channels: int) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, channels, 6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(total_variation(image).sum(), image)
    found = add_derivative(image.detach(), 0.5, torch.ones_like(image))
    torch.testing.assert_close(found, 1 + 0.5 * expected)
    flat = torch.zeros(1, 4, 6, 6)
    flat[:, 3, :, ::2] = 1.0
    assert float(total_variation(flat)) == pytest.approx(1.0, abs=3e-3)


@pytest.mark.parametrize(
    ("schedule", "last"), [("constant", 1.0), ("cosine", 0.01), ("exponential", 0.01), ("steps", 1e-3)]
)
def test_a_schedule_goes_from_the_whole_step_to_its_end_whatever_the_length(schedule: str, last: float) -> None:
    for iterations in (10, 1000):
        stage = StageSettings(schedule=schedule, final_step=0.01, iterations=iterations)
        shares = [step_share(stage, iteration) for iteration in range(iterations)]
        assert shares[0] == 1.0
        assert shares[-1] == pytest.approx(last)
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("optimiser", ["adam", "signed_adam"])
def test_steps_are_those_of_adam_as_torch_has_it_and_stay_in_the_box(optimiser: str) -> None:
    generator = torch.Generator().manual_seed(6)
    target = torch.rand(3, 4, 5, 6, generator=generator) * 2 - 0.5
    start = torch.rand(3, 4, 5, 6, generator=generator)
    stage = StageSettings(optimiser=optimiser, step_size=0.05, schedule="constant", iterations=30)
    plain = start.clone().requires_grad_()
    reference = torch.optim.Adam([plain], lr=0.05, betas=(stage.momentum, 0.999), eps=EPSILON)
    best = torch.full((3,), torch.inf)
    for _ in range(30):
        difference = (plain - target).detach()
        best = torch.minimum(best, difference.square().flatten(1).sum(dim=1))
        plain.grad = difference.sign() if optimiser == "signed_adam" else difference
        reference.step()
        plain.data.clamp_(0, 1)

    def evaluate(values):
        difference = values["image"] - target
        return difference.square().flatten(1).sum(dim=1), {"image": difference}

    variables = {"image": Variable(start, bounds=(0.0, 1.0))}
    found, loss = minimise(evaluate, variables, stage, "work", checkpoints.Checkpoint(None, ""))
    torch.testing.assert_close(loss, best)
    assert float(found["image"].min()) >= 0
    assert float(found["image"].max()) <= 1


def test_the_best_of_each_row_is_kept_though_later_ones_are_worse_or_not_numbers() -> None:
    losses = iter(torch.tensor([[3.0, 1.0], [2.0, torch.nan], [4.0, torch.inf]]))
    values = iter(torch.tensor([[30.0, 10.0], [20.0, torch.nan], [40.0, torch.nan]]))

    def evaluate(current):
        current["x"].copy_(next(values)[:, None])
        return next(losses), {"x": torch.zeros(2, 1)}

    stage = StageSettings(step_size=0.1, iterations=3)
    found, loss = minimise(
        evaluate, {"x": Variable(torch.zeros(2, 1))}, stage, "work", checkpoints.Checkpoint(None, "")
    )
    assert loss.tolist() == [2.0, 1.0]
    assert found["x"].flatten().tolist() == [20.0, 10.0]


class KilledError(Exception):
    """Stands for the signal that kills a job."""


@pytest.mark.parametrize("stage", ["vector", "image"])
def test_a_resumed_attack_gives_the_same_bytes_as_an_uninterrupted_one(stage, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    _, _, update = attack_cases.victims(3)
    chosen = attack_cases.settings("qgi", iterations=20)
    whole = qgi(update, chosen, seed=4)
    done = []

    def kill(name: str, iteration: int, total: int, loss: float) -> None:
        done.append(name)
        if name.startswith(stage) and iteration == 15:
            raise KilledError

    path = tmp_path / "work.safetensors"
    with pytest.raises(KilledError):
        qgi(update, chosen, seed=4, checkpoint=path, progress=kill)
    before = len(done)
    resumed = qgi(update, chosen, seed=4, checkpoint=path, progress=lambda name, *rest: done.append(name))
    assert len(done) - before < 40 - 12, "the work was done again from the start"
    for name, value in whole.components.items():
        assert torch.equal(value, resumed.components[name]), name
    for name, value in whole.trust.items():
        assert torch.equal(value, resumed.trust[name]), name


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_checkpoint_of_other_work_or_a_broken_one_is_ignored(content, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    _, _, update = attack_cases.victims(2)
    path = tmp_path / "work.safetensors"
    if content is None:
        qgi(update, attack_cases.settings("qgi", iterations=5), seed=5, checkpoint=path)
        assert path.is_file()
    else:
        path.write_bytes(content)
    chosen = attack_cases.settings("qgi", iterations=5)
    found = qgi(update, chosen, seed=4, checkpoint=path)
    assert torch.equal(found.image, qgi(update, chosen, seed=4).image)


def test_results_do_not_depend_on_how_victims_are_cut() -> None:
    _, _, update = attack_cases.victims(5)
    chosen = attack_cases.settings("qgi", iterations=10, restarts=2)
    whole = qgi(update, chosen, seed=4)
    shared = sum(value.numel() * 4 for value in update.parameters.values())
    cut = qgi(update, chosen, seed=4, memory_limit=shared + 2 * victim_bytes(update, chosen))
    alone = qgi(update.select(slice(3, 4)), chosen, seed=4)
    torch.testing.assert_close(cut.vector, whole.vector, rtol=0, atol=1e-3)
    torch.testing.assert_close(alone.vector, whole.vector[3:4], rtol=0, atol=1e-3)
    # Adam's first steps have one size, so a pixel whose derivative is all rounding may go either way.
    assert float((cut.image - whole.image).abs().mean()) < 1e-3


def test_the_restart_of_lowest_matching_loss_wins() -> None:
    _, _, update = attack_cases.victims(3)
    single = qgi(update, attack_cases.settings("qgi", iterations=15), seed=4)
    several = qgi(update, attack_cases.settings("qgi", iterations=15, restarts=4), seed=4)
    assert (several.trust["matching_loss_vector"] <= single.trust["matching_loss_vector"] * 1.001).all()
    assert (several.trust["matching_loss_vector"] < single.trust["matching_loss_vector"] * 0.999).any()


def test_too_little_memory_for_one_victim_is_said_in_one_line() -> None:
    _, _, update = attack_cases.victims(2)
    with pytest.raises(ResourceError, match="raise memory_limit_gb") as caught:
        qgi(update, attack_cases.settings("qgi"), seed=4, memory_limit=1000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [name for name in ATTACKS if name != "prior_only"])
def test_a_victim_that_shared_nothing_is_flagged_and_harms_nobody(method: str) -> None:
    _, _, update = attack_cases.victims(2, METHODS[method].learners[0])
    gradients = {name: value.clone() for name, value in update.gradients.items()}
    for value in gradients.values():
        value[0] = 0
    chosen = attack_cases.settings(method, iterations=5)
    found = ATTACKS.load(method)(replace(update, gradients=gradients), chosen, seed=4)
    assert found.trust["zero_update"].tolist() == [1, 0]
    for name, value in {**found.components, **found.trust}.items():
        # Nothing known about a layer has an infinite condition.
        assert not value.isnan().any() if name.startswith("condition_") else torch.isfinite(value.float()).all(), name
    sound = ATTACKS.load(method)(update, chosen, seed=4)
    torch.testing.assert_close(found.vector[1], sound.vector[1], rtol=0, atol=1e-3)


def test_an_attack_refuses_what_it_cannot_take() -> None:
    _, _, reinforce = attack_cases.victims(2, "reinforce")
    with pytest.raises(ConfigurationError, match="takes dqn updates, not reinforce"):
        qgi(reinforce, attack_cases.settings("qgi"), seed=4)
    _, _, update = attack_cases.victims(2)
    with pytest.raises(ConfigurationError, match="over one transition, not 2"):
        qgi(replace(update, batch_size=2), attack_cases.settings("qgi"), seed=4)
    untuned = attack_cases.settings("qgi").with_stage("image", step_size=None)
    with pytest.raises(ConfigurationError, match=r"image\.step_size is not set"):
        qgi(update, untuned, seed=4)
    _, _, biasless = attack_cases.victims(2, spec=attack_cases.SMALL.model_copy(update={"bias": False}))
    with pytest.raises(ConfigurationError, match="the network has none"):
        qgi(biasless, attack_cases.settings("qgi"), seed=4)


def test_settings_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValidationError, match="did you mean 'step_size'"):
        StageSettings(step_sise=0.1)
    for wrong in (
        {"step_size": 0},
        {"iterations": 0},
        {"candidates": (0.1, -1)},
        {"optimiser": "sgd"},
        {"final_step": 2},
    ):
        with pytest.raises(ValidationError):
            StageSettings(**wrong)
