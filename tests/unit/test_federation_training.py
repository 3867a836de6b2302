"""Federated training in one process: it learns, it is paired over defences, and a killed one goes on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from federations import training_of

from rlleak.artefacts import read_tensors
from rlleak.configuration.axes import Setting
from rlleak.configuration.defences import defence_settings
from rlleak.configuration.federation import FederatedConstants
from rlleak.configuration.loading import read_yaml, validated
from rlleak.errors import ConfigurationError
from rlleak.federation import training
from rlleak.federation.accounting import client_epsilon, transition_epsilon
from rlleak.federation.clients import Clients
from rlleak.federation.training import CURVE, Trained, train
from rlleak.metrics.trainings import last_return
from rlleak.sharing.privacy import in_a_row
from rlleak.simulators.environments import make
from rlleak.simulators.side_by_side import OneByOne, side_by_side

NONE = {"method": "none"}
CONSTANTS = validated(dict[Setting, FederatedConstants], read_yaml(Path("config/federation.yaml")), "federation.yaml")


def test_players_of_cartpole_side_by_side_live_as_each_does_alone() -> None:
    seeds, generator = [1, 2, 3], np.random.default_rng(0)
    together, alone = side_by_side("CartPole", seeds), OneByOne([make("CartPole") for _ in seeds], seeds)
    assert not isinstance(together, OneByOne)
    ended = 0
    for _ in range(200):
        np.testing.assert_array_equal(together.states["vector"], alone.states["vector"])
        actions = generator.integers(2, size=3)
        one, other = together.step(actions), alone.step(actions)
        np.testing.assert_array_equal(one.following["vector"], other.following["vector"])
        for name in ("reward", "terminated", "over"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        ended += int((together.kept()["steps"] == 0).sum())
    assert ended > 10


def test_clients_learn_to_balance_a_pole() -> None:
    constants = CONSTANTS["CartPole"].model_dump()
    settings = training_of("CartPole", **constants)
    size = settings.size.model_copy(update={"rounds": 1500, "evaluations": 3, "episodes": 5, "horizon": None})
    shape = settings.network.model_copy(update={"hidden": (64, 64)})
    settings = settings.model_copy(update={"size": size, "network": shape})
    curve = train(settings, NONE, 2, 1).curve
    assert list(curve.columns) == list(CURVE)
    assert curve["round"].unique().tolist() == [0, 500, 1000, 1500]
    assert curve["environment_steps"].max() == 8 * (constants["warm_up"] + 1500)
    first, last = (curve[curve["round"] == round]["return"] for round in (0, 1500))
    assert first.mean() < 40
    assert last.min() > 60


def test_a_run_is_worth_its_last_two_fifths_of_rounds_however_long_its_clients_warmed_up() -> None:
    rounds = np.arange(11)
    for warm_up in (0, 100):
        steps = np.where(rounds, 4 * (warm_up + rounds), 0)
        runs = [pd.DataFrame(dict(zip(CURVE, (run, rounds, steps, run + rounds), strict=True))) for run in (0, 5)]
        trained = Trained(pd.concat(runs), 0, None, None, 0.0, {})
        np.testing.assert_allclose(last_return(trained), [8, 13])


FEEDBACK = {"method": "top_k", "share": 0.2, "error_feedback": True}


@pytest.mark.parametrize(("environment", "defence"), [("CartPole", FEEDBACK), ("CartPole", "none"), ("Hopper", "none")])
def test_a_killed_training_ends_as_if_it_had_not_been(environment, defence, tmp_path: Path, monkeypatch) -> None:
    settings, own = training_of(environment, rounds=20), defence_settings(defence)
    whole = train(settings, own, 2, 7)
    path = killed_in(14, settings, own, tmp_path, monkeypatch)
    resumed = train(settings, own, 2, 7, checkpoint=path)
    assert resumed.curve.equals(whole.curve)
    for name, value in whole.parameters.items():
        assert torch.equal(resumed.parameters[name], value)
    # Another training does not go on from it.
    assert not train(settings, own, 2, 8, checkpoint=path).curve.equals(whole.curve)


def killed_in(round: int, settings, defence, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path, play = folder / "checkpoint.safetensors", Clients.play

    def dying(self: Clients, parameters, now: int) -> None:
        if now == round:
            raise KeyboardInterrupt
        play(self, parameters, now)

    with monkeypatch.context() as patched:
        patched.setattr(training, "_SECONDS", 0.0)
        patched.setattr(Clients, "play", dying)
        with pytest.raises(KeyboardInterrupt):
            train(settings, defence, 2, 7, checkpoint=path)
    assert read_tensors(path, "federated training")[1]["round"] == round
    return path


def test_a_checkpoint_that_is_cut_off_is_no_obstacle(tmp_path: Path) -> None:
    settings, path = training_of("CartPole", rounds=4), tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"half a file")
    train(settings, NONE, 1, 7, checkpoint=path)
    assert read_tensors(path, "federated training")[1]["round"] == 4


def test_runs_do_not_depend_on_how_many_there_are_and_start_the_same_under_every_defence() -> None:
    settings = training_of("CartPole", rounds=6)
    three, one = train(settings, NONE, 3, 7), train(settings, NONE, 1, 7)
    noisy = train(settings, defence_settings({"method": "gaussian_noise", "variance": 1.0}), 1, 7)
    for name, value in one.parameters.items():
        torch.testing.assert_close(three.parameters[name][:1], value)
    starts = [made.curve[made.curve["round"] == 0]["return"].iloc[0] for made in (three, one, noisy)]
    assert starts[0] == starts[1] == starts[2]
    assert not torch.allclose(noisy.parameters["critic/head.weight"], one.parameters["critic/head.weight"])


def test_a_diverging_client_is_left_out_and_said(monkeypatch, caplog) -> None:
    settings, update = training_of("CartPole", rounds=3), Clients.update

    def spoilt(self: Clients, parameters, round: int):
        shared = update(self, parameters, round)
        shared.gradients["critic/head.bias"][1, 2] = torch.nan
        return shared

    monkeypatch.setattr(Clients, "update", spoilt)
    made = train(settings, NONE, 2, 7)
    assert [record.getMessage() for record in caplog.records] == [
        f"round {round}: NaN or Inf from client 1.2 (run.client); the round goes on without" for round in range(3)
    ]
    assert all(bool(torch.isfinite(value).all()) for value in made.parameters.values())


def test_epsilon_grows_with_rounds_and_networks_and_is_none_without_clipping() -> None:
    private = defence_settings({"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 4.0})
    few, many = (client_epsilon(training_of("CartPole", rounds=rounds), private) for rounds in (10, 100))
    assert 0 < few < many < np.inf
    # A critic's 10 messages, and 5 of the actor.
    both, one = training_of("Hopper", rounds=10), training_of("CartPole", rounds=15)
    assert client_epsilon(both, private) == client_epsilon(one, private)
    noise = defence_settings({"method": "gaussian_noise", "variance": 1.0})
    assert train(training_of("CartPole", rounds=2), noise, 1, 0).epsilon is None


def test_one_transition_among_many_is_guaranteed_more_than_all_of_a_client_and_less_in_larger_batches() -> None:
    private = defence_settings({"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 4.0})
    alone, among = (training_of("CartPole", rounds=200, warm_up=warm_up, replay=200) for warm_up in (8, 100))
    large = among.model_copy(update={"batch": 50})
    told = [transition_epsilon(settings, private) for settings in (among, alone, large)]
    assert told == sorted(told)
    assert told[0] < 0.5 * client_epsilon(among, private)
    assert transition_epsilon(among, {"method": "clipping", "norm": 1.0}) == np.inf


def test_networks_updated_from_the_same_transitions_are_one_longer_mechanism() -> None:
    private = defence_settings({"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 4.0})
    # Every transition is in every round, so that sampling gains nothing: one round of both networks, and one of either.
    settings = training_of("Hopper", rounds=2, warm_up=8, replay=8, batch=8, steps=1)
    delta = private["delta"]
    assert transition_epsilon(settings, private) == in_a_row([(2.0, 1.0, 1), (2.0 / np.sqrt(2), 1.0, 1)], delta)


def test_error_feedback_before_the_noise_undoes_what_sampling_gains() -> None:
    settings = training_of("CartPole", rounds=20, warm_up=100, replay=200)
    private = {"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 4.0}
    carried = defence_settings([{"method": "random_k", "share": 0.5, "error_feedback": True}, private])
    plain = defence_settings([{"method": "random_k", "share": 0.5}, private])
    assert transition_epsilon(settings, carried) > 2 * transition_epsilon(settings, plain)


def test_images_take_the_same_way_one_client_at_a_time() -> None:
    settings = training_of("Pong", rounds=2, clients=2, warm_up=2)
    size = settings.size.model_copy(update={"evaluations": 1, "episodes": 1, "horizon": 3})
    shape = settings.network.model_validate(
        {"vector_width": 0, "hidden": [8], "convolutions": [{"channels": 4, "kernel": 8, "stride": 8}]}
    )
    made = train(settings.model_copy(update={"size": size, "network": shape}), defence_settings("int8"), 1, 0)
    assert np.isfinite(made.curve["return"]).all()


def test_what_does_not_fit_together_is_refused() -> None:
    settings = training_of("CartPole")
    for change, said in (
        ({"learner": "critic"}, "does not fit the actions of CartPole; take dqn"),
        ({"batch": 13}, "warm_up must hold a batch of 13"),
        ({"clients": 0}, "greater than or equal to 1"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            validated(type(settings), settings.model_dump() | change, "federation")
    with pytest.raises(ConfigurationError, match="cannot be cut into 3 local steps"):
        train(settings, defence_settings({"method": "local_steps", "steps": 3, "step_size": 0.1}), 1, 0)
