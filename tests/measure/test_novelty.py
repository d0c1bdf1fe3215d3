"""Memorisation: copies score 0, honest samples 1."""

import numpy as np
import pytest

from bench.measure import nearest_support_ratio, support_query_gap

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


def test_a_bad_task_is_undefined_alone():
    fake, query, support = (RNG.normal(size=(3, n, 2)) for n in (6, 5, 4))
    fake[1, 0, 0] = np.nan
    for values in (nearest_support_ratio(fake, query, support), support_query_gap(fake, query, support)):
        assert np.isnan(values).tolist() == [False, True, False]
