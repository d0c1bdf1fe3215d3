"""Memorisation: copies score 0, honest samples 1."""

import numpy as np
import pytest
from scipy import stats

from bench.measure import data_copying, energy_distance, nearest_support_ratio, support_query_gap

RNG = np.random.default_rng(0)


def test_copies_of_the_support_have_no_novelty():
    support, query = RNG.normal(size=(1, 8, 4)), RNG.normal(size=(1, 16, 4))
    assert nearest_support_ratio(np.tile(support, (1, 3, 1)), query, support)[0] == 0


def test_nearest_support_ratio_by_hand():
    support = np.array([[[0.0], [10.0]]])
    query = np.array([[[1.0], [12.0]]])  # 1 and 2 away: 1.5
    fake = np.array([[[4.0], [10.5], [13.0]]])  # 4, 0.5 and 3 away: 2.5
    assert nearest_support_ratio(fake, query, support)[0] == pytest.approx(5 / 3)


def test_held_out_samples_that_are_the_support_leave_the_ratio_undefined():
    support = RNG.normal(size=(1, 4, 2))
    assert np.isnan(nearest_support_ratio(RNG.normal(size=(1, 4, 2)), support, support)[0])


def test_honest_samples_have_ratio_one_and_no_gap_and_copies_a_positive_gap():
    rng = np.random.default_rng(1)
    fake, query, support = (rng.normal(size=(400, n, 8)) for n in (32, 16, 8))
    ratio, gap = nearest_support_ratio(fake, query, support), support_query_gap(fake, query, support)
    assert abs(ratio.mean() - 1) < 0.02
    assert abs(gap.mean()) < 4 * gap.std(ddof=1) / 20
    memorised = support_query_gap(np.tile(support, (1, 4, 1)), query, support)
    assert memorised.mean() > 10 * memorised.std(ddof=1) / 20


def test_the_gap_is_the_difference_of_two_energy_distances():
    fake, query, support = (RNG.normal(size=(3, n, 4)) for n in (6, 5, 4))
    np.testing.assert_allclose(
        support_query_gap(fake, query, support), energy_distance(fake, query) - energy_distance(fake, support), rtol=1e-10
    )


@pytest.mark.parametrize("step", [1e-9, 1.0], ids=["no ties", "ties"])
def test_data_copying_is_the_z_of_scipys_rank_test(step):
    rng = np.random.default_rng(2)
    fake, query, support = (np.round(rng.normal(size=(1, n, 1)) * 2 / step) * step for n in (9, 7, 4))
    distances = [np.abs(samples[0] - support[0].T).min(axis=1) for samples in (fake, query)]
    trusted = stats.mannwhitneyu(*distances, method="asymptotic", use_continuity=False, alternative="less")
    assert data_copying(fake, query, support)[0] == pytest.approx(stats.norm.ppf(trusted.pvalue), rel=1e-6)


def test_data_copying_is_standard_normal_for_an_honest_generator_whatever_the_support():
    rng = np.random.default_rng(3)
    values = data_copying(*(rng.normal(size=(500, n, 6)) for n in (30, 20, 8)))
    assert abs(values.mean()) < 4 / np.sqrt(500)
    assert abs(values.var(ddof=1) - 1) < 4 * np.sqrt(2 / 500)


def test_copies_have_the_lowest_data_copying_there_is_and_far_samples_the_highest():
    """All m below, or above, all q others: U is 0 or m q, and copies share one rank."""
    rng = np.random.default_rng(4)
    support, query = rng.normal(size=(1, 8, 4)), rng.normal(size=(1, 16, 4))
    m, q = 24, 16
    tied = (m + q + 1) - (m**3 - m) / ((m + q) * (m + q - 1))
    lowest = -(m * q / 2) / np.sqrt(m * q / 12 * tied)
    assert data_copying(np.tile(support, (1, 3, 1)), query, support)[0] == pytest.approx(lowest, rel=1e-12)
    highest = (m * q / 2) / np.sqrt(m * q / 12 * (m + q + 1))
    assert data_copying(1000 + rng.normal(size=(1, m, 4)), query, support)[0] == pytest.approx(highest, rel=1e-12)


def test_equal_distances_say_nothing_about_copying():
    assert data_copying(np.ones((1, 5, 2)), np.ones((1, 4, 2)), np.zeros((1, 3, 2)))[0] == 0


def test_a_bad_task_is_undefined_alone():
    fake, query, support = (RNG.normal(size=(3, n, 2)) for n in (6, 5, 4))
    fake[1, 0, 0] = np.nan
    for measure in (nearest_support_ratio, support_query_gap, data_copying):
        assert np.isnan(measure(fake, query, support)).tolist() == [False, True, False]
