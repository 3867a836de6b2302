"""Attacks on transitions that know the victims' defence: what arrived is used as exactly as it did, and no more."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transition_victims import GUESSED, prior_of_world, settings, shared_by

from rlleak.attacks.rounded import rounding_deviation
from rlleak.attacks.transitions.exactness import deviations
from rlleak.attacks.transitions.gradients import SharedGradients
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.pieces import Pieces
from rlleak.attacks.transitions.reading import read
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.attacks.transitions.running import run_together
from rlleak.attacks.transitions.searching import gradient_error
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.transition_prior import nothing_known
from rlleak.sharing.defences import defend
from rlleak.sharing.update import SharedUpdate

PRIOR = prior_of_world()
NOISE = {"method": "gaussian_noise", "relative_deviation": 0.1}
RANDOM = {"method": "random_k", "share": 0.1}
CUT = {
    "a tenth": RANDOM,
    "the largest": {"method": "top_k", "share": 0.05},
    "no biases": {"method": "withheld", "parts": ["biases"]},
    "no first layer": {"method": "withheld", "parts": ["first_layer"]},
    "the head alone": {"method": "withheld", "parts": ["body"]},
    "pruned": {"method": "pruned_representation", "share": 0.5},
}
BLURRED = {
    "noise": NOISE,
    "int8": {"method": "int8"},
    "float16": {"method": "float16"},
    "QSGD": {"method": "qsgd", "levels": 64},
    "signs": {"method": "sign"},
    "clipped, noisy": {"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 0.002},
}


def defended(update: SharedUpdate, truth: dict[str, torch.Tensor], defence: dict) -> SharedUpdate:
    victims, flat = TemporalDifference(update), {name: value.flatten(0, 1) for name, value in truth.items()}
    seen = victims.observation(flat["state"], flat["action"])
    return defend(update, defence, 3, range(len(update)), seen)


def best(update: SharedUpdate, method: str = "transition_best", **changes: object) -> TransitionReconstruction:
    return run_together(update, {"a": settings(method, **changes)}, {"0.3%": PRIOR}, seed=4)["a"]


def missed(found: TransitionReconstruction, truth: dict[str, torch.Tensor], name: str = "state") -> torch.Tensor:
    """Root mean square error of each victim's part, in the prior's deviations, (V,)."""
    scale = PRIOR.state_scale if "state" in name else torch.ones(())
    off = (getattr(found.preferred, name)[:, 0] - truth[name]) / scale
    return off.flatten(1).square().mean(dim=1).sqrt()


@given(st.integers(0, 10**6))
@hypothesis_settings(max_examples=3, deadline=None, derandomize=True)
def test_in_a_piece_of_the_network_every_entry_of_the_gradient_is_linear(seed: int) -> None:
    update, truth = shared_by(2, 2, seed=seed, hidden=(9, 7), dtype=torch.float64)
    victims, pieces = TemporalDifference(update), Pieces.of(update, least=1e-3)
    inputs = torch.cat([truth["state"], truth["action"]], dim=2).double()
    first, second = pieces.normal_equations(inputs[:, None], torch.zeros(2, 1, 2, dtype=torch.long))
    guess = {name: value.double() for name, value in truth.items()}
    error = victims.errors(guess).error.view(2, 2, 1)
    whole = (error * torch.cat([torch.ones(2, 2, 1), inputs], dim=2)).flatten(1)
    left = (
        pieces.square
        - 2 * (whole * second[:, 0]).sum(dim=1)
        + (whole * (first[:, 0] @ whole[..., None])[..., 0]).sum(1)
    )
    assert (left.abs() < 1e-3 * pieces.count).all()


@pytest.mark.parametrize("name", CUT)
def test_whatever_part_of_the_gradient_arrives_tells_the_state(name: str) -> None:
    update, truth = shared_by(4, hidden=(64, 48))
    cut = defended(update, truth, CUT[name])
    adaptive, naive = best(cut), best(cut, adaptive=False)
    assert float(missed(adaptive, truth).median()) < 1e-3
    assert float(missed(adaptive, truth, "reward").median()) < 1e-2
    assert float(missed(adaptive, truth).mean()) < 0.2 * float(missed(naive, truth).mean())
    assert float(adaptive.trust["state_deviation"].median()) < 1e-2


@pytest.mark.parametrize("name", BLURRED)
def test_what_arrives_blurred_is_averaged(name: str) -> None:
    update, truth = shared_by(4, hidden=(64, 48))
    blurred = defended(update, truth, BLURRED[name])
    adaptive, naive = best(blurred), best(blurred, adaptive=False)
    mean = float(missed(adaptive, truth).mean())
    guess = ((truth["state"] - PRIOR.state_mean) / PRIOR.state_scale).square().flatten(1).mean(dim=1).sqrt()
    assert mean < 0.5 * float(guess.mean())
    assert mean < 0.7 * float(missed(naive, truth).mean())
    # What it says of itself is what it is.
    assert 0.3 < mean / float(adaptive.trust["state_deviation"].mean()) < 3


def test_a_head_of_which_no_bias_arrives_leaves_its_values_unknown_and_ends_no_attack() -> None:
    spec, states = NetworkSpec(vector_size=4, hidden=(64, 64), outputs=2, bias=False), torch.randn(2, 6, 4)
    parameters = {name: value.detach() for name, value in build_network(spec, 1).named_parameters()}
    nothing = {name: value.new_zeros(1, *value.shape) for name, value in parameters.items()}
    victims = TemporalDifference(SharedUpdate(spec, parameters, nothing, DQNLoss(gamma=0.99).constants, 1))
    action = torch.nn.functional.one_hot(torch.arange(6) % 2, 2).float()
    truth = {"state": states[0], "action": action, "reward": torch.ones(6), "next_state": states[1]}
    cut = defend(victims.share(truth), {"method": "top_k", "share": 0.01}, 3, range(6))
    found = read(TemporalDifference(cut), 0, None)
    assert found.chosen.isnan().all()
    assert found.error.isnan().all()
    assert torch.equal(found.action[:, 0].argmax(dim=1), action.argmax(dim=1))
    own = run_together(cut, {"a": settings("transition_closed_form")}, {"0.3%": nothing_known("CartPole")}, seed=4)["a"]
    assert own.state.isfinite().all()


def test_noise_as_loud_as_can_be_leaves_what_was_known_before() -> None:
    update, truth = shared_by(32, hidden=(16,))
    loud = defended(update, truth, {"method": "gaussian_noise", "relative_deviation": 30.0})
    found = best(loud)
    usual = ((truth["state"] - PRIOR.state_mean) / PRIOR.state_scale).square().flatten(1).mean(dim=1).sqrt()
    worse = missed(found, truth) - usual
    assert float(worse.mean()) < 2 * float(worse.std()) / 32**0.5 + 0.02
    assert float(found.trust["state_deviation"].min()) > 0.8
    assert float(missed(found, truth).mean()) < 0.5 * float(missed(best(loud, "transition_closed_form"), truth).mean())


def test_clipping_hides_the_error_and_nothing_else() -> None:
    update, truth = shared_by(6)
    norms = torch.stack([value.flatten(1).norm(dim=1) for value in update.gradients.values()]).norm(dim=0)
    norm = float(norms.median())
    clipped = defended(update, truth, {"method": "clipping", "norm": norm})
    found, free = best(clipped), best(update)
    for name in ("state", "action"):
        torch.testing.assert_close(getattr(found, name), getattr(free, name), rtol=1e-3, atol=1e-3)
    # Who was not clipped is as open as before; of the others the usual reward is believed.
    own = missed(found, truth, "reward")
    assert float(own[norms < 0.99 * norm].max()) < 1e-2
    usual = float(PRIOR.transitions["reward"].mean())
    assert torch.allclose(found.reward[norms > 1.01 * norm], torch.tensor(usual), atol=1e-4)


def test_without_a_defence_nothing_changes() -> None:
    update, _ = shared_by(3)
    adaptive, naive = best(update), best(update, adaptive=False)
    for name in GUESSED:
        assert torch.equal(getattr(adaptive, name), getattr(naive, name)), name


def test_matching_leaves_out_what_did_not_arrive() -> None:
    for size in (1, 3):
        update, truth = shared_by(2, size, dtype=torch.float64)
        guess = {name: value[:, None].double() for name, value in truth.items()}
        cut = defended(update, truth, RANDOM)
        assert float(gradient_error(TemporalDifference(cut), guess).max()) < 1e-6
        assert float(gradient_error(TemporalDifference(cut.taken_as_whole()), guess).min()) > 0.5
        other = {name: value + 0.1 for name, value in guess.items()}
        victims = TemporalDifference(cut)
        formed = victims.share({name: value.flatten(0, 2) for name, value in other.items()}).gradients
        apart = sum(((formed[k] - cut.gradients[k]) * cut.known[k]).square().flatten(1).sum(1) for k in formed)
        expected = (apart / sum(value.square().flatten(1).sum(1) for value in cut.gradients.values())).sqrt()
        torch.testing.assert_close(gradient_error(victims, other)[:, 0], expected, rtol=1e-5, atol=1e-7)


def test_a_candidate_is_clipped_as_victims_are() -> None:
    update, truth = shared_by(2, dtype=torch.float64)
    clipped = defended(update, truth, {"method": "clipping", "norm": 0.1})
    guess = {name: value[:, None].double() for name, value in truth.items()}
    assert float(gradient_error(TemporalDifference(clipped), guess).max()) < 1e-6
    assert SharedGradients(clipped.taken_as_whole(), 1).longest is None


def test_step_sizes_are_tried_under_the_defence(monkeypatch: pytest.MonkeyPatch) -> None:
    update, truth = shared_by(2)
    seen = []

    def watched(own: SharedUpdate, *told: object) -> SharedUpdate:
        seen.append((told[0], len(own)))
        return defend(own, *told)

    monkeypatch.setattr("rlleak.attacks.transitions.running.defend", watched)
    asked = {"step_size": None, "candidates": (0.1, 0.3)}
    cut = defended(update, truth, RANDOM)
    best(cut, "rgia", **asked)
    assert seen == [(RANDOM, 8)]
    best(cut, "rgia", adaptive=False, **asked)
    assert seen[1:] == [({"method": "none"}, 8)]


def test_without_any_transitions_of_its_own_the_attacker_reads_all_the_same() -> None:
    update, truth = shared_by(3, hidden=(64, 48))
    cut = defended(update, truth, RANDOM)
    found = run_together(
        cut, {"a": settings("transition_best", prior="none")}, {"none": nothing_known("Hopper")}, seed=4
    )
    assert float(missed(found["a"], truth).median()) < 1e-3


@given(st.floats(1e-3, 0.5), st.integers(0, 100))
@hypothesis_settings(max_examples=4, deadline=None, derandomize=True)
def test_how_exact_an_entry_is_follows_from_the_defence(level: float, seed: int) -> None:
    update, truth = shared_by(1, hidden=(64, 64), seed=seed)
    for defence in (
        {"method": "gaussian_noise", "relative_deviation": level},
        {"method": "composed", "steps": [{"method": "int8"}, {"method": "gaussian_noise", "variance": level**2}]},
        {"method": "qsgd", "levels": max(1, int(1 / level))},
    ):
        blurred = defended(update, truth, defence)
        name = "hidden.1.weight"
        rows = update.gradients["hidden.1.bias"][0] != 0
        off = (blurred.gradients[name] - update.gradients[name])[0][rows]
        said = deviations(blurred)[name].expand_as(update.gradients[name])[0][rows]
        assert 0.4 < float(off.square().mean().sqrt() / said.square().mean().sqrt()) < 1.6, defence


@pytest.mark.parametrize("rounded", ["float16", "int8", "QSGD"])
def test_what_rounding_did_to_a_tensor_follows_from_the_defence(rounded: str) -> None:
    update, truth = shared_by(2, hidden=(64, 64))
    blurred = defended(update, truth, BLURRED[rounded])
    for name in ("hidden.0.weight", "hidden.1.weight"):
        off = (blurred.gradients[name] - update.gradients[name]).double().flatten(1).square().mean(dim=1).sqrt()
        ratio = off / rounding_deviation(blurred, name)
        assert ((ratio > 0.4) & (ratio < 1.6)).all(), ratio
    assert not rounding_deviation(update, name).any()
