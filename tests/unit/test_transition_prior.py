"""What the attacker knows of transitions: penalties that RGIA adds, and a model of the dynamics."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transition_worlds import HOPPER_ACTION, HOPPER_STATE, linear_world

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.priors.dynamics import ImageDynamics, TableDynamics, VectorDynamics, unchanged
from rlleak.priors.transition_prior import TransitionPrior, nothing_known

torch.set_num_threads(1)


def hopper_prior(count: int = 400) -> TransitionPrior:
    world = linear_world(count)
    dynamics = VectorDynamics(HOPPER_STATE, HOPPER_ACTION, width=8)
    dynamics.fit_affine(world["state"], world["action"], world["next_state"], ridge=1e-9)
    return TransitionPrior(
        "Hopper",
        "0.3%",
        state_mean=world["state"].mean(dim=0),
        state_covariance=torch.cov(world["state"].T),
        reward_range=(-1.0, 2.0),
        reward_deviation=0.5,
        transitions=linear_world(5, seed=3) | {"reward": torch.arange(5.0), "terminated": torch.zeros(5).bool()},
        dynamics=dynamics,
        dynamics_shape={"kind": "vector", "state_size": HOPPER_STATE, "action_size": HOPPER_ACTION, "width": 8},
        held_out_error=0.1,
        no_change_error=1.0,
        metadata={"seed": 3},
    )


def pong_prior() -> TransitionPrior:
    generator = torch.Generator().manual_seed(0)
    shape = (4, 84, 84)
    dynamics = ImageDynamics(shape, 6, stacked=True, width=4)
    torch.nn.init.normal_(dynamics.tail.weight, generator=generator)
    frames = torch.randint(256, (2, *shape), generator=generator) / 255
    return TransitionPrior(
        "Pong",
        "100",
        state_mean=torch.rand(shape, generator=generator),
        state_covariance=0.1 + torch.rand(shape, generator=generator),
        transitions={"state": frames, "next_state": frames.flip(0), "action": torch.eye(6)[:2]},
        dynamics=dynamics,
        dynamics_shape={"kind": "image", "image_shape": list(shape), "action_size": 6, "stacked": True, "width": 4},
        held_out_error=0.1,
        no_change_error=1.0,
    )


PRIORS = {"vectors": hopper_prior, "images": pong_prior}


def same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS)
def test_penalties_are_the_same_one_by_one_and_over_any_leading_dimensions(make) -> None:
    prior, generator = make(), torch.Generator().manual_seed(1)
    actions = 3 if prior.environment == "Hopper" else 6
    state, next_state = (torch.rand(2, 3, 1, *prior.state_shape, generator=generator) for _ in range(2))
    action = torch.rand(2, 3, 1, actions, generator=generator)
    assert prior.predict(state, action).shape == state.shape
    together = prior.state_penalty(state), prior.dynamics_penalty(state, action, next_state)
    assert [tuple(penalty.shape) for penalty in together] == [(2, 3, 1)] * 2
    one = state[1, 2, 0], action[1, 2, 0], next_state[1, 2, 0]
    assert same(prior.state_penalty(one[0]), together[0][1, 2, 0])
    assert same(prior.dynamics_penalty(*one), together[1][1, 2, 0])


@pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS)
def test_a_penalty_has_gradients_in_state_action_and_next_state_and_none_in_the_model(make) -> None:
    prior = make()
    actions = 3 if prior.environment == "Hopper" else 6
    parts = [torch.rand(2, *prior.state_shape), torch.rand(2, actions), torch.rand(2, *prior.state_shape)]
    for part in parts:
        part.requires_grad_()
    (prior.dynamics_penalty(*parts) + prior.state_penalty(parts[0])).sum().backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in parts)
    assert not any(parameter.requires_grad for parameter in prior.dynamics.parameters())


def test_states_of_the_prior_have_a_penalty_of_1_on_average_and_the_mean_has_none() -> None:
    prior = hopper_prior(4000)
    assert prior.state_penalty(prior.state_mean) == 0
    assert float(prior.state_penalty(linear_world(4000, seed=5)["state"]).mean()) == pytest.approx(1, abs=0.05)


@given(reward=st.floats(-50, 50))
def test_rewards_inside_their_range_cost_nothing_and_outside_the_square_of_their_distance(reward: float) -> None:
    distance = max(-1.0 - reward, reward - 2.0, 0.0)
    assert float(RANGED.reward_penalty(torch.tensor(reward, dtype=torch.float64))) == pytest.approx(distance**2)


RANGED = replace(nothing_known("Hopper"), reward_range=(-1.0, 2.0))


def test_the_model_of_a_linear_world_is_that_world() -> None:
    prior, unseen = hopper_prior(), linear_world(50, seed=9)
    assert same(prior.predict(unseen["state"], unseen["action"]), unseen["next_state"])
    assert float(prior.dynamics_penalty(**unseen).max()) < 1e-8
    assert float(prior.dynamics_penalty(**unseen | {"next_state": unseen["state"]}).min()) > 1e-3


def test_a_model_that_is_no_better_than_no_change_is_not_used() -> None:
    prior = replace(hopper_prior(), held_out_error=1.0)
    unseen = linear_world(3, seed=9)
    assert not prior.learnt
    assert torch.equal(prior.predict(unseen["state"], unseen["action"]), unseen["state"])
    assert prior.dynamics_penalty(**unseen).tolist() == [0, 0, 0]


def test_the_next_stack_of_frames_begins_with_the_last_three_of_this_one() -> None:
    prior, state = pong_prior(), torch.rand(2, 4, 84, 84)
    predicted = prior.predict(state, torch.eye(6)[:2])
    assert torch.equal(predicted[:, :3], state[:, 1:])
    assert not same(predicted[:, 3], state[:, 3])
    assert torch.equal(unchanged(state, stacked=True)[:, 3], state[:, 3])
    assert torch.equal(unchanged(state, stacked=False), state)


def test_a_table_counts_what_it_saw_and_leaves_the_rest_where_it_is() -> None:
    places, moves = torch.eye(4), torch.eye(2)
    table = TableDynamics(4, 2)
    table.fit(places[[0, 0, 0, 1]], moves[[0, 0, 0, 1]], places[[1, 1, 2, 1]])
    assert same(table(places[:1], moves[:1]), torch.tensor([[0, 2 / 3, 1 / 3, 0]]))
    assert same(table(places[3:], moves[:1]), places[3:])
    assert same(table(places[:1], torch.tensor([[0.5, 0.5]])), torch.tensor([[0.5, 1 / 3, 1 / 6, 0]]))


@pytest.mark.parametrize("make", [*PRIORS.values(), lambda: nothing_known("CarRacing")], ids=[*PRIORS, "nothing"])
def test_a_prior_that_is_saved_is_the_same_when_it_is_loaded(make, tmp_path: Path) -> None:
    prior, path = make(), tmp_path / "prior.safetensors"
    prior.save(path)
    loaded = TransitionPrior.load(path)
    for name in ("environment", "amount", "reward_range", "held_out_error", "no_change_error", "learnt", "metadata"):
        assert getattr(loaded, name) == getattr(prior, name)
    assert set(loaded.transitions) == set(prior.transitions)
    assert all(torch.equal(loaded.transitions[name], tensor) for name, tensor in prior.transitions.items())
    state, action = torch.rand(3, *prior.state_shape), torch.rand(3, 3 if prior.environment == "Hopper" else 6)
    assert torch.equal(loaded.predict(state, action), prior.predict(state, action))
    assert torch.equal(loaded.state_penalty(state), prior.state_penalty(state))


def test_half_a_prior_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    hopper_prior().save(path)
    tensors, described = read_tensors(path, "transition prior")
    del tensors["dynamics/affine.weight"]
    write_tensors(path, "transition prior", tensors, described)
    with pytest.raises(CorruptArtefactError, match="holds no whole prior") as refused:
        TransitionPrior.load(path)
    assert "\n" not in str(refused.value)


def test_beliefs_in_another_precision_leave_the_first_as_they_were() -> None:
    prior, unseen = hopper_prior(), linear_world(3, seed=9)
    double = prior.to(dtype=torch.float64)
    predicted = double.predict(unseen["state"].double(), unseen["action"].double())
    assert predicted.dtype == torch.float64
    assert same(predicted.float(), prior.predict(unseen["state"], unseen["action"]))
    assert double.transitions["terminated"].dtype == torch.bool


def test_who_knows_nothing_has_no_range_no_model_and_no_transitions() -> None:
    prior = nothing_known("Ant")
    assert not prior.learnt
    assert not prior.transitions
    assert math.isinf(prior.held_out_error)
    assert float(prior.reward_penalty(torch.tensor(1e6))) == 0
    assert float(prior.state_penalty(torch.ones(105))) == 1
    with pytest.raises(ConfigurationError, match="did you mean 'Hopper'"):
        nothing_known("Hoper")
