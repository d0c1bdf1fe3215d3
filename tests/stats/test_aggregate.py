"""Aggregates and intervals of one arm: hand arithmetic, SciPy and simulated coverage."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.stats import iqm, optimality_gap, performance_profile, these_tasks_interval, two_way_interval
from bench.stats.aggregate import Variance, t_interval, total_variance


def tidy(values_RT, **columns):
    """One row per replicate and task, shuffled: the order of rows carries no meaning."""
    replicates, tasks = np.indices(np.shape(values_RT))
    frame = pd.DataFrame({"replicate": replicates.ravel(), "task_id": [f"t{t}" for t in tasks.ravel()], "value": np.ravel(values_RT)})
    return frame.assign(**columns).sample(frac=1, random_state=0)


def test_two_way_interval_by_hand():
    # Rows (replicates) have means 2 and 4, columns (tasks) 2, 3, 4.
    estimate = two_way_interval(tidy([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]))
    by_replicate, by_task = 2 / 2, 1 / 3  # variances 2 and 1, over R = 2 and T = 3
    total = by_replicate + by_task
    df = total**2 / (by_replicate**2 / 1 + by_task**2 / 2)
    half = stats.t.ppf(0.975, df) * np.sqrt(total)
    assert (estimate.estimate, estimate.df) == (3, pytest.approx(df))
    assert (estimate.low, estimate.high) == (pytest.approx(3 - half), pytest.approx(3 + half))
    assert (estimate.n_replicates, estimate.n_tasks, estimate.reason) == (2, 3, "")


def test_these_tasks_interval_is_the_t_interval_of_the_replicates_means():
    values = np.random.default_rng(0).normal(size=(5, 20))
    estimate = these_tasks_interval(tidy(values), level=0.9)
    means = values.mean(axis=1)
    low, high = stats.t.interval(0.9, 4, loc=means.mean(), scale=stats.sem(means))
    assert (estimate.low, estimate.high, estimate.df) == (pytest.approx(low), pytest.approx(high), pytest.approx(4))


def test_degrees_of_freedom_lie_between_the_smallest_and_the_sum():
    assert total_variance([Variance(1.0, 4), Variance(0.0, 9)])[1] == pytest.approx(4)
    assert total_variance([Variance(1.0, 4), Variance(1.0, 4)])[1] == pytest.approx(8)
    assert total_variance([Variance(1e-300, 4), Variance(1e-300, 4)])[1] == pytest.approx(8)
    assert total_variance([Variance(0.0, 4), Variance(0.0, 9)]) == (0.0, 4.0)


def test_values_without_variance_have_an_interval_of_no_width():
    estimate = two_way_interval(tidy(np.full((3, 4), 2.0)))
    assert (estimate.low, estimate.estimate, estimate.high) == (2, 2, 2)


@pytest.mark.parametrize(("shape", "reason"), [((1, 4), "1 replicate"), ((4, 1), "1 task"), ((1, 1), "1 replicate")])
def test_too_little_data_gives_no_interval_and_says_why(shape, reason):
    estimate = two_way_interval(tidy(np.ones(shape)))
    assert estimate.estimate == 1
    assert np.isnan([estimate.low, estimate.high, estimate.df]).all()
    assert reason in estimate.reason


def test_one_task_still_has_an_interval_over_replicates():
    estimate = these_tasks_interval(tidy([[1.0], [3.0]]))
    assert estimate.low < 2 < estimate.high
    assert "1 replicate" in these_tasks_interval(tidy([[1.0, 2.0]])).reason


def test_undefined_values_are_never_averaged_away():
    estimate = two_way_interval(tidy([[1.0, np.nan, 3.0], [3.0, 4.0, 5.0]]))
    assert np.isnan(estimate.estimate)
    assert estimate.reason == "1 of 6 values are undefined"


def test_no_rows_give_no_estimate():
    empty = tidy(np.ones((2, 2))).iloc[:0]
    assert two_way_interval(empty).reason == these_tasks_interval(empty).reason == "no values"


def test_an_incomplete_replicate_is_left_out_whole_and_named():
    frame = tidy([[1.0, 2.0], [3.0, 4.0], [50.0, 60.0]])
    estimate = two_way_interval(frame[~((frame["replicate"] == 2) & (frame["task_id"] == "t1"))])
    assert estimate.estimate == 2.5
    assert (estimate.n_replicates, estimate.reason) == (2, "incomplete replicates left out: 2")


def test_cells_of_a_group_are_averaged_within_replicate_and_task():
    low, high = tidy([[1.0, 2.0], [3.0, 4.0]]), tidy([[3.0, 4.0], [5.0, 6.0]])
    assert two_way_interval(pd.concat([low, high])) == two_way_interval(tidy([[2.0, 3.0], [4.0, 5.0]]))


def test_tasks_of_two_distributions_stay_apart():
    frame = pd.concat([tidy(np.ones((2, 3)), task_distribution="a"), tidy(np.ones((2, 3)), task_distribution="b")])
    assert two_way_interval(frame).n_tasks == 6


def test_nullable_columns_are_read():
    frame = tidy([[1.0, 2.0], [3.0, 4.0]]).astype({"replicate": "Int64", "value": "Float64", "task_id": "string"})
    assert two_way_interval(frame).estimate == 2.5


def test_a_frame_without_the_columns_is_refused():
    with pytest.raises(MetricError, match="needs the columns task_id"):
        two_way_interval(pd.DataFrame({"replicate": [0], "value": [1.0]}))
    with pytest.raises(MetricError, match="a replicate in every row"):
        two_way_interval(pd.DataFrame({"replicate": [None, 1.0], "task_id": ["a", "a"], "value": [1.0, 1.0]}))
    with pytest.raises(MetricError, match="between 0 and 1"):
        t_interval(0.0, [Variance(1.0, 3)], level=95)


@pytest.mark.parametrize("n", [4, 5, 7, 8, 100])
def test_iqm_is_scipys_trimmed_mean(n):
    values = np.random.default_rng(n).normal(size=n)
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12)


def test_iqm_of_few_values_is_their_mean_and_ignores_outliers_of_many():
    assert iqm([1, 2, 9]) == 4
    assert iqm([1, 2, 4, 1e9]) == 3
    assert np.isnan(iqm([]))
    assert np.isnan(iqm([1, np.nan, 3, 4, 5]))


def test_gap_and_profile_by_hand():
    assert optimality_gap([0.5, 1.0, 3.0], target=1.0) == pytest.approx(1 / 6)
    np.testing.assert_allclose(performance_profile([1, 2, 2, 3], [0, 1, 2, 3]), [1, 0.75, 0.25, 0])


def covers(rng, k, m, *, seed_sd=0.3, task_sd=1.0, residual_sd=1.0):
    values = seed_sd * rng.normal(size=(k, 1)) + task_sd * rng.normal(size=(1, m)) + residual_sd * rng.normal(size=(k, m))
    estimate = two_way_interval(tidy(values))
    return estimate.low <= 0 <= estimate.high


@pytest.mark.parametrize("k", [3, 5])
def test_the_two_way_interval_covers_new_replicates_and_tasks(k):
    rng = np.random.default_rng(10 + k)
    assert 0.92 <= np.mean([covers(rng, k, 50) for _ in range(300)]) <= 0.99


@pytest.mark.exhaustive
@pytest.mark.parametrize("k", [3, 5, 10])
@pytest.mark.parametrize("m", [50, 200])
def test_the_two_way_interval_covers_at_every_size(k, m):
    # 20 000 repetitions give 0.926 for 3 replicates on 200 tasks, the lowest of these, and 0.946 to 0.959 for 5 and 10 replicates.
    rng = np.random.default_rng(100 * k + m)
    assert 0.92 <= np.mean([covers(rng, k, m) for _ in range(2000)]) <= 0.99
