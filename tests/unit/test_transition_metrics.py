"""Scores of reconstructed transitions: the truth is perfect, no order matters, and no failure disappears."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from true_transitions import PLACE, UNITS, blurred, compared, measured, private_side, reconstruction_of, rule

from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.errors import CorruptArtefactError
from rlleak.metrics import TRANSITION_METRICS
from rlleak.metrics.long_table import COLUMNS
from rlleak.metrics.transition_scoring import score_transitions
from rlleak.metrics.transitions import TE_LIMIT
from rlleak.sharing.private import PrivateSide
from rlleak.simulators.environments import successor as real_successor

torch.set_num_threads(1)
SETTINGS = ["Hopper", "FrozenLake", "Pong", "CarRacingContinuous"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_truth_has_no_error_is_recovered_and_follows_from_itself(setting: str) -> None:
    private = private_side(setting)
    found = reconstruction_of(private, setting)
    perfect = {"mse": 0, "nrmse_state": 0, "recovery_accuracy": 1, "action_correct": 1, "ed": 0, "cd": 0, "failed": 0}
    perfect |= {"te": 0} if setting in ("Hopper", "FrozenLake") else {"psnr_state": 100, "psnr_next_state": 100}
    perfect |= {"overlap_error": 0} if setting == "Pong" else {}
    for name, value in perfect.items():
        successor = rule if "te" in perfect else lambda states, actions: None
        assert measured(name, found, private, setting, successor) == pytest.approx([value] * 3, abs=1e-6), name


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_an_environment_has_not_is_absent(setting: str) -> None:
    private = private_side(setting)
    found = reconstruction_of(private, setting)
    comparison = compared(found, private, setting, lambda states, actions: None)
    absent = {name for name in TRANSITION_METRICS if TRANSITION_METRICS.load(name)(comparison) is None}
    images = {"psnr_state", "psnr_next_state"} if ENVIRONMENTS[setting].image_shape is None else set()
    assert absent == {"te", "te_truth", "possible", "possible_truth", "in_prior"} | images | (
        set() if setting == "Pong" else {"overlap_error"}
    )


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 5),
    restarts=st.integers(1, 3),
    deviation=st.floats(0, 1),
    seed=st.integers(0, 1000),
    setting=st.sampled_from(["Hopper", "FrozenLake"]),
)
def test_a_batch_in_another_order_scores_the_same(
    batch: int, restarts: int, deviation: float, seed: int, setting: str
) -> None:
    private = private_side(setting, batch=batch, seed=seed)
    found = reconstruction_of(private, setting, batch, restarts, blurred(deviation, seed))
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(batch, generator=generator) for _ in range(3 * restarts)])
    order = order.view(3, restarts, batch)

    def shuffled(part: Tensor) -> Tensor:
        return torch.take_along_dim(part, order.view(3, restarts, batch, *[1] * (part.dim() - 3)), dim=2)

    other = replace(found, **{name: shuffled(part) for name, part in found.components.items()})
    for name in TRANSITION_METRICS:
        one, another = measured(name, found, private, setting), measured(name, other, private, setting)
        assert (one is None) == (another is None)
        assert one is None or one == pytest.approx(another, abs=1e-9), name


@settings(max_examples=20, deadline=None)
@given(deviation=st.floats(0.01, 3), seed=st.integers(0, 1000))
def test_mean_squared_errors_are_those_of_the_noise(deviation: float, seed: int) -> None:
    private = private_side("Hopper", batch=1, seed=seed)
    found = reconstruction_of(private, "Hopper", 1, 1, lambda part: part + deviation)
    for name in ("mse", "mse_state", "mse_action", "mse_reward", "mse_next_state"):
        assert measured(name, found, private, "Hopper") == pytest.approx([deviation**2] * 3, rel=1e-3)
    assert measured("nrmse_state", found, private, "Hopper") == pytest.approx([deviation / 2] * 3, rel=1e-3)
    assert measured("nrmse_reward", found, private, "Hopper") == pytest.approx([deviation / 0.5] * 3, rel=1e-3)


def test_the_error_of_a_whole_transition_counts_every_number_alike() -> None:
    private = private_side("Hopper", batch=1)
    found = reconstruction_of(private, "Hopper", 1, 1)
    off = replace(found, reward=found.reward + 1)
    assert measured("mse", off, private, "Hopper") == pytest.approx([1 / (11 + 3 + 1 + 11)] * 3)


@pytest.mark.parametrize(
    ("part", "metric", "limit"),
    [
        ("state", "state_accuracy", 0.25 * 2.0),
        ("next_state", "next_state_accuracy", 0.25 * 2.0),
        ("action", "action_correct", 0.1),
        ("reward", "reward_accuracy", 0.1 * 0.5),
    ],
)
def test_a_part_is_right_up_to_its_threshold_and_a_transition_if_all_its_parts_are(part, metric, limit) -> None:
    private = private_side("Hopper")
    # So much changes that `state` decides.
    private = replace(private, next_vector=private.vector + 4)
    found = reconstruction_of(private, "Hopper")
    for share, right in ((0.98, 1.0), (1.02, 0.0)):
        off = getattr(found, part).clone()
        off[:, :, 0] += share * limit  # the first of two
        moved = replace(found, **{part: off})
        assert measured(metric, moved, private, "Hopper") == pytest.approx([(1 + right) / 2] * 3)
        assert measured("recovery_accuracy", moved, private, "Hopper") == pytest.approx([(1 + right) / 2] * 3)


@pytest.mark.parametrize(("setting", "least"), [("Pong", 1 / 255), ("CarRacing", 1 / 255), ("Hopper", 2e-3)])
def test_a_next_state_is_right_only_where_it_says_more_than_that_nothing_changes(setting: str, least: float) -> None:
    private = private_side(setting, batch=1)
    component = "vector" if setting == "Hopper" else "image"
    state = getattr(private, component)
    still = torch.cat([state[:, 1:], state[:, -1:]], dim=1) if setting == "Pong" else state
    change = torch.zeros_like(state)
    change[:2, -1] = 0.2
    private = replace(private, **{f"next_{component}": still + change})

    def accuracy(share: float, beside: float = 0.0) -> list[float]:
        """With s known, and of what changes the share given."""
        found = reconstruction_of(private, setting, 1, 1)
        guess = replace(found, next_state=(still + share * change + beside)[:, None, None])
        assert measured("state_accuracy", guess, private, setting).tolist() == [1, 1, 1]
        return measured("next_state_accuracy", guess, private, setting).tolist()

    assert accuracy(0) == [0, 0, 1]
    assert accuracy(0.74) == [0, 0, 1]
    assert accuracy(0.76) == [1, 1, 1]
    # Where nothing changes: as exactly as an image is stored, or a number is rounded.
    assert accuracy(1, beside=0.9 * least)[2] == 1
    assert accuracy(1, beside=1.1 * least)[2] == 0


def test_a_discrete_action_is_right_where_it_is_the_most_probable() -> None:
    private = private_side("FrozenLake", batch=1)
    found = reconstruction_of(private, "FrozenLake", 1, 1)
    unsure = replace(found, action=0.2 + 0.1 * found.action)
    other = replace(found, action=found.action.roll(1, dims=-1))
    assert measured("action_correct", unsure, private, "FrozenLake").tolist() == [1, 1, 1]
    assert measured("action_correct", other, private, "FrozenLake").tolist() == [0, 0, 0]


def test_a_transition_that_cannot_be_is_as_far_off_as_the_simulator_says_whatever_the_truth() -> None:
    private = private_side("Hopper")
    elsewhere = private_side("Hopper", seed=9)
    possible = reconstruction_of(elsewhere, "Hopper")
    assert measured("te", possible, private, "Hopper") == pytest.approx([0] * 3, abs=1e-6)
    impossible = replace(possible, next_state=possible.next_state + 3.0)
    assert measured("te", impossible, private, "Hopper") == pytest.approx([1.5] * 3, rel=1e-5)
    assert measured("te_truth", impossible, private, "Hopper") == pytest.approx([0] * 3, abs=1e-6)


def test_on_frozenlake_a_move_is_possible_by_its_most_probable_parts_however_blurred() -> None:
    successor = partial(real_successor, "FrozenLake")
    places = np.eye(16, dtype=np.float32)
    start, taken = places[[0, 0, 14]], torch.tensor([1, 2, 2])  # down, right, right into the goal
    private = replace(
        private_side("FrozenLake", batch=1),
        vector=torch.from_numpy(start),
        action=taken,
        next_vector=torch.from_numpy(successor(start, taken.numpy())),
    )
    found = reconstruction_of(private, "FrozenLake", 1, 1, lambda part: 0.3 + 0.2 * part)
    jumps = replace(found, next_state=found.next_state.clone())
    jumps.next_state[1, ..., 10] = 2.0
    for guess, possible in ((found, [1, 1, 1]), (jumps, [1, 0, 1])):
        assert measured("possible", guess, private, "FrozenLake", successor=successor).tolist() == possible
        assert measured("possible_truth", guess, private, "FrozenLake", successor=successor).tolist() == [1, 1, 1]
    assert (measured("te", found, private, "FrozenLake", successor=successor) > 0.1).all()
    nothing = replace(found, state=torch.zeros_like(found.state))
    assert measured("possible", nothing, private, "FrozenLake", successor=successor).tolist() == [0, 0, 0]
    assert (
        measured("possible", reconstruction_of(private_side("Hopper"), "Hopper"), private_side("Hopper"), "Hopper")
        is None
    )


def test_where_the_simulator_cannot_go_on_the_error_is_the_largest_there_is() -> None:
    private = private_side("Hopper", batch=1)
    found = reconstruction_of(private, "Hopper", 1)

    def breaks(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        following = rule(states, actions)
        following[1] = np.nan
        return following

    assert measured("te", found, private, "Hopper", breaks) == pytest.approx([0, TE_LIMIT, 0], abs=1e-6)


def test_an_attack_that_diverged_scores_as_zeros_and_says_so() -> None:
    private = private_side("FrozenLake", batch=1)
    found = reconstruction_of(private, "FrozenLake", 1)
    for part in found.components.values():
        part[1] = float("nan")
    found.gradient_error[1] = float("inf")
    table = scored({"rgia": found}, private, "FrozenLake", 1)
    assert np.isfinite(table["value"]).all()
    assert values(table, "failed").tolist() == [0, 1, 0]
    assert values(table, "gme").tolist() == [0, 1, 0]
    assert values(table, "recovery_accuracy").tolist() == [1, 0, 1]
    assert values(table, "action_correct").tolist() == [1, 0, 1]
    assert len(values(table, "mse")) == 3


def test_a_part_that_is_nan_for_everybody_is_a_failure_and_loses_no_row() -> None:
    private = private_side("Hopper")
    found = reconstruction_of(private, "Hopper")
    found = replace(found, next_state=torch.full_like(found.next_state, float("nan")))
    assert measured("failed", found, private, "Hopper").tolist() == [1, 1, 1]
    for metric in ("mse", "mse_next_state", "te"):
        assert np.isfinite(measured(metric, found, private, "Hopper")).all(), metric
    assert measured("next_state_accuracy", found, private, "Hopper").tolist() == [0, 0, 0]
    assert measured("mse_state", found, private, "Hopper") == pytest.approx([0] * 3)


def test_the_restart_that_the_attack_chose_is_scored_however_good_another_is() -> None:
    private = private_side("Hopper", batch=1)
    found = reconstruction_of(private, "Hopper", 1, restarts=2)
    found.state[:, 1] += 1
    chosen = replace(found, chosen=torch.tensor([0, 1, 0]))
    assert measured("mse_state", chosen, private, "Hopper") == pytest.approx([0, 1, 0])
    table = scored({"rgia": chosen}, private, "Hopper", 1)
    assert values(table, "trust_matching_loss").tolist() == [0, 3, 4]


def scored(found, private: PrivateSide, setting: str, batch: int):
    place = PLACE | {"setting": setting, "batch": batch}
    limits = TransitionThresholds()
    return score_transitions(found, private, place, UNITS, thresholds=limits, successor=rule)


def values(table, metric: str) -> np.ndarray:
    return table.loc[table["metric"] == metric, "value"].to_numpy()


def test_the_long_table_has_a_row_for_each_attack_victim_and_metric() -> None:
    private = private_side("Hopper")
    found = {"rgia": reconstruction_of(private, "Hopper"), "gia": reconstruction_of(private, "Hopper", restarts=1)}
    table = scored(found, private, "Hopper", 2)
    assert tuple(table.columns) == COLUMNS
    assert set(table["attack"]) == {"rgia", "gia"}
    assert set(table["setting"]) == {"Hopper"}
    assert table["victim"].drop_duplicates().tolist() == [0, 1, 2]
    # A single restart agrees with nobody.
    consistency = table[table["metric"].isin(["ed", "ss", "cd"])]
    assert set(consistency["attack"]) == {"rgia"}
    assert not table.duplicated(["attack", "victim", "metric"]).any()


def test_files_that_do_not_belong_together_are_refused_in_one_line() -> None:
    private = private_side("Hopper")
    found = reconstruction_of(private, "Hopper")
    with pytest.raises(CorruptArtefactError, match="6 transitions and 3 updates over 1 were inverted"):
        compared(TransitionReconstruction(**first_of_batch(found)), private, "Hopper")
    with pytest.raises(CorruptArtefactError, match="the reconstructed state has 17 numbers, the private one 11"):
        compared(reconstruction_of(private_side("Walker2d"), "Walker2d"), private, "Hopper")
    with pytest.raises(CorruptArtefactError, match="lacks the next_state"):
        compared(found, replace(private, next_vector=None), "Hopper")


def first_of_batch(found: TransitionReconstruction) -> dict:
    parts = {name: part[:, :, :1] for name, part in found.components.items()}
    return parts | {"chosen": found.chosen, "gradient_error": found.gradient_error}
