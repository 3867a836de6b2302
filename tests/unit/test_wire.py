"""What arrives of a gradient: an optimiser's step undone, and rounding that is noticed."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from modules import q_network, transitions

import rlleak
from rlleak.errors import ConfigurationError
from rlleak.sharing.wire import Wire


@given(st.floats(1e-5, 1), st.integers(0, 99), st.sampled_from(["step", "weight_difference"]))
@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
def test_sgds_step_gives_the_gradient_back(rate: float, seed: int, form: str) -> None:
    network, batch = q_network().double(), transitions(1, seed=seed)
    plain = rlleak.share(network, "dqn", batch)
    options = {"weight_decay": 0.01}
    sent = rlleak.share(network, "dqn", batch, form=form, learning_rate=rate, options=options)
    for name, gradient in plain.gradients.items():
        torch.testing.assert_close(sent.gradients[name], gradient, rtol=1e-6, atol=1e-9 / rate * 1e-6 + 1e-12)


@pytest.mark.parametrize("changes", [{"maximize": True}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_sgds_other_options_change_neither_sign_nor_size_of_what_is_read(changes: dict) -> None:
    network, batch = q_network().double(), transitions(1)
    plain = rlleak.share(network, "dqn", batch)
    sent = rlleak.share(network, "dqn", batch, form="step", options={"weight_decay": 0.01} | changes)
    for name, gradient in plain.gradients.items():
        torch.testing.assert_close(sent.gradients[name], gradient)
    target = rlleak.attack("closed_form", sent).target_q
    torch.testing.assert_close(target, rlleak.attack("closed_form", plain).target_q)


@pytest.mark.parametrize("optimiser", ["Adam", "AdamW"])
@pytest.mark.parametrize("changes", [{}, {"maximize": True}, {"maximize": True, "weight_decay": 0.02}])
def test_adams_other_options_change_neither_sign_nor_size_of_what_is_read(optimiser: str, changes: dict) -> None:
    network, batch = q_network().double(), transitions(1)
    plain = rlleak.share(network, "dqn", batch)
    sent = rlleak.share(network, "dqn", batch, form="step", optimiser=optimiser, options={"eps": 1.0} | changes)
    for name, gradient in plain.gradients.items():
        torch.testing.assert_close(sent.gradients[name], gradient, rtol=1e-5, atol=1e-7)


def test_adams_first_step_gives_the_gradient_back_where_its_epsilon_is_not_tiny() -> None:
    network, batch = q_network(), transitions(1)
    plain = rlleak.share(network, "dqn", batch)
    sent = rlleak.share(network, "dqn", batch, form="step", optimiser="Adam", options={"eps": 1e-5})
    for name, gradient in plain.gradients.items():
        torch.testing.assert_close(sent.gradients[name], gradient, rtol=2e-2, atol=1e-7)
    small = rlleak.share(network, "dqn", batch, form="step", optimiser="Adam")
    # With the usual epsilon little more than the sign is left, of large entries at least.
    large = plain.gradients["head.bias"].abs() > 1e-2
    apart = small.gradients["head.bias"][large] / plain.gradients["head.bias"][large]
    assert (apart > 0).all()
    assert ((apart - 1).abs() > 0.1).any()


def test_an_optimisers_step_is_torchs() -> None:
    network, batch = q_network(), transitions(2)
    update = rlleak.share(network, "dqn", batch, form="weight_difference", optimiser="AdamW", learning_rate=0.01)
    twin = q_network()
    optimiser = torch.optim.AdamW(twin.parameters(), lr=0.01)
    gradients = rlleak.share(network, "dqn", batch).sent
    for name, parameter in twin.named_parameters():
        parameter.grad = gradients[name][0]
    before = {name: value.detach().clone() for name, value in twin.named_parameters()}
    optimiser.step()
    for name, value in twin.named_parameters():
        torch.testing.assert_close(update.sent[name][0], (value - before[name]).detach())


def test_float16_on_the_wire_is_rounding_that_the_attack_flags() -> None:
    network, batch = q_network(), transitions(1)
    update = rlleak.share(network, "dqn", batch, precision="float16")
    assert all(torch.equal(value, value.half().float()) for value in update.sent.values())
    found = rlleak.attack("closed_form", update)
    assert found.trust["noise"].all()
    torch.testing.assert_close(found.vector, batch["obs"], rtol=5e-3, atol=5e-3)
    with pytest.raises(ConfigurationError, match="overflows float16"):
        rlleak.share(network, "dqn", batch | {"rewards": torch.full((1,), 1e7)}, precision="float16")


def test_a_wire_can_be_written_down() -> None:
    assert Wire(form="step", optimiser="Adam", options={"eps": 1e-5}).description["options"] == {"eps": 1e-5}
    assert dataclasses.asdict(Wire()) == Wire().description


@pytest.mark.parametrize(
    "how",
    [
        {"defence": "sign"},
        {"defence": "int8"},
        {"defence": {"method": "qsgd", "levels": 4}},
        {"precision": "float16"},
        {"form": "weight_difference", "learning_rate": 1e-6},
        {"form": "step", "optimiser": "Adam"},
        {"form": "step", "optimiser": "RMSprop"},
    ],
)
def test_of_a_single_row_that_is_no_exact_gradient_the_attack_says_so_though_nothing_contradicts_it(how: dict) -> None:
    torch.manual_seed(0)
    network, seen = torch.nn.Linear(6, 3), torch.rand(1, 6) * 2 - 1
    update = rlleak.share(network, "dqn", {"observation": seen, "action": [1], "target": [0.7]}, **how)
    found = rlleak.attack("closed_form", update)
    assert (found.vector - seen).norm() > 1e-5 * seen.norm()
    assert found.trust["assumption_failed"].all()
    exact = rlleak.attack("closed_form", rlleak.share(network, "dqn", {"obs": seen, "action": [1], "target": [0.7]}))
    assert exact.trust["unchecked"].all()
    assert not exact.trust["assumption_failed"].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_signs_of_a_network_in_half_precision_are_no_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)).to(dtype)
    batch = {"observation": torch.rand(1, 6) * 2 - 1, "action": [1], "target": [0.7]}
    plain, signs = (rlleak.share(network, "dqn", batch, defence=defence) for defence in (None, "sign"))
    assert not rlleak.attack("closed_form", plain).trust["assumption_failed"].any()
    assert rlleak.attack("closed_form", signs).trust["assumption_failed"].all()
