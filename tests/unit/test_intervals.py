"""Intervals: what they cover, and that of a proportion in full."""

import numpy as np
import pytest

from rlleak.publishing.statistics import exact_proportion, mean_interval


@pytest.mark.parametrize("victims", [24, 8])  # of each room type two: as few as there may be
def test_intervals_cover_the_truth_about_as_often_as_they_say(victims):
    kinds = np.tile(["a", "b", "c", "d"], victims // 4)
    covered = 0
    for seed in range(200):
        low, high = mean_interval(np.random.default_rng(seed).standard_normal(victims), kinds, samples=500, seed=seed)
        covered += low < 0 < high
    assert 180 <= covered <= 200


@pytest.mark.parametrize(("victims", "enough"), [(2, False), (4, False), (5, True)])
def test_where_the_range_of_all_victims_would_often_miss_the_truth_there_is_no_interval(victims, enough):
    """Environments have no room types: one stratum, and perhaps very few victims."""
    values = np.random.default_rng(0).standard_normal(victims)
    found = mean_interval(values, np.full(victims, ""), samples=200, seed=0)
    assert np.isfinite(found).all() == enough


def test_the_exact_interval_of_a_proportion_is_that_of_clopper_and_pearson():
    assert exact_proportion(24, 24) == pytest.approx((0.025 ** (1 / 24), 1.0))
    assert exact_proportion(0, 24) == pytest.approx((0.0, 1 - 0.025 ** (1 / 24)))
