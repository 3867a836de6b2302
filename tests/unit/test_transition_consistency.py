"""Whether restarts agree, and on what: distances between them, silhouettes of victims, and how far from the truth."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from true_transitions import blurred, measured, private_side, reconstruction_of

torch.set_num_threads(1)


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 3), restarts=st.integers(2, 4), off=st.floats(0, 5), seed=st.integers(0, 100))
def test_restarts_that_agree_have_no_distance_and_the_same_error_as_their_centroid(
    batch: int, restarts: int, off: float, seed: int
) -> None:
    private = private_side("Hopper", batch=batch, seed=seed)
    found = reconstruction_of(private, "Hopper", batch, restarts, lambda part: part + off)
    assert measured("ed", found, private, "Hopper") == pytest.approx([0] * 3, abs=1e-6)
    assert measured("ss", found, private, "Hopper") == pytest.approx([1] * 3, abs=1e-6)
    centroid = measured("cd", found, private, "Hopper")
    # Per transition 22 numbers of states in units of 2, one reward in units of 0.5, three of an action.
    assert centroid == pytest.approx([off * np.sqrt((22 / 4 + 1 * 4 + 3) / 26)] * 3, abs=1e-5)


def test_two_restarts_apart_by_a_deviation_have_distance_one() -> None:
    private = private_side("Hopper", batch=1)
    found = reconstruction_of(private, "Hopper", 1, restarts=2)
    found.state[:, 1] += 2
    found.next_state[:, 1] += 2
    found.reward[:, 1] += 0.5
    found.action[:, 1] += 1
    assert measured("ed", found, private, "Hopper") == pytest.approx([1] * 3, rel=1e-5)
    assert measured("cd", found, private, "Hopper") == pytest.approx([0.5] * 3, rel=1e-5)


def test_more_noise_is_less_agreement_by_every_measure_but_its_centroid_stays_near() -> None:
    private = private_side("Hopper", victims=6, batch=1)
    little, much = (reconstruction_of(private, "Hopper", 1, 8, blurred(deviation)) for deviation in (0.01, 0.5))
    for metric, agreement in (("ed", -1), ("ss", 1)):
        gain = measured(metric, little, private, "Hopper") - measured(metric, much, private, "Hopper")
        assert (agreement * gain > 0).all()
    assert (measured("cd", much, private, "Hopper") < measured("ed", much, private, "Hopper")).all()


def test_who_gives_the_same_whatever_the_victim_agrees_with_itself_and_tells_nobody_apart() -> None:
    private = private_side("Hopper", victims=4, batch=1)
    collapsed = reconstruction_of(private, "Hopper", 1, 3, torch.zeros_like)
    assert measured("ed", collapsed, private, "Hopper").tolist() == [0] * 4
    assert measured("ss", collapsed, private, "Hopper").tolist() == [0] * 4
    assert (measured("cd", collapsed, private, "Hopper") > 0.1).all()


def test_one_restart_agrees_with_nobody_and_one_victim_differs_from_nobody() -> None:
    private = private_side("Hopper", batch=1)
    alone = reconstruction_of(private, "Hopper", 1, 1)
    assert all(measured(name, alone, private, "Hopper") is None for name in ("ed", "ss", "cd"))
    single = private_side("Hopper", victims=1, batch=1)
    assert measured("ss", reconstruction_of(single, "Hopper", 1, 3), single, "Hopper") is None
    assert measured("ed", reconstruction_of(single, "Hopper", 1, 3), single, "Hopper").tolist() == [0]
