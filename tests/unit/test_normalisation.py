"""Victims that normalise what they observe: shared statistics hide nothing, those kept at home never leave."""

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import published_samples as samples
import pytest
import torch
from gymnasium.wrappers.utils import RunningMeanStd
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transition_victims import prior_of_world, settings, shared_by, world
from transition_worlds import HOPPER_STATE

from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.attacks.transitions.running import run_together
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.normalisation import Statistics
from rlleak.priors.transition_prior import nothing_known
from rlleak.sharing.normalisation import announced, as_seen, statistics_of
from rlleak.sharing.update import SharedUpdate
from rlleak.simulators import environments
from rlleak.simulators.transitions import Transitions

CONFIG = samples.ROOT / "config"


def some_statistics(seed: int) -> Statistics:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(HOPPER_STATE, generator=generator, dtype=torch.float64)
    return Statistics(mean, 0.1 + 3 * torch.rand(HOPPER_STATE, generator=generator, dtype=torch.float64))


def normalising(
    statistics: Statistics, normalised: str, count: int = 2, **how: object
) -> tuple[SharedUpdate, dict[str, Tensor]]:
    """What victims share who normalise by these statistics, and their transitions (V, B, ...) in the world's units."""
    raw, truth = shared_by(count, **how)
    seen = {
        name: (statistics.normalised(value) if "state" in name else value).flatten(0, 1)
        for name, value in truth.items()
    }
    return announced(TemporalDifference(raw).share(seen), normalised, statistics), truth


def attacked(update: SharedUpdate, *methods: str, **changes: object) -> dict[str, TransitionReconstruction]:
    asked = {name: settings(name, alpha=0.1, beta=0.1, gamma=0.1, **changes) for name in methods}
    return run_together(update, asked, {"0.3%": prior_of_world(), "none": nothing_known("Hopper")}, seed=4)


def off(found: TransitionReconstruction, truth: dict[str, Tensor], name: str = "state") -> float:
    return float((getattr(found.preferred, name)[:, 0] - truth[name]).abs().max())


@given(st.integers(0, 10**6), st.sampled_from([(16,), (48, 40)]))
@hypothesis_settings(max_examples=10, deadline=None, derandomize=True)
def test_shared_statistics_hide_nothing(seed: int, hidden: tuple[int, ...]) -> None:
    update, truth = normalising(some_statistics(seed), "shared", seed=seed, hidden=hidden)
    for name, found in attacked(update, "transition_closed_form", "transition_best").items():
        assert off(found, truth) < 1e-4, name
        # The transition model and the value of s' are in the network's units, too.
        assert off(found, truth, "next_state") < 1e-3, name
        assert off(found, truth, "reward") < 1e-3, name


def test_matching_finds_states_in_the_environments_units() -> None:
    own = prior_of_world().statistics
    update, truth = normalising(own, "shared")
    found = attacked(update, "rgia", "transition_prior_only", iterations=300)
    errors = {name: ((each.preferred.state[:, 0] - truth["state"]) / own.deviation) for name, each in found.items()}
    assert float(errors["rgia"].square().mean()) < 0.3 * float(errors["transition_prior_only"].square().mean())


def test_another_file_of_statistics_gives_other_states(tmp_path: Path) -> None:
    update, truth = normalising(some_statistics(1), "shared")
    told = {**update.others, "statistics/mean": update.others["statistics/mean"] + 1}
    replace(update, others=told).save(tmp_path / "shared.safetensors")
    found = attacked(SharedUpdate.load(tmp_path / "shared.safetensors"), "transition_closed_form")
    assert off(found["transition_closed_form"], truth) == pytest.approx(1, abs=1e-3)


def test_statistics_kept_at_home_are_nowhere_in_the_shared_file(tmp_path: Path) -> None:
    statistics = some_statistics(2)
    for normalised in ("shared", "home"):
        update, _ = normalising(statistics, normalised)
        update.save(tmp_path / "shared.safetensors")
        held = load_file(tmp_path / "shared.safetensors").values()
        same = [tensor.shape == (HOPPER_STATE,) and torch.allclose(tensor.double(), statistics.mean) for tensor in held]
        assert any(same) == (normalised == "shared")
        read = SharedUpdate.load(tmp_path / "shared.safetensors")
        assert read.normalised == normalised
        assert (read.statistics is None) == (normalised == "home")


def test_who_is_not_told_the_statistics_is_off_by_how_far_its_own_differ() -> None:
    own = prior_of_world().statistics
    theirs = Statistics(own.mean + 0.1 * own.deviation, 1.1 * own.deviation)
    update, truth = normalising(theirs, "home")
    found = attacked(update, "transition_closed_form", "transition_prior_only")
    state = found["transition_closed_form"].state[:, 0]
    expected = own.restored(theirs.normalised(truth["state"]))
    torch.testing.assert_close(state, expected, atol=1e-4, rtol=1e-4)
    assert off(found["transition_closed_form"], truth) < off(found["transition_prior_only"], truth)
    assert found["transition_closed_form"].metadata["normalised"] == {
        "statistics": "home",
        "taken": "the attacker's own",
    }


def test_without_own_transitions_what_the_network_reads_is_taken_for_the_state() -> None:
    theirs = some_statistics(5)
    update, truth = normalising(theirs, "home")
    found = attacked(update, "transition_closed_form", prior="none")["transition_closed_form"]
    torch.testing.assert_close(found.state[:, 0], theirs.normalised(truth["state"]), atol=1e-4, rtol=1e-4)
    assert found.metadata["normalised"]["taken"] == "none"


