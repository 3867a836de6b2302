"""Behind noise that leaves no single guess: batches of the attacker's own, drawn as they explain what arrived."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from transition_victims import prior_of_world, settings, shared_by, world

from rlleak.attacks.transitions.running import run_together
from rlleak.errors import ConfigurationError
from rlleak.sharing.defences import defend

torch.set_num_threads(1)
VICTIMS, SIZE = 10, 4


def known_of_states(defence: dict[str, object], **changes: object) -> float:
    """How much nearer to the states than a guess without any gradient, as a share of its error, on average."""
    update, truth = shared_by(VICTIMS, SIZE)
    names = ("transition_posterior", "transition_prior_only")
    prior = prior_of_world(transitions=world(200, seed=2))
    shared = replace(defend(update, defence, 0, range(VICTIMS)), **changes)
    found = run_together(shared, {name: settings(name) for name in names}, {"0.3%": prior}, seed=0)
    posterior, blind = (
        np.mean([distance(found[name].state[victim, 0], truth["state"][victim]) for victim in range(VICTIMS)])
        for name in names
    )
    return 1 - posterior / blind


def distance(guess: torch.Tensor, truth: torch.Tensor) -> float:
    cost = torch.cdist(guess.double(), truth.double()).numpy()
    return float(cost[linear_sum_assignment(cost)].mean())


def test_noise_longer_than_a_batchs_update_leaves_more_than_a_guess_and_less_the_longer_it_is() -> None:
    near, far = (known_of_states({"method": "gaussian_noise", "snr_db": ratio}) for ratio in (-6, -40))
    assert near > 0.05
    assert near > far
    assert abs(far) < 0.1


def test_without_noise_what_is_probable_is_near_though_no_transition_is_the_attackers_own() -> None:
    assert known_of_states({"method": "none"}) > 0.05


def test_how_long_the_noise_is_may_be_said_in_any_way() -> None:
    assert known_of_states({"method": "gaussian_noise", "variance": 1e-4}) > 0.05
    assert known_of_states({"method": "clipped_gaussian", "norm": 0.5, "noise_multiplier": 0.02}) > 0.05


def test_an_update_of_nothing_is_no_obstacle() -> None:
    nothing = {name: torch.zeros_like(value) for name, value in shared_by(VICTIMS, SIZE)[0].gradients.items()}
    assert np.isfinite(known_of_states({"method": "none"}, gradients=nothing))


def test_updates_that_are_no_noisy_mean_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match="noise on whole updates of one step, not for top_k"):
        known_of_states({"method": "top_k", "share": 0.1})
