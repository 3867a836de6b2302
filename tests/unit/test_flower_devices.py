"""What a node's device does between its own file and the server's words, made anew for every message."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from federations import training_of

from rlleak.artefacts import read_tensors
from rlleak.configuration.defences import defence_settings
from rlleak.errors import ConfigurationError, ProtocolError
from rlleak.federation.client import Client
from rlleak.federation.flower.devices import Device, device_of
from rlleak.federation.flower.task import Task
from rlleak.federation.learning import Learner, of_role
from rlleak.federation.server import Server
from rlleak.learners.networks import build_network
from rlleak.simulators.environments import collect
from rlleak.simulators.side_by_side import OneByOne

SEED = 11
NONE, NOISE = {"method": "none"}, {"method": "gaussian_noise", "variance": 0.25}
FEEDBACK = {"method": "top_k", "share": 0.1, "error_feedback": True}


def recorded(folder: Path, defence: Mapping[str, object], said: Mapping[str, object] | None = None) -> Device:
    experience = folder / "experience.safetensors"
    if not experience.exists():
        collect("CartPole", [0], 4, 1, gamma=0.99).save(experience)
    network = {
        "learner": "dqn",
        "setting": "CartPole",
        "architecture": Learner(training_of("CartPole")).specs["critic"].model_dump(mode="json"),
        "constants": {"gamma": 0.99},
        "network_seed": 3,
        "depth_limit": 5.0,
    }
    task = Task(network=network, defence=dict(said or defence), clients=1, keeps=str(folder))
    return device_of(own_file(folder, defence, experience=str(experience)), task.said)


def playing(folder: Path, defence: Mapping[str, object] = NONE, environment: str = "FrozenLake", **changes) -> Device:
    own = {"memory": str(folder / "memory"), **{name: changes.pop(name) for name in ("seed",) if name in changes}}
    task = Task(training=training_of(environment, **changes), defence=dict(defence), clients=1, keeps=str(folder))
    return device_of(own_file(folder, defence, **own), task.said)


def own_file(folder: Path, defence: Mapping[str, object], **more: object) -> Path:
    path = folder / "client.json"
    path.write_text(json.dumps({"client": 0, "seed": SEED, "defence": dict(defence), **more}))
    return path


def critic(seed: int = 3) -> dict[str, torch.Tensor]:
    made = build_network(Learner(training_of("CartPole")).specs["critic"], seed)
    return {name: value.detach() for name, value in made.named_parameters()}


def flat(sent) -> torch.Tensor:
    return torch.cat([value.flatten() for _, value in sorted(sent.gradients.items())])


def test_a_server_that_says_another_defence_gets_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r'client 0 .*"gaussian_noise".* the server says \{"method": "none"\}'):
        recorded(tmp_path, NOISE, said=NONE)
    # It is the client's own one that is applied.
    plain, noisy = (flat(recorded(tmp_path, defence).update(critic(), 0)) for defence in (NONE, NOISE))
    assert float((noisy - plain).std()) == pytest.approx(0.5, rel=0.15)
    path = own_file(tmp_path, NONE, experience="")
    path.write_text(json.dumps({"client": 0, "seed": SEED}))
    with pytest.raises(ConfigurationError, match="does not say 'defence'; give it"):
        device_of(path, {"training": None, "network": {}, "defence": NONE, "batch": 1})


def test_noise_of_a_recorded_client_is_drawn_anew_for_other_parameters_of_the_same_round(tmp_path: Path) -> None:
    parameters = critic()
    nudged = {name: value + 1e-6 for name, value in parameters.items()}

    def sent(defence, asked) -> torch.Tensor:
        return flat(recorded(tmp_path, defence).update(asked, 2))

    assert torch.equal(sent(NOISE, parameters), sent(NOISE, parameters))
    assert float((sent(NONE, parameters) - sent(NONE, nudged)).abs().max()) < 1e-3
    # Twice the variance: nothing of it cancels.
    assert float((sent(NOISE, parameters) - sent(NOISE, nudged)).std()) == pytest.approx(0.5 * 2**0.5, rel=0.15)


def test_a_client_without_memory_refuses_error_feedback(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="top_k could add to its next update; take error_feedback out"):
        recorded(tmp_path, FEEDBACK)


def test_a_round_is_answered_once_and_none_before_it(tmp_path: Path) -> None:
    first, other = (Server(training_of("FrozenLake"), NONE, seed).parameters for seed in (5, 6))
    defence = defence_settings([NOISE, {"method": "top_k", "share": 0.5}])
    sent = [playing(tmp_path, defence).update(asked, 4) for asked in (first, other)]
    for group in ("gradients", "known"):
        one, again = (getattr(message, group) for message in sent)
        assert one
        assert set(one) == set(again)
        assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert sent[0].bytes == sent[1].bytes
    with pytest.raises(ProtocolError, match="client 0 answered round 4 and is asked for round 3"):
        playing(tmp_path, defence).update(first, 3)
    assert not torch.equal(flat(playing(tmp_path, defence).update(first, 5)), flat(sent[0]))


@pytest.mark.parametrize("change", [{"defence": NOISE}, {"seed": 12}, {"exploration": 0.2}], ids=str)
def test_a_memory_of_another_task_defence_or_seed_is_refused_by_name(tmp_path: Path, change) -> None:
    parameters = Server(training_of("FrozenLake"), NONE, 5).parameters
    playing(tmp_path).update(parameters, 0)
    with pytest.raises(ConfigurationError, match=f"{tmp_path / 'memory'} is not of client 0 with this task"):
        playing(tmp_path, **change).update(parameters, 1)
    playing(tmp_path).update(parameters, 1)


@pytest.mark.parametrize(("environment", "rounds"), [("FrozenLake", 30), ("CartPole", 8)])
def test_a_client_over_processes_lives_as_in_one(tmp_path: Path, environment: str, rounds: int) -> None:
    settings, defence = training_of(environment, rounds=rounds), defence_settings(FEEDBACK)
    servers = [Server(settings, defence, 5), Server(settings, defence, 5)]
    whole = Client(settings, defence, SEED)
    for round in range(rounds):
        whole.play(servers[0].parameters, round)
        servers[0].aggregate([whole.update(servers[0].parameters, round)])
        device = playing(tmp_path, defence, environment, rounds=rounds)
        servers[1].aggregate([device.update(servers[1].parameters, round)])
    expected, lived = whole.kept()
    kept, said = read_tensors(tmp_path / "memory", "memory of a federated client")
    assert said["added"] == lived == settings.warm_up + rounds
    for name, value in of_role(expected, "replay").items():
        assert torch.equal(kept[f"replay/{name}"], value), name
    for name, value in servers[0].parameters.items():
        assert torch.equal(servers[1].parameters[name], value), name


def test_where_an_environment_goes_another_way_its_client_does_not_go_on_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = Server(training_of("FrozenLake"), NONE, 5).parameters
    playing(tmp_path).update(parameters, 0)
    going = OneByOne._stepped

    def elsewhere(self: OneByOne, player: int, action: np.ndarray):
        state, *rest = going(self, player, action)
        return {name: part[::-1] for name, part in state.items()}, *rest

    monkeypatch.setattr(OneByOne, "_stepped", elsewhere)
    with pytest.raises(ConfigurationError, match="FrozenLake did not go the same way again, so client 0 cannot go on"):
        playing(tmp_path).update(parameters, 1)


def test_secure_aggregation_of_parts_of_updates_is_refused_where_the_mean_is_kept() -> None:
    asked = {"training": training_of("CartPole"), "clients": 2, "keeps": "", "defence": {"method": "sign"}}
    secure = {**asked, "secure_aggregation": {"threshold": 2}}
    Task.model_validate(secure)
    parts = {**secure, "defence": defence_settings(["int8", {"method": "random_k", "share": 0.1}])}
    with pytest.raises(ConfigurationError, match=r"random_k under secure_aggregation: .* \(kept_rounds: 0\)"):
        Task.model_validate(parts)
    Task.model_validate({**parts, "kept_rounds": 0})