def test_beliefs_are_the_same_in_the_networks_units() -> None:
    prior, statistics, seen = prior_of_world(), some_statistics(7), world(16, seed=9)
    there = prior.standardised(statistics)
    state, following = (statistics.normalised(seen[name]) for name in ("state", "next_state"))
    torch.testing.assert_close(there.state_penalty(state), prior.state_penalty(seen["state"]), atol=1e-3, rtol=1e-3)
    foretold = statistics.restored(there.predict(state, seen["action"]))
    torch.testing.assert_close(foretold, prior.predict(seen["state"], seen["action"]), atol=1e-4, rtol=1e-4)
    near = there.dynamics_penalty(state, seen["action"], following)
    torch.testing.assert_close(near, torch.zeros_like(near), atol=1e-4, rtol=0)
    torch.testing.assert_close(statistics.restored(there.transitions["state"]), prior.transitions["state"])
    assert torch.equal(prior.dynamics.input_mean, prior_of_world().dynamics.input_mean)


class Watched(gymnasium.Wrapper):
    """Keeps statistics as gymnasium's NormalizeObservation does, one observation at a time."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.statistics = RunningMeanStd(shape=(4,))

    def reset(self, **how: object):
        state, told = super().reset(**how)
        self.statistics.update(state[None])
        return state, told

    def step(self, action: object):
        found = super().step(action)
        self.statistics.update(found[0][None])
        return found


def test_statistics_are_those_of_all_that_a_victim_lived_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Watched] = []

    def make(setting: str) -> Watched:
        made.append(Watched(original(setting)))
        return made[-1]

    original = environments.make
    monkeypatch.setattr(environments, "make", make)
    environments.collect("CartPole", [3], 2, seed=0, gamma=0.99).save(tmp_path / "lived.safetensors")
    lived = Transitions.load(tmp_path / "lived.safetensors").select([1]).lived
    assert lived["count"][0] == pytest.approx(made[0].statistics.count)
    assert lived["count"][0] > 200
    np.testing.assert_allclose(lived["mean"][0], made[0].statistics.mean, atol=1e-9)
    np.testing.assert_allclose(lived["variance"][0], made[0].statistics.var, atol=1e-9)


def test_clients_normalise_by_their_own_statistics_or_by_those_of_all_together() -> None:
    played = environments.collect("CartPole", [0, 1, 2], 2, seed=0, gamma=0.99)
    home = statistics_of(played, "home", played)
    first = (played.observation["vector"][0] - played.lived["mean"][0]) / np.sqrt(played.lived["variance"][0] + 1e-8)
    np.testing.assert_allclose(as_seen(played, home).observation["vector"][0], first, rtol=1e-5)
    merged = RunningMeanStd(epsilon=0.0, shape=(4,))
    for row in (0, 2, 4):
        merged.update_from_moments(*(played.lived[name][row] for name in ("mean", "variance", "count")))
    together = statistics_of(played.first(1, 2), "shared", played)
    torch.testing.assert_close(together.mean, torch.from_numpy(merged.mean))
    torch.testing.assert_close(together.deviation, torch.from_numpy(np.sqrt(merged.var + 1e-8)))
    torch.testing.assert_close(
        together.restored(torch.from_numpy(as_seen(played, together).next_observation["vector"])),
        torch.from_numpy(played.next_observation["vector"]),
        atol=1e-5,
        rtol=1e-5,
    )


def test_experience_without_statistics_is_refused() -> None:
    played = replace(environments.collect("CartPole", [0], 1, seed=0, gamma=0.99), lived={})
    with pytest.raises(CorruptArtefactError, match="holds no running statistics"):
        statistics_of(played, "shared", played)


@pytest.mark.parametrize(
    ("network", "product", "message"),
    [
        ({"hidden": [256, 256]}, {"setting": ["FrozenLake"], "learner": ["dqn"]}, "normalises measurements"),
        ({"hidden": [256, 256], "trained": {}}, {}, "training reads states as they are"),
        (
            {"hidden": [64, 64]},
            {"setting": ["CartPole"], "learner": ["dqn"], "attack": ["training"]},
            "'odd' normalises",
        ),
        ({"hidden": [512]}, {"setting": ["S1"], "learner": ["dqn"], "attack": ["peel"]}, "is not on transitions"),
    ],
)
def test_networks_that_normalise_are_refused_where_nothing_would_be_normalised(
    tmp_path: Path, network: dict, product: dict, message: str
) -> None:
    for part in CONFIG.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "experiments").unlink()
    (tmp_path / "experiments").mkdir()
    usual = {"learner": ["critic"], "attack": ["rgia"], "setting": ["Hopper"], "network": ["odd"]}
    asked = {"id": "odd", "paper": "-", "title": "-", "grid": [{**usual, **product}], "metrics": ["mse"]}
    (tmp_path / "experiments" / "odd.yaml").write_text(str(asked))
    content = read_yaml(CONFIG / "config.yaml")
    content["networks"]["odd"] = {"vector_width": 0, "normalise": "home", **network}
    with pytest.raises(ConfigurationError, match=message):
        load_study({**content, "experiments": ["odd"]}, tmp_path)
