"""What algebra reads of transitions: s, a and y; from a residual gradient s' and r too, else as beliefs say."""

import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transition_victims import GUESSED, prior_of_world, settings, shared_by

from rlleak.attacks.transitions.choosing import beside_read, preferred
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read, read
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.attacks.transitions.running import run_together
from rlleak.learners.networks import build_network
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.priors.transition_prior import TransitionPrior, nothing_known
from rlleak.sharing.update import SharedUpdate

METHODS = ("transition_closed_form", "transition_best")


def attacked(
    update: SharedUpdate, prior: TransitionPrior | None = None, **changes: object
) -> dict[str, TransitionReconstruction]:
    asked = {name: settings(name, **changes) for name in METHODS}
    return run_together(update, asked, {"0.3%": prior or prior_of_world()}, seed=4)


def off(found: TransitionReconstruction, truth: dict[str, torch.Tensor], name: str) -> float:
    """Largest error of a component; a batch's samples are matched by their states."""
    largest = 0.0
    for victim in range(len(found)):
        states = torch.cdist(found.state[victim, 0].flatten(1).float(), truth["state"][victim].flatten(1))
        order = states.argmin(dim=1)
        assert sorted(order.tolist()) == list(range(len(order)))
        own, true = getattr(found, name)[victim, 0], truth[name][victim][order]
        largest = max(largest, float((own - true).abs().max()))
    return largest


@given(st.integers(0, 10**6), st.sampled_from([(16,), (48, 40), (24, 24, 24)]))
@hypothesis_settings(max_examples=15, deadline=None, derandomize=True)
def test_state_and_action_are_exact_and_the_model_gives_the_rest(seed: int, hidden: tuple[int, ...]) -> None:
    update, truth = shared_by(1, hidden=hidden, seed=seed)
    for name, found in attacked(update).items():
        assert off(found, truth, "state") < 1e-4, name
        assert off(found, truth, "action") < 1e-4, name
        assert off(found, truth, "next_state") < 1e-3, name
        assert off(found, truth, "reward") < 1e-3, name
        assert float(found.gradient_error.max()) < 1e-4
        assert found.trust["claimed"].tolist() == [1]
        assert found.trust["next_state_read"].tolist() == [0]


@pytest.mark.parametrize("size", [1, 3])
def test_a_residual_gradient_gives_next_state_and_reward_without_any_model(size: int) -> None:
    update, truth = shared_by(3, size, residual=True, hidden=(64, 64), dtype=torch.float64)
    for name, found in attacked(update, replace(nothing_known("Hopper"), amount="0.3%")).items():
        assert found.trust["next_state_read"].tolist() == [1, 1, 1], name
        for component in GUESSED:
            assert off(found, truth, component) < 1e-5, (name, component)


def test_a_batchs_transitions_are_told_apart() -> None:
    update, truth = shared_by(2, 4, hidden=(64, 64), dtype=torch.float64)
    for name, found in attacked(update).items():
        assert found.trust["claimed"].tolist() == [1, 1], name
        for component in GUESSED:
            assert off(found, truth, component) < 1e-3, (name, component)


def test_an_episodes_end_leaves_one_sample_of_a_residual_gradient() -> None:
    update, truth = shared_by(2, residual=True, dtype=torch.float64)
    flat = {name: value[:, 0] for name, value in truth.items()}
    ended = TemporalDifference(update).share(flat | {"terminated": torch.tensor([True, False])})
    found = attacked(ended)["transition_closed_form"]
    assert found.trust["next_state_read"].tolist() == [0, 1]
    assert found.trust["claimed"].tolist() == [1, 1]
    assert off(found, truth, "reward") < 1e-5
    assert off(found, truth, "action") < 1e-5
    assert found.trust["terminated"].tolist() == [1, 0]
    assert float(found.gradient_error.max()) < 1e-6


def test_an_episodes_end_is_what_a_semi_gradients_error_says_when_the_reward_cannot_be_else() -> None:
    update, truth = shared_by(2, dtype=torch.float64)
    flat = {name: value[:, 0] for name, value in truth.items()} | {"reward": torch.zeros(2)}
    ended = TemporalDifference(update).share(flat | {"terminated": torch.tensor([True, False])})
    found = attacked(ended, prior_of_world(reward_range=(0.0, 0.0), held_out_error=0.0))["transition_best"]
    assert found.trust["terminated"].tolist() == [1, 0]
    assert float(found.gradient_error.max()) < 1e-3


def test_what_algebra_leaves_open_is_matched_and_in_the_closed_form_guessed() -> None:
    update, _ = shared_by(2, 2, hidden=(64, 64))
    generator, noisy = torch.Generator().manual_seed(3), {}
    for name, value in update.gradients.items():
        noisy[name] = value + 0.05 * value.std() * torch.randn(value.shape, generator=generator)
    found = attacked(replace(update, gradients=noisy), iterations=300)
    closed, best = (found[name] for name in METHODS)
    assert closed.trust["claimed"].tolist() == [0, 0]
    assert best.trust["matched"].tolist() == [1, 1]
    mean = prior_of_world().state_mean
    torch.testing.assert_close(closed.state, mean.expand_as(closed.state))
    assert float(best.gradient_error.max()) < 0.5 * float(closed.gradient_error.min())


