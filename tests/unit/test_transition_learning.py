"""What is learnt of transitions: better than no change on what was not seen, or not used; by seed and amount alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transition_worlds import HOPPER_STATE, hopper_transitions, pong_transitions

from rlleak.errors import ConfigurationError
from rlleak.priors.transition_learning import learn

torch.set_num_threads(1)


def test_what_is_learnt_beats_no_change_on_transitions_not_seen() -> None:
    told: list[tuple[int, int]] = []
    prior = learn(
        "Hopper",
        hopper_transitions(1000),
        "0.1%",
        epochs=10,
        seed=1,
        progress=lambda done, total, error: told.append((done, total)),
    )
    assert told == [(epoch + 1, 10) for epoch in range(10)]
    assert prior.learnt
    assert prior.reward_range == (-1.0, 1.0)
    unseen = hopper_transitions(300, seed=8)
    state, action = torch.from_numpy(unseen.observation["vector"]), torch.from_numpy(unseen.action)
    following = torch.from_numpy(unseen.next_observation["vector"])
    error = float(prior.dynamics_penalty(state, action, following).mean())
    assert error == pytest.approx(prior.held_out_error, rel=0.5)
    affine = learn("Hopper", hopper_transitions(1000), "0.1%", epochs=0, seed=1)
    assert error < 0.8 * float(affine.dynamics_penalty(state, action, following).mean())


def test_a_model_of_images_learns_where_a_frame_goes_and_what_actions_do() -> None:
    prior = learn("Pong", pong_transitions(300), "300", epochs=6, seed=1)
    assert prior.learnt
    assert prior.held_out_error < 0.7 * prior.no_change_error
    own = prior.transitions
    assert own["action"].shape == (60, 6)
    other = own["action"][:, [1, 0, 2, 3, 4, 5]]
    right, wrong = (prior.dynamics_penalty(own["state"], taken, own["next_state"]) for taken in (own["action"], other))
    assert float((right < wrong).float().mean()) > 0.9


def test_a_model_that_cannot_beat_no_change_is_off() -> None:
    still = hopper_transitions(100)
    still.next_observation["vector"][:] = still.observation["vector"]
    prior = learn("Hopper", still, "100", epochs=3, seed=1)
    assert not prior.learnt
    assert prior.no_change_error == 0
    assert math.isfinite(prior.held_out_error)
    assert float(prior.dynamics_penalty(torch.zeros(1, 11), torch.zeros(1, 3), torch.ones(1, 11))) == 0


@pytest.mark.parametrize("amount", ["100", "0.1%"])
def test_a_prior_depends_on_its_seed_and_on_its_amount_of_transitions_only(amount: str) -> None:
    every = hopper_transitions(3000)
    few = every.select(np.arange(1000))
    one, again, other = (
        learn("Hopper", own, amount, epochs=1, seed=seed) for own, seed in ((every, 0), (few, 0), (few, 1))
    )
    weights = [prior.dynamics.state_dict()["body.0.weight"] for prior in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(one.state_mean, other.state_mean)


def test_the_transitions_that_attacks_are_tried_on_are_not_those_that_f_learnt_from() -> None:
    every = hopper_transitions(1000)
    prior = learn("Hopper", every, "0.1%", epochs=0, seed=0)
    mean = prior.dynamics.input_mean[:HOPPER_STATE]
    kept = {state.tobytes() for state in prior.transitions["state"].numpy()}
    assert len(kept) == 128
    rest = np.stack([state for state in every.observation["vector"] if state.tobytes() not in kept])
    owners = {every.victim[row] for row, s in enumerate(every.observation["vector"]) if s.tobytes() in kept}
    assert len(owners) <= 5  # of 20 players: whole lives are held out
    assert len(rest) == 872
    assert not torch.allclose(mean, torch.from_numpy(every.observation["vector"]).mean(dim=0), atol=1e-6)


def test_a_biased_prior_lies_on_one_side() -> None:
    every = hopper_transitions(3000)
    whole, biased = (learn("Hopper", every, amount, epochs=0, seed=0) for amount in ("0.3%", "biased"))
    assert biased.metadata["transitions"] == 1500
    away = (biased.state_mean - whole.state_mean) / whole.state_scale
    assert float(away.abs().max()) > 0.5
    fair = learn("Hopper", every, "0.1%", epochs=0, seed=0)
    assert float(((fair.state_mean - whole.state_mean) / whole.state_scale).abs().max()) < 0.15


def test_states_of_few_samples_have_a_covariance_that_can_be_inverted() -> None:
    few = hopper_transitions(100)
    few.observation["vector"][:, 3] = 2.0
    few.observation["vector"][:, 4] = few.observation["vector"][:, 5]
    prior = learn("Hopper", few, "100", epochs=0, seed=0)
    assert bool(torch.isfinite(prior.state_penalty(torch.zeros(1, HOPPER_STATE))).all())
    off = prior.state_mean + torch.eye(HOPPER_STATE)[3]
    assert float(prior.state_penalty(off)) > 10 * float(prior.state_penalty(prior.state_mean + torch.eye(11)[10]))


def test_a_prior_that_cannot_be_learnt_ends_in_one_line() -> None:
    few = hopper_transitions(120)
    stuck = {"vector": np.ones((120, HOPPER_STATE), np.float32)}
    for setting, own, amount, said in (
        (
            "Hopper",
            few,
            "0.3%",
            "learnt from 3000 transitions of Hopper and the attacker played 120",
        ),
        ("Ant", few, "100", "are of Hopper and the prior is of Ant"),
        ("Hopper", few, "3%", "unknown amount of a prior '3%'"),
        ("Hoper", few, "100", "did you mean 'Hopper'"),
        ("Hopper", replace(few, observation=stuck, next_observation=stuck), "100", "all 100 states .* are the same"),
    ):
        with pytest.raises(ConfigurationError, match=said) as refused:
            learn(setting, own, amount, epochs=1, seed=0)
        assert "\n" not in str(refused.value)
    assert learn("Hopper", few, "none", epochs=1, seed=0).amount == "none"
