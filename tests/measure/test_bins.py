"""Statistically different bins: the chance level is exact, and lost regions are found."""

from math import comb

import numpy as np
import pytest

from bench.measure import different_bins


def repeated(counts):
    """(1, sum, 2): sample k at (10 k, 0), counts[k] times."""
    return np.repeat([[10.0 * k, 0.0] for k in range(len(counts))], counts, axis=0)[None]


def test_two_bins_by_hand():
    # 20 of 20 generated samples in the first bin, 10 of 20 real ones: z = 3.65. By chance, 20 of 40 samples of which 30 are in the first
    # bin would be generated: |x / 20 - (30 - x) / 20| > 1.96 sqrt(3/4 * 1/4 * 2/20) = 0.268 for x = 10 ... 12 and 18 ... 20.
    chance = sum(comb(30, x) * comb(10, 20 - x) for x in (10, 11, 12, 18, 19, 20)) / comb(40, 20)
    assert different_bins(repeated([20, 0]), repeated([10, 10]))[0] == pytest.approx(1 - chance, rel=1e-12)


def test_one_distribution_has_no_bins_above_chance():
    rng = np.random.default_rng(0)
    values = different_bins(rng.normal(size=(300, 90, 4)), rng.normal(size=(300, 60, 4)))
    assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(300)


def test_lost_modes_leave_no_bin_as_it_should_be():
    """Shares 1/4 and 0 instead of 1/8, of 160 samples: z = 2.9 and 4.6."""
    real = repeated([20] * 8)
    value = different_bins(repeated([40] * 4 + [0] * 4), real)[0]
    assert 0.9 < value < 1  # chance takes its part
    assert -0.1 < different_bins(real[:, ::-1], real)[0] < 0


def test_samples_that_are_all_equal_fill_one_bin_alike():
    assert different_bins(np.ones((1, 30, 3)), np.ones((1, 25, 3)))[0] == 0


def test_fewer_than_two_bins_of_real_samples_are_undefined():
    rng = np.random.default_rng(2)
    assert np.isnan(different_bins(rng.normal(size=(1, 50, 2)), rng.normal(size=(1, 19, 2)))[0])
    assert np.isfinite(different_bins(rng.normal(size=(1, 50, 2)), rng.normal(size=(1, 20, 2)))[0])


def test_order_of_samples_and_company_of_tasks_change_nothing():
    rng = np.random.default_rng(3)
    fake, real = rng.normal(size=(3, 40, 3)), 0.5 + rng.normal(size=(3, 30, 3))
    clean = different_bins(fake, real)
    np.testing.assert_allclose(different_bins(fake[:, rng.permutation(40)], real[:, rng.permutation(30)]), clean, rtol=1e-12)
    np.testing.assert_array_equal(np.concatenate([different_bins(fake[[task]], real[[task]]) for task in range(3)]), clean)
    fake[1, 3, 0] = np.nan
    values = different_bins(fake, real)
    assert np.isnan(values[1])
    np.testing.assert_array_equal(values[[0, 2]], clean[[0, 2]])