@pytest.mark.parametrize("level", [0.1, 1.0])
def test_what_noise_leaves_is_given_and_not_claimed(level: float) -> None:
    update, truth = shared_by(2)
    generator, noisy = torch.Generator().manual_seed(3), {}
    for name, value in update.gradients.items():
        noisy[name] = value + level * value.std() * torch.randn(value.shape, generator=generator)
    noisy = replace(update, gradients=noisy)
    found = attacked(noisy)
    for name, own in found.items():
        assert own.trust["claimed"].tolist() == [0, 0], name
        assert own.trust["state_seen"].tolist() == [0, 0], name
    closed, best = (found[name] for name in METHODS)
    # Least squares, not the prior's guess.
    mean = prior_of_world().state_mean.expand_as(truth["state"])
    if level < 1:
        missed = [float((side - truth["state"]).square().mean()) for side in (closed.state[:, 0], mean)]
        assert missed[0] < 0.5 * missed[1]
    # Weighed against what is usual, with noise as long as what nothing explains.
    missed = [float((side.state[:, 0] - truth["state"]).square().mean()) for side in (best, closed)]
    assert missed[0] < missed[1]
    assert best.trust["matched"].tolist() == [0, 0]
    # Who takes it all as it is matches, and takes that only where it explains the gradient better.
    naive = attacked(noisy, adaptive=False)["transition_best"]
    assert (naive.gradient_error <= closed.gradient_error + 1e-6).all()
    assert torch.equal(naive.trust["matched"] > 0, (naive.state != closed.state).flatten(1).any(dim=1))


def test_rows_that_were_read_stay_beside_what_is_matched() -> None:
    _, truth = shared_by(1, 3)
    read = {name: value.clone() for name, value in truth.items()}
    given = torch.tensor([[False, True, False]])
    for value in read.values():
        value[0, [0, 2]] = 0
    order = [1, 2, 0]
    matched = {name: value[:, order] + 0.01 for name, value in truth.items()}
    joined = beside_read(read, given, matched, torch.ones(11))
    for name, value in joined.items():
        assert torch.equal(value[0, 1], truth[name][0, 1]), name
        rest = matched[name][0, [1, 2]]  # not the one that is the sample that was read
        torch.testing.assert_close(value[0, [0, 2]], rest, msg=name)


def test_what_matching_does_not_explain_is_not_taken_for_what_a_prior_says() -> None:
    nan = float("nan")
    errors = torch.tensor([[10.3, 0.99, 0.98], [10.3, 0.3, 0.4], [10.3, 0.4, 0.3], [0.1, 0.3, 0.3], [nan, nan, nan]])
    assert preferred(errors).tolist() == [0, 1, 2, 0, 0]


def test_bests_that_differ_in_any_setting_are_each_what_they_are_alone() -> None:
    update, _ = shared_by(2, 2, hidden=(2,))
    asked = {f"best {size}": settings("transition_best", step_size=size, iterations=60) for size in (0.1, 0.3)}
    priors = {"0.3%": prior_of_world()}
    together = run_together(update, asked, priors, seed=4)
    assert all(own.trust["matched"].any() for own in together.values())
    for name, own in asked.items():
        alone = run_together(update, {name: own}, priors, seed=4)[name]
        for component in GUESSED:
            assert torch.equal(getattr(together[name], component), getattr(alone, component)), (name, component)


def test_each_attack_that_reads_takes_the_time_of_reading(monkeypatch) -> None:
    def slow(*told: object) -> Read:
        time.sleep(0.5)
        return read(*told)

    update, _ = shared_by(1)
    monkeypatch.setattr("rlleak.attacks.transitions.running.read", slow)
    for name, found in attacked(update).items():
        assert found.metadata["seconds_per_victim"] >= 0.5, name


def test_a_reward_outside_its_range_is_the_next_states_doing() -> None:
    update, truth = shared_by(6)
    vague = prior_of_world(reward_range=(-0.1, 0.1), held_out_error=0.5)
    found = attacked(update, vague)
    best, closed = found["transition_best"], found["transition_closed_form"]
    assert float(best.reward.abs().max()) <= 0.1 + 1e-6
    assert float(closed.reward.abs().max()) > 0.1
    # However it is shared out between r and s', Bellman's equation holds.
    assert float(best.gradient_error.max()) < 1e-3
    assert off(best, truth, "state") < 1e-4


def test_how_unsure_f_is_its_owner_learns_from_transitions_of_its_own() -> None:
    update, truth = shared_by(6)
    vague = prior_of_world(held_out_error=0.5)
    best, nothing_tried = (
        attacked(update, prior)["transition_best"] for prior in (vague, replace(vague, transitions={}))
    )
    assert off(best, truth, "reward") < 1e-3
    assert off(nothing_tried, truth, "reward") > 1e-2


def test_an_image_is_peeled_and_followed_by_the_model() -> None:
    spec = NetworkSpec(
        image_shape=(4, 84, 84),
        convolutions=(Convolution(channels=24, kernel=8, stride=4), Convolution(channels=24, kernel=4, stride=2)),
        hidden=(64,),
        outputs=6,
    )
    network = build_network(spec, 0)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    nothing = {name: value.new_zeros(1, *value.shape) for name, value in parameters.items()}
    server = SharedUpdate(spec, parameters, nothing, {"kind": "dqn", "gamma": 0.99})
    generator = torch.Generator().manual_seed(0)
    state = torch.nn.functional.interpolate(torch.rand(1, 4, 6, 6, generator=generator), (84, 84), mode="bilinear")
    action = torch.eye(6)[3:4]
    truth = {"state": state, "next_state": state.roll(-1, dims=1), "action": action, "reward": torch.ones(1)}
    update = TemporalDifference(server).share(truth)
    prior = replace(nothing_known("Pong"), amount="0.3%")
    found = run_together(update, {"a": settings("transition_closed_form")}, {"0.3%": prior}, seed=1)["a"]
    assert float((found.state[0, 0] - state).square().mean()) < 1e-3
    assert torch.equal(found.action[0, 0], action)
    assert found.trust["model_learnt"].tolist() == [0]
    assert torch.equal(found.next_state[0, 0, 0, :3], found.state[0, 0, 0, 1:])
