"""Clients' replays, networks trained on public ones, and what becomes of them when an update is over several."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlleak.errors import CorruptArtefactError
from rlleak.learners.training import train
from rlleak.metrics.scoring import score
from rlleak.sharing.private import withhold
from rlleak.sharing.update import capture
from rlleak.sharing.victims import load_parameters, prepare_training, save_parameters
from rlleak.simulators import layouts
from rlleak.simulators.active_perception import STOP
from rlleak.simulators.collector import CollectionOptions
from rlleak.simulators.replay import collect_replay

ARCHITECTURE = {
    "image_shape": [1, 150, 150],
    "vector_size": 4,
    "convolutions": [{"channels": 4, "kernel": 8, "stride": 8}, {"channels": 4, "kernel": 4, "stride": 4}],
    "hidden": [24],
    "outputs": 7,
}


@pytest.fixture(scope="module")
def replay(controller, detector):
    return collect_replay(controller, detector, [5, 2], seed=3, transitions=6, progress=False)


def training(replay, **changes):
    told = {"learner": "dqn", "setting": "S2", "architecture": ARCHITECTURE, "constants": {"gamma": 0.9}}
    return prepare_training(replay, network_seed=1, depth_limit=10.0, **{**told, **changes})


def test_each_client_keeps_different_states_of_its_own_room(replay):
    assert replay.victim.tolist() == [5] * 6 + [2] * 6
    assert set(replay.layout[:6]) == {layouts.layout_of_victim(5)}
    for client in (5, 2):
        own = replay.rgb[replay.victim == client]
        boxes = replay.box[replay.victim == client]
        states = {image.tobytes() + box.tobytes() for image, box in zip(own, boxes, strict=True)}
        assert len(states) == 6
    assert (replay.return_to_go >= replay.reward - 1e-6).all()


def test_a_clients_replay_does_not_depend_on_the_others(controller, detector, replay):
    again = collect_replay(controller, detector, [2], seed=3, transitions=6, progress=False)
    assert np.array_equal(again.rgb, replay.rgb[6:])
    assert np.array_equal(again.action, replay.action[6:])


def test_a_client_may_keep_one_movement_of_its_own_only(controller, detector):
    options = CollectionOptions(public=True)
    shared = collect_replay(controller, detector, [1], 3, 4, "shared", options, progress=False)
    assert len(set(shared.action.tolist())) == 1
    assert shared.action[0] != STOP
    assert not shared.terminated.any()
    assert set(shared.layout.tolist()) <= set(layouts.PUBLIC_LAYOUTS)


def test_batches_are_nested_and_too_large_ones_are_refused(replay):
    two, four = replay.first(2), replay.first(4)
    assert two.victim.tolist() == [5, 5, 2, 2]
    assert np.array_equal(two.rgb[2:], four.rgb[4:6])
    assert replay.first(3, victims=1).victim.tolist() == [5, 5, 5]
    with pytest.raises(CorruptArtefactError, match="fewer than 7 transitions"):
        replay.first(7)


def test_an_updates_gradient_is_the_mean_of_its_samples(replay):
    part = training(replay.first(3), precision="float64")
    together, apart = capture(*part, 3), capture(*part, 1)
    assert len(together) == 2
    for name, gradient in together.gradients.items():
        assert gradient.dtype == torch.float64
        torch.testing.assert_close(gradient, apart.gradients[name].unflatten(0, (2, 3)).mean(dim=1))


def test_true_claims_in_any_order_have_full_precision_and_recall(replay):
    from rlleak.attacks.reconstruction import Reconstruction

    part = training(replay.first(3))
    private = withhold(*part, replay.first(3).layout, replay.first(3).victim)
    inputs = private.linear_input.reshape(2, 3, -1).flip(1).clone()
    inputs[0, 0] = 0
    claimed = torch.tensor([[False, True, True], [True, True, True]])
    place = {"simulator": "rooms", "scale": "reduced", "learner": "dqn", "network": "n", "setting": "S2", "seed": 0}
    place |= {
        "attack": "a",
        "batch": 3,
        "actions": "any",
        "precision": "float32",
        "defence": "none",
        "policy": "random",
    }
    found = Reconstruction(linear_input=inputs, claimed=claimed, trust={"rank": torch.tensor([3.0, float("inf")])})
    table = score(found, private, place)
    values = table.pivot(index="victim", columns="metric", values="value")
    assert values.loc[5, "batch_recall"] == pytest.approx(2 / 3)
    assert values.loc[2, "batch_recall"] == 1.0
    assert values["batch_precision"].tolist() == [1.0, 1.0]
    assert values["trust_rank"].dropna().tolist() == [3.0]
    nothing = replace(found, claimed=torch.zeros_like(claimed), linear_input=torch.zeros_like(inputs))
    silent = score(nothing, private, place)
    assert "batch_precision" not in set(silent["metric"])
    assert silent.loc[silent["metric"] == "batch_recall", "value"].tolist() == [0.0, 0.0]


def test_a_state_value_has_no_action(replay):
    part = training(replay, architecture={**ARCHITECTURE, "outputs": 1})
    assert part.batch.action.eq(0).all()
    following = part.network(part.batch.next_observation)[:, 0].detach()
    expected = part.batch.reward + 0.9 * following * ~part.batch.terminated
    torch.testing.assert_close(part.batch.target, expected)


@pytest.mark.parametrize("learner", ["dqn", "reinforce"])
def test_training_lowers_the_loss_and_its_parameters_survive_their_file(replay, learner, tmp_path):
    constants = {"gamma": 0.9} if learner == "dqn" else {"gamma": 0.9, "entropy_weight": 0.01}
    part = training(replay, learner=learner, constants=constants)
    how = {"updates": 60, "batch": 12, "learning_rate": 1e-2, "target_every": 1000, "seed": 0}
    before = {name: value.clone() for name, value in part.network.state_dict().items()}
    losses = train(*part, **how)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    save_parameters(tmp_path / "network.safetensors", part.network, {})
    loaded = load_parameters(tmp_path / "network.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in part.network.state_dict().items())
    assert any(not torch.equal(loaded[name], value) for name, value in before.items())
    again = training(replay, learner=learner, constants=constants, parameters=loaded)
    assert all(torch.equal(loaded[name], value) for name, value in again.network.state_dict().items())
    assert load_parameters([]) is None
