"""Attackers who know the defence: what did not arrive is unknown to them, not 0."""

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import rlleak
from rlleak.attacks import ATTACKS
from rlleak.attacks.completion import complete_linear
from rlleak.attacks.passes import GradientMatching
from rlleak.attacks.signals import ErrorDirection
from rlleak.configuration.defences import defence_settings
from rlleak.learners.networks import load_network
from rlleak.sharing.defences import defend
from rlleak.sharing.update import SharedUpdate

few = hypothesis_settings(max_examples=20, deadline=None, derandomize=True)


def defended(update: SharedUpdate, batch, *steps) -> SharedUpdate:
    return defend(update, defence_settings(list(steps)), 1, range(len(update)), batch.observation)


def run(method: str, update: SharedUpdate, iterations: int = 30, **changes):
    settings = attack_cases.settings(method, iterations, **changes)
    return ATTACKS.load(method)(update, settings, seed=0)


@few
@given(st.integers(0, 999), st.floats(0.4, 1.0), st.booleans())
def test_factors_follow_from_the_entries_that_arrived(seed: int, share: float, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    delta, inputs = (torch.randn(2, size, generator=generator, dtype=torch.float64) for size in (20, 30))
    weight, bias = delta[:, :, None] * inputs[:, None], delta if with_bias else None
    known = torch.rand(weight.shape, generator=generator) < share
    found_delta, found_input, residual, *_ = complete_linear(weight * known, bias, known, None)
    reached = (known.sum(dim=1) > 0) & bool(known.sum(dim=2).min() > 0)
    if with_bias:
        torch.testing.assert_close(found_input * reached, inputs * reached, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found_delta, delta, rtol=1e-5, atol=1e-6)
    else:
        product = found_delta[:, :, None] * found_input[:, None]
        torch.testing.assert_close(product * reached[:, None], weight * reached[:, None], rtol=1e-5, atol=1e-6)
    assert float(residual.max()) < 1e-6


def test_random_entries_hide_nothing_from_who_knows_which_they_are() -> None:
    _, batch, update = attack_cases.victims(3)
    sparse = defended(update, batch, {"method": "random_k", "share": 0.5})
    adaptive, naive = run("closed_form", sparse), run("closed_form", sparse, adaptive=False)
    torch.testing.assert_close(adaptive.vector, batch.observation["vector"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(adaptive.target_q, batch.target, rtol=1e-2, atol=1e-2)
    assert torch.equal(adaptive.action, batch.action)
    assert float((naive.vector - batch.observation["vector"]).abs().mean()) > 0.05


@pytest.mark.parametrize("learner", ["dqn", "reinforce"])
def test_withheld_biases_are_replaced_by_the_networks_own(learner: str) -> None:
    _, batch, update = attack_cases.victims(3, learner)
    shared = defended(update, batch, {"method": "withheld", "parts": ["biases"]})
    found = run("closed_form", shared)
    torch.testing.assert_close(found.vector, batch.observation["vector"], rtol=1e-3, atol=1e-3)
    assert torch.equal(found.action, batch.action)
    assert not found.trust["no_bias"].any()
    if learner == "dqn":
        torch.testing.assert_close(found.target_q, batch.target, rtol=1e-3, atol=1e-3)
    else:
        torch.testing.assert_close(found.reward, batch.reward, rtol=1e-3, atol=1e-3)


def test_a_withheld_first_layer_hides_no_vector() -> None:
    _, batch, update = attack_cases.victims(3)
    shared = defended(update, batch, {"method": "withheld", "parts": ["first_layer"]})
    adaptive, naive = run("closed_form", shared), run("closed_form", shared, adaptive=False)
    torch.testing.assert_close(adaptive.vector, batch.observation["vector"], rtol=1e-3, atol=1e-3)
    assert not naive.vector.any()


def test_of_the_head_alone_values_are_left_and_no_vector_is_claimed() -> None:
    _, batch, update = attack_cases.victims(3)
    found = run("closed_form", defended(update, batch, {"method": "withheld", "parts": ["body"]}))
    torch.testing.assert_close(found.target_q, batch.target, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.action, batch.action)
    assert found.trust["assumption_failed"].all()
    assert found.trust["entries_unknown"].all()


@pytest.mark.parametrize(
    "step",
    [
        {"method": "random_k", "share": 0.3},
        {"method": "top_k", "share": 0.05},
        {"method": "withheld", "parts": ["biases"]},
        {"method": "withheld", "parts": ["first_layer"]},
        {"method": "withheld", "parts": ["body"]},
        {"method": "pruned_representation", "share": 0.5},
    ],
    ids=lambda step: f"{step['method']} {step.get('parts', '')}",
)
@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_the_distance_is_over_what_arrived_and_its_slope_is_autograds(step: dict, loss: str) -> None:
    _, batch, update = attack_cases.victims(2, dtype=torch.float64)
    shared = defended(update, batch, step)
    rows = torch.tensor([0, 0, 1, 1])
    generator = torch.Generator().manual_seed(3)
    inputs = {
        "image": torch.rand(4, 4, 16, 16, generator=generator, dtype=torch.float64),
        "vector": torch.rand(4, 4, generator=generator, dtype=torch.float64) - 0.5,
    }
    error = update.gradients["head.bias"][rows]
    value, slopes = GradientMatching(shared, "image", loss, rows)(inputs, ErrorDirection(error))
    network = load_network(shared.architecture, shared.parameters)
    for candidate, victim in enumerate(rows.tolist()):
        own = {name: part[candidate : candidate + 1].clone().requires_grad_() for name, part in inputs.items()}
        objective = (network(own) * error[candidate]).sum()
        gradients = torch.autograd.grad(objective, list(network.parameters()), create_graph=True)
        dots = torch.zeros(3, dtype=torch.float64)
        for (name, _), gradient in zip(network.named_parameters(), gradients, strict=True):
            mask = shared.known[name][victim] if name in shared.known else torch.ones_like(gradient)
            mine, theirs = gradient * mask, shared.gradients[name][victim]
            dots = dots + torch.stack([(mine * mine).sum(), (mine * theirs).sum(), (theirs * theirs).sum()])
        own_square, common, square = dots
        expected = (
            1 - common / (own_square * square).sqrt() if loss == "cosine" else 1 + (own_square - 2 * common) / square
        )
        assert float(value[candidate]) == pytest.approx(float(expected.detach()), rel=1e-6, abs=1e-9)
        for name, slope in zip(own, torch.autograd.grad(expected, list(own.values())), strict=True):
            torch.testing.assert_close(slopes[name][candidate], slope[0], rtol=1e-5, atol=1e-9)


def test_matching_finds_the_image_when_it_knows_what_arrived() -> None:
    _, batch, update = attack_cases.victims(2)
    shared = defended(update, batch, {"method": "random_k", "share": 0.5})
    truth = batch.observation["image"]

    def distance(**changes) -> float:
        found = run("qgi", shared, 300, tv_weight=0.0, **changes)
        return float((found.image - truth).square().mean())

    assert distance() < 0.7 * distance(adaptive=False)


@pytest.mark.parametrize("method", ["closed_form", "qgi", "peel", "best", "prior_only"])
def test_every_attack_ends_under_every_kind_of_missing_entries(method: str) -> None:
    _, batch, update = attack_cases.victims(2)
    public = {name: value.roll(1, 0) for name, value in batch.observation.items()}
    steps = (
        {"method": "random_k", "share": 0.1},
        {"method": "top_k", "share": 0.01},
        {"method": "withheld", "parts": ["biases", "first_layer"]},
        {"method": "withheld", "parts": ["body"]},
        {"method": "pruned_representation", "share": 1.0},
        {"method": "sign"},
    )
    for step in steps:
        settings = attack_cases.settings(method, 3)
        knowledge = {"public": public} if method == "prior_only" else {}
        found = ATTACKS.load(method)(defended(update, batch, step), settings, seed=0, knowledge=knowledge)
        for component in ("image", "vector", "target_q"):
            value = getattr(found, component, None)
            assert value is None or bool(torch.isfinite(value).all()), (step, component)


def test_a_users_module_is_attacked_by_who_knows_the_defence() -> None:
    from modules import q_network, transitions

    network, batch = q_network(), transitions(1)
    update = rlleak.share(network, "dqn", batch, defence={"method": "withheld", "parts": ["biases"]})
    plain = rlleak.attack("closed_form", rlleak.share(network, "dqn", batch))
    torch.testing.assert_close(rlleak.attack("closed_form", update).vector, plain.vector, rtol=1e-3, atol=1e-3)
