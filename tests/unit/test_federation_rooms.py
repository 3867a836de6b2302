"""Clients that perceive actively, each in a room of its own: what they see and share, and a killed training goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from federations import training_of

from rlleak.artefacts import read_tensors
from rlleak.configuration.general import NetworkShape
from rlleak.configuration.loading import read_yaml, validated
from rlleak.errors import ConfigurationError
from rlleak.federation import training
from rlleak.federation.client import Client
from rlleak.federation.clients import Clients
from rlleak.federation.learning import Learner, of_role
from rlleak.federation.server import Server
from rlleak.federation.training import train
from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import load_network
from rlleak.seeds import derive
from rlleak.sharing.update import capture
from rlleak.simulators.active_perception import ActivePerceptionEnv
from rlleak.simulators.layouts import layout_of_victim
from rlleak.simulators.side_by_side import episode_seed

NONE = {"method": "none"}


@pytest.fixture(scope="module")
def settings(detector, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("rooms") / "detector.safetensors"
    detector.save(path)
    configuration = read_yaml(Path("config/config.yaml"))
    homes = {name: configuration[name] for name in ("simulation", "perception")}
    settings = training_of(
        "S1", clients=2, warm_up=3, rounds=3, homes={"simulator": "rooms", **homes, "detector": str(path)}
    )
    shape = NetworkShape.model_validate(
        {"convolutions": [{"channels": 4, "kernel": 16, "stride": 16}], "vector_width": 3, "hidden": [8]}
    )
    size = settings.size.model_copy(update={"runs": 1, "evaluations": 1, "episodes": 1, "horizon": 3})
    return settings.model_copy(update={"network": shape, "size": size})


def test_a_client_sees_its_own_room_and_shares_the_gradient_of_image_and_box(settings, controller, detector) -> None:
    parameters = Server(settings, NONE, 5).parameters
    client = Client(settings, NONE, seed=7, home=2)
    try:
        client.play(parameters, 0)
        sent, drawn = client.update(parameters, 0), client.drawn(0)
        lived = of_role(client.kept()[0], "replay")
    finally:
        client.close()
    env = ActivePerceptionEnv(controller, detector, "S1", (layout_of_victim(2),))
    first, _ = env.reset(seed=episode_seed(derive(7, "environment"), 0))
    assert np.abs(lived["observation/image"][0, 0].numpy() / 255 - first["image"]).max() < 0.51 / 255
    assert np.array_equal(lived["observation/vector"][0, 0], first["vector"])
    reward = lived["reward"][0, :4]
    assert ((reward > 0) & (reward < 1)).all()  # a detector's confidence

    states = [
        {"image": drawn[f"{name}/image"] / 255, "vector": drawn[f"{name}/vector"]}
        for name in ("observation", "next_observation")
    ]
    spec = Learner(settings).specs["critic"]
    made = Batch(states[0], drawn["action"], drawn["reward"], states[1], drawn["terminated"])
    loss, network = DQNLoss(gamma=settings.gamma), load_network(spec, of_role(parameters, "critic"))
    made = loss.with_target(made, load_network(spec, of_role(parameters, "target_critic")))
    captured = capture(network, loss, made, 1).gradients
    assert float(captured["vector.weight"].abs().max()) > 0
    for name, gradient in captured.items():
        torch.testing.assert_close(sent.gradients[f"critic/{name}"], gradient[0])


def test_a_killed_training_in_rooms_goes_on_after_its_last_round(settings, tmp_path: Path, monkeypatch, capsys) -> None:
    path, play = tmp_path / "checkpoint.safetensors", Clients.play

    def dying(self: Clients, parameters, round: int) -> None:
        if round == 2:
            raise KeyboardInterrupt
        play(self, parameters, round)

    with monkeypatch.context() as patched:
        patched.setattr(training, "_SECONDS", 0.0)
        patched.setattr(Clients, "play", dying)
        with pytest.raises(KeyboardInterrupt):
            train(settings, NONE, 1, 7, checkpoint=path)
    tensors, said = read_tensors(path, "federated training")
    assert said["round"] == 2
    assert not any("replay" in name for name in tensors)  # gigabytes, where images are concerned
    made = train(settings, NONE, 1, 7, checkpoint=path)
    assert "S1: goes on after round 2" in capsys.readouterr().out
    assert made.curve["round"].tolist() == [0, 3]
    assert made.curve["environment_steps"].tolist() == [0, 2 * (3 + 3)]
    assert (made.curve["return"] > 0).all()
    before = tensors["server/networks/critic"]
    after = torch.cat([value.flatten(1) for value in of_role(made.parameters, "critic").values()], dim=1)
    assert float((after - before).abs().max()) > 1e-4


def test_rooms_without_a_detector_and_environments_with_homes_are_refused(settings) -> None:
    for change, said in (
        ({"homes": None}, "homes must be given for S1 and S2"),
        ({"environment": "Pong"}, "homes must be given for S1 and S2"),
        ({"learner": "critic"}, "does not fit the actions of S1; take dqn"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            validated(type(settings), settings.model_dump() | change, "federation")
    homes = settings.homes.model_copy(update={"detector": None})
    with pytest.raises(ConfigurationError, match="S1 is rewarded by a detector; say where it lies"):
        Clients(settings.model_copy(update={"homes": homes}), NONE, [[1]])
