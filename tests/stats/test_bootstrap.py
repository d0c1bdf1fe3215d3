"""Pigeonhole bootstrap: exact against explicit resampling, and its randomness is the caller's."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.stats import pigeonhole_interval
from bench.stats.bootstrap import resample_counts, resampled


def tidy(values_RT):
    replicates, tasks = np.indices(np.shape(values_RT))
    return pd.DataFrame({"replicate": replicates.ravel(), "task_id": tasks.ravel(), "value": np.ravel(values_RT)})


VALUES = np.random.default_rng(0).normal(size=(5, 13))


@pytest.mark.parametrize(("statistic", "explicit"), [("iqm", lambda x: stats.trim_mean(x, 0.25, axis=None)), ("mean", np.mean)])
def test_counts_give_what_repeating_rows_and_columns_gives(statistic, explicit):
    rows, columns = resample_counts(np.random.default_rng(1), 5, 13, 200)
    expected = [
        explicit(np.repeat(np.repeat(VALUES, row.astype(int), axis=0), column.astype(int), axis=1))
        for row, column in zip(rows, columns, strict=True)
    ]
    np.testing.assert_allclose(resampled(VALUES, rows, columns, statistic), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(resampled(VALUES, rows, columns, explicit), expected, rtol=1e-12)


def test_each_resample_has_as_many_replicates_and_tasks_as_the_data():
    rows, columns = resample_counts(np.random.default_rng(1), 5, 13, 50)
    assert (rows.sum(axis=1) == 5).all()
    assert (columns.sum(axis=1) == 13).all()


def test_the_ends_are_percentiles_moved_away_by_the_root_of_k_over_k_minus_one():
    found = pigeonhole_interval(tidy(VALUES), np.random.default_rng(3), statistic="mean", resamples=500)
    means = resampled(VALUES, *resample_counts(np.random.default_rng(3), 5, 13, 500), "mean")
    for end, quantile in ((found.low, 0.025), (found.high, 0.975)):
        assert end == pytest.approx(VALUES.mean() + (np.quantile(means, quantile) - VALUES.mean()) * np.sqrt(5 / 4))
    assert (found.n_replicates, found.n_tasks) == (5, 13)


def test_the_same_generator_gives_the_same_interval_whatever_the_global_state():
    np.random.seed(1)  # noqa: NPY002
    first = pigeonhole_interval(tidy(VALUES), np.random.default_rng(9), resamples=300)
    np.random.seed(2)  # noqa: NPY002
    assert pigeonhole_interval(tidy(VALUES), np.random.default_rng(9), resamples=300).low == first.low
    assert pigeonhole_interval(tidy(VALUES), np.random.default_rng(10), resamples=300).low != first.low


def test_the_order_of_rows_means_nothing():
    shuffled = tidy(VALUES).sample(frac=1, random_state=0)
    found = [pigeonhole_interval(rows, np.random.default_rng(9), resamples=50) for rows in (shuffled, tidy(VALUES))]
    assert (found[0].low, found[0].high) == (found[1].low, found[1].high)


def test_too_little_data_gives_no_interval_and_says_why():
    rng = np.random.default_rng(0)
    for values, reason in (
        (VALUES[:1], "1 replicate"),
        (VALUES[:, :1], "1 task"),
        (np.full((2, 2), np.nan), "4 of 4 values are undefined"),
    ):
        found = pigeonhole_interval(tidy(values), rng)
        assert np.isnan([found.low, found.high]).all()
        assert reason in found.reason


def test_what_cannot_be_resampled_is_refused():
    with pytest.raises(MetricError, match="at least one resample"):
        pigeonhole_interval(tidy(VALUES), np.random.default_rng(0), resamples=0)
    with pytest.raises(MetricError, match="'iqm', 'mean' or a function"):
        pigeonhole_interval(tidy(VALUES), np.random.default_rng(0), statistic="median")


@pytest.mark.exhaustive
@pytest.mark.parametrize("k", [3, 5, 10])
def test_the_pigeonhole_interval_covers_about_its_level(k):
    rng = np.random.default_rng(k)
    covered = []
    for _ in range(400):
        values = 0.3 * rng.normal(size=(k, 1)) + rng.normal(size=(1, 50)) + rng.normal(size=(k, 50))
        found = pigeonhole_interval(tidy(values), rng, resamples=1000)
        covered.append(found.low <= 0 <= found.high)
    assert 0.88 <= np.mean(covered) <= 0.995
