"""Behaviour policies: what is kept of stable-baselines3's networks is what it trained, and it acts as it did there."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest
import torch

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.errors import CorruptArtefactError
from rlleak.learners.acting import policy_of, trained_policy
from rlleak.learners.networks import load_network
from rlleak.learners.specification import NetworkSpec
from rlleak.simulators import POLICIES, behaviour_training
from rlleak.simulators.behaviour import Behaviour
from rlleak.simulators.behaviour_training import learner_of, networks_of, train
from rlleak.simulators.environments import collect, make

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"
CONVOLUTIONS = [{"channels": 3, "kernel": 8, "stride": 4}, {"channels": 4, "kernel": 4, "stride": 2}]
LAKE = {"convolutions": CONVOLUTIONS, "hidden": [64]}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["Hopper", "CarRacingContinuous", "Pong", "FrozenLake"])
def test_what_is_kept_computes_what_stable_baselines3_computes(name: str) -> None:
    environment, simulator = ENVIRONMENTS[name], make(name)
    layers = CONVOLUTIONS if environment.image_shape else []
    model = learner_of(environment, simulator, layers, [16, 8], 50, seed=3)
    simulator.observation_space.seed(0)
    simulator.action_space.seed(0)
    states = np.stack([np.clip(simulator.observation_space.sample(), -9, None) for _ in range(5)])
    actions = torch.from_numpy(np.stack([simulator.action_space.sample() for _ in range(5)]))
    simulator.close()
    seen = torch.from_numpy(states)
    observation = {"vector": seen} if environment.image_shape is None else {"image": seen.float() / 255}
    with torch.no_grad():
        found, specs = {}, {}
        for role, parameters in networks_of(model).items():
            inputs = environment.actor_inputs if role == "actor" else environment.value_inputs
            specs[role] = NetworkSpec(convolutions=layers, hidden=(16, 8), **inputs)
            network = load_network(specs[role], parameters)
            valued = environment.continuous and role != "actor"
            joined = [*filter(torch.is_tensor, [observation.get("vector")]), actions] if valued else []
            found[role] = network({**observation, **({"vector": torch.cat(joined, 1)} if valued else {})})
        if environment.continuous:
            first, second = model.critic(seen, actions)
            torch.testing.assert_close(found["critic"], first)
            torch.testing.assert_close(found["critic2"], second)
            torch.testing.assert_close(found["actor"].tanh(), model.actor(seen))
        else:
            torch.testing.assert_close(found["critic"], model.q_net(seen))
    kept = Behaviour(name, networks_of(model), {role: spec.model_dump() for role, spec in specs.items()})
    act, own = policy_of(kept, 0.0), np.random.default_rng(0)
    chosen = np.stack([act(state, own) for state in states])
    np.testing.assert_allclose(chosen, model.predict(states, deterministic=True)[0], atol=1e-5)


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a policy was trained to cross the lake, and what was said of it."""
    folder = tmp_path_factory.mktemp("crossing")
    measured = {"exploration": 0.0, "episodes": 5, "horizon": 50}
    script("train_policy").main(
        folder / "policy.safetensors",
        folder / "returns.json",
        "FrozenLake",
        {"rule": "test"},
        seed=1,
        **measured,
        **LAKE,
        steps=2000,
    )
    return folder


def test_a_policy_says_how_good_it_is_beside_a_random_one(crossing: Path) -> None:
    said = json.loads(crossing.joinpath("returns.json").read_text())
    assert said["algorithm"] == "DQN"
    assert said["steps"] == 2000
    assert said["returns"]["trained"] == {"mean": 1.0, "std": 0.0, "episodes": [1.0] * 5}
    assert said["returns"]["random"]["mean"] < 1
    assert {file.name for file in crossing.iterdir()} == {"policy.safetensors", "returns.json"}
    assert Behaviour.load(crossing / "policy.safetensors").metadata["provenance"] == {"rule": "test"}


def test_what_a_trained_policy_lives_through_is_what_it_learnt(crossing: Path) -> None:
    act = POLICIES.load("trained")("FrozenLake", crossing / "policy.safetensors", 0.0)
    crossed = collect("FrozenLake", [0], 12, 0, gamma=0.9, policy=act)
    assert crossed.reward.sum() > 0
    assert (crossed.reward == crossed.terminated).all()  # no hole, ever
    with pytest.raises(CorruptArtefactError, match="a policy for FrozenLake, not Hopper"):
        trained_policy("Hopper", crossing / "policy.safetensors", 0.0)


def test_the_same_seed_trains_the_same_policy() -> None:
    first, again, other = (train("FrozenLake", **LAKE, steps=99, seed=seed).networks["critic"] for seed in (1, 1, 2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_exploration_is_the_victims_own() -> None:
    hopper = Behaviour(
        "Hopper",
        {"actor": {name: torch.zeros(shape) for name, shape in actor_spec().parameter_shapes.items()}},
        {"actor": actor_spec().model_dump()},
    )
    own = np.random.default_rng(0)
    state = np.zeros(11, np.float32)
    assert policy_of(hopper, 0.0)(state, own).tolist() == [0, 0, 0]
    noise = np.stack([policy_of(hopper, 0.1)(state, own) for _ in range(400)])
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(0.1, rel=0.1)
    assert np.abs(np.stack([policy_of(hopper, 5.0)(state, own) for _ in range(9)])).max() == 1


def actor_spec() -> NetworkSpec:
    return NetworkSpec(hidden=(4,), **ENVIRONMENTS["Hopper"].actor_inputs)


class Dying(gymnasium.Wrapper):
    """A simulator that dies after 120 steps."""

    left = 120

    def step(self, action: int) -> tuple:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return self.env.step(action)


def test_a_killed_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "policy.checkpoint"
    how: dict = {**LAKE, "steps": 200, "checkpoint": checkpoint}
    monkeypatch.setattr(behaviour_training, "_SECONDS", 0.0)
    with monkeypatch.context() as dying:
        dying.setattr(behaviour_training, "make", lambda setting: Dying(make(setting)))
        with pytest.raises(KeyboardInterrupt):
            train("FrozenLake", seed=1, **how)
    assert "FrozenLake: 100 of 200 steps" in capsys.readouterr().out
    train("FrozenLake", seed=2, **{**how, "checkpoint": None})
    assert "goes on" not in capsys.readouterr().out
    finished = train("FrozenLake", seed=1, **how)
    said = capsys.readouterr().out
    assert "FrozenLake: goes on after 119 steps" in said
    assert "200 of 200 steps" in said
    assert "FrozenLake: 100 of" not in said
    # A checkpoint of the finished training has nothing left to do; that of another seed is not this one's.
    done = train("FrozenLake", seed=1, **how)
    assert all(torch.equal(t, done.networks["critic"][n]) for n, t in finished.networks["critic"].items())
    train("FrozenLake", seed=2, **how)
    assert "goes on" not in capsys.readouterr().out.split("goes on after 200 steps")[-1]
    checkpoint.write_bytes(b"half")
    train("FrozenLake", seed=2, **how)
