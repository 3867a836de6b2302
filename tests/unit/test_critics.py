"""Victims of the second paper: critics beside an actor, semi-gradients and residual ones, and what they withhold."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlleak.learners import LOSSES
from rlleak.learners.batch import Batch
from rlleak.learners.critic import policy
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.private import PrivateSide, withhold
from rlleak.sharing.update import SharedUpdate, capture
from rlleak.sharing.victims import Training, prepare_training
from rlleak.simulators.transitions import Transitions

STATE, ACTIONS = 5, 2


def experience(count: int = 4, continuous: bool = True) -> Transitions:
    drawn = np.random.default_rng(0)
    state, following = drawn.standard_normal((2, count, STATE)).astype(np.float32)
    action = drawn.uniform(-1, 1, (count, ACTIONS)).astype(np.float32)
    return Transitions(
        environment="Hopper" if continuous else "FrozenLake",
        observation={"vector": state},
        next_observation={"vector": following},
        action=action if continuous else drawn.integers(0, 3, count),
        reward=drawn.standard_normal(count).astype(np.float32),
        return_to_go=np.zeros(count, np.float32),
        terminated=np.array([False] * (count - 1) + [True]),
        victim=np.arange(count),
    )


def prepared(learner: str, **changes: object) -> Training:
    continuous = "critic" in learner
    size = STATE + ACTIONS if continuous else STATE
    told = {
        "learner": learner,
        "setting": "Hopper" if continuous else "FrozenLake",
        "architecture": {"vector_size": size, "hidden": [16, 16], "outputs": 1 if continuous else 3},
        "constants": {"gamma": 0.9},
        "network_seed": 1,
        "depth_limit": 10.0,
        "precision": "float64",
    }
    return prepare_training(experience(continuous=continuous), **{**told, **changes})


@pytest.mark.parametrize("learner", ["critic", "residual_critic"])
def test_a_critic_learns_the_value_of_state_and_action_towards_that_of_the_actors_next_action(learner: str) -> None:
    network, loss, batch = prepared(learner)
    seen, action = batch.observation["vector"][:, :STATE], batch.observation["vector"][:, STATE:]
    following = batch.next_observation["vector"][:, :STATE]
    torch.testing.assert_close(action, torch.from_numpy(experience().action).double())
    chosen = torch.tanh(loss.actor({"vector": following}))
    torch.testing.assert_close(batch.next_observation["vector"][:, STATE:], chosen)
    value, following_value = (
        network({"vector": torch.cat(pair, dim=1)})[:, 0] for pair in ((seen, action), (following, chosen))
    )
    if learner == "critic":
        following_value = following_value.detach()
    target = batch.reward + 0.9 * following_value * ~batch.terminated
    expected = torch.autograd.grad((value - target).square().mean(), list(network.parameters()))
    shared = capture(network, loss, batch, len(batch))
    for (name, _), gradient in zip(network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(shared.gradients[name][0], gradient)


def test_residual_dqn_differentiates_the_next_states_value_too() -> None:
    network, loss, batch = prepared("residual_dqn")
    best = network(batch.next_observation).max(dim=1).values
    chosen = network(batch.observation)[torch.arange(len(batch)), batch.action]
    value = (chosen - batch.reward - 0.9 * best * ~batch.terminated).square().mean()
    expected = torch.autograd.grad(value, list(network.parameters()))
    shared = capture(network, loss, batch, len(batch))
    for (name, _), gradient in zip(network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(shared.gradients[name][0], gradient)
    plain = capture(network, LOSSES.load("dqn")(gamma=0.9), batch, len(batch))
    assert not torch.allclose(plain.gradients["hidden.0.weight"], shared.gradients["hidden.0.weight"])


def test_the_actor_is_public_and_travels_with_the_update(tmp_path) -> None:
    network, loss, batch = prepared("critic", precision="float32")
    update = capture(network, loss, batch)
    update.save(tmp_path / "shared.safetensors")
    read = SharedUpdate.load(tmp_path / "shared.safetensors")
    actor = build_network(NetworkSpec.model_validate(read.loss["actor"]), 0)
    actor.load_state_dict({name.removeprefix("actor/"): value for name, value in read.others.items()})
    state = {"vector": torch.randn(3, STATE)}
    torch.testing.assert_close(policy(actor, state), policy(loss.actor, state))
    assert set(read.select(slice(0, 2)).others) == set(read.to("cpu").others) == set(update.others)
    assert not any("actor" in name for name in read.parameters)


def test_trained_parameters_are_told_apart_by_their_prefix() -> None:
    network, loss, _ = prepared("critic", precision="float32")
    given = {f"critic/{name}": 2 * value for name, value in network.state_dict().items()}
    given |= {f"actor/{name}": 3 * value for name, value in loss.actor.state_dict().items()}
    again, trained, _ = prepared("critic", precision="float32", parameters=given)
    assert torch.equal(again.head.weight, 2 * network.head.weight)
    assert torch.equal(trained.actor.head.bias, 3 * loss.actor.head.bias)


def test_what_is_withheld_of_a_critics_victim_is_its_whole_transition(tmp_path) -> None:
    training, played = prepared("critic"), experience()
    withhold(*training, None, played.victim, whole=True).save(tmp_path / "private.safetensors")
    private = PrivateSide.load(tmp_path / "private.safetensors")
    torch.testing.assert_close(private.vector, torch.from_numpy(played.observation["vector"]))
    torch.testing.assert_close(private.next_vector, torch.from_numpy(played.next_observation["vector"]))
    torch.testing.assert_close(private.continuous_action, torch.from_numpy(played.action).double())
    torch.testing.assert_close(private.reward, torch.from_numpy(played.reward).double())
    assert private.terminated.tolist() == played.terminated.tolist()
    assert withhold(*training, None, played.victim).next_vector is None


def test_an_image_with_a_continuous_action_leaves_the_image_alone_as_state() -> None:
    _, loss, _ = prepared("critic")
    observation = {"image": torch.zeros(2, 1, 4, 4), "vector": torch.ones(2, ACTIONS)}
    assert set(loss.state(observation)) == {"image"}
    assert replace(loss, gamma=0.5).constants["actor"]["outputs"] == ACTIONS


def test_unused_batches_stay_as_they_are() -> None:
    batch = Batch({"vector": torch.zeros(2, 3)}, torch.zeros(2, dtype=torch.int64), torch.zeros(2))
    loss = LOSSES.load("reinforce")()
    assert loss.others == {}
    assert set(loss.state(batch.observation)) == {"vector"}
