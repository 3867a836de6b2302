"""The guess of a batch that sees no gradient: nothing scattered about without knowledge beats it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from test_transition_prior import hopper_prior
from transition_victims import prior_of_world, settings, shared_by
from transition_worlds import linear_world

from rlleak.attacks.transitions.blind import spread_guess
from rlleak.attacks.transitions.matching import COMPONENTS
from rlleak.attacks.transitions.running import run_together
from rlleak.errors import ConfigurationError

torch.set_num_threads(1)
SIZE = 12


def world(count: int, seed: int) -> dict[str, torch.Tensor]:
    rewards = torch.randn(count, generator=torch.Generator().manual_seed(seed)) * 0.5
    return linear_world(count, seed=seed) | {"reward": rewards}


def error(guess: torch.Tensor, truth: torch.Tensor) -> float:
    cost = torch.cdist(guess, truth).square().numpy()
    return float(cost[linear_sum_assignment(cost)].mean())


def test_guesses_apart_beat_the_mean_and_random_draws_on_batches_never_seen() -> None:
    prior = replace(hopper_prior(), transitions=world(300, seed=1))
    guess = spread_guess(prior, SIZE, seed=0)
    assert {name: len(value) for name, value in guess.items()} == dict.fromkeys(COMPONENTS, SIZE)
    fresh, own = world(40 * SIZE, seed=2)["state"], prior.transitions["state"]
    mean = own.mean(dim=0).expand(SIZE, -1)
    drawn = np.random.default_rng(0)
    errors = {"spread": [], "mean": [], "drawn": []}
    for truth in fresh.split(SIZE):
        errors["spread"].append(error(guess["state"], truth))
        errors["mean"].append(error(mean, truth))
        errors["drawn"].append(error(own[drawn.choice(len(own), SIZE, replace=False)], truth))
    means = {name: np.mean(values) for name, values in errors.items()}
    assert means["spread"] < 0.95 * min(means["mean"], means["drawn"])


def test_one_guess_is_the_mean() -> None:
    prior = replace(hopper_prior(), transitions=world(300, seed=1))
    alone = spread_guess(prior, 1, seed=0)
    torch.testing.assert_close(alone["state"][0], prior.state_mean)


def test_no_search_by_regularisers_alone_is_a_better_guess() -> None:
    update, truth = shared_by(6)
    attacks = {
        "transition_prior_only": settings("transition_prior_only"),
        "rgia_no_gradient": settings("rgia_no_gradient", alpha=0.01, beta=0.1, gamma=0.1),
    }
    priors = {"0.3%": prior_of_world()}
    found = run_together(update, attacks, priors, seed=0)
    off = {name: float((each.state[:, 0] - truth["state"]).square().mean()) for name, each in found.items()}
    assert off["transition_prior_only"] < off["rgia_no_gradient"]


def test_a_prior_that_holds_too_few_transitions_is_refused_before_anything_is_matched() -> None:
    update, _ = shared_by(2, 2)
    known = prior_of_world()
    alone = {name: value[:1] for name, value in known.transitions.items()}
    priors = {"none": known, "0.3%": replace(known, transitions=alone)}
    attacks = {
        "rgia": settings("rgia", prior="none", alpha=0.01),
        "guess": settings("transition_prior_only", adaptive=False),
    }
    done = []
    with pytest.raises(ConfigurationError, match=r"'guess' guesses 2 transitions .* prior 0\.3% holds 1;"):
        run_together(update, attacks, priors, seed=0, progress=lambda *said: done.append(said))
    assert not done
