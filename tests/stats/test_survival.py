"""Times to an event: SciPy for one stratum, hand tables for several, and cells that never got there."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.stats import log_rank_test, survival

NEVER = np.inf


def runs(times_by_task):
    return pd.DataFrame(
        [{"replicate": r, "task_id": task, "value": time} for task, times in times_by_task.items() for r, time in enumerate(times)]
    )


def censored(times, budget):
    times = np.asarray(times, dtype=float)
    return stats.CensoredData.right_censored(np.minimum(times, budget), times > budget)


def test_survival_with_one_budget_is_the_share_of_runs_that_are_left():
    np.testing.assert_allclose(survival([1, 2, 2, 5, NEVER], 10, [0, 1, 2, 4, 5, 10]), [1, 0.8, 0.4, 0.4, 0.2, 0.2])


def test_what_happens_beyond_the_budget_has_not_happened():
    np.testing.assert_allclose(survival([1, 30, NEVER], 10, [10]), [2 / 3])
    np.testing.assert_array_equal(survival([NEVER, NEVER], 10, [0, 10]), [1, 1])


def test_the_statistic_of_one_stratum_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 9, 12).astype(float), rng.integers(3, 14, 12).astype(float)
    expected = stats.logrank(censored(a, 10), censored(b, 10))
    found = log_rank_test(runs({"t": a}), runs({"t": b}), budget=10)
    assert abs(found.statistic) == pytest.approx(abs(expected.statistic), rel=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.statistic > 0  # a's events come earlier
    assert log_rank_test(runs({"t": b}), runs({"t": a}), budget=10).statistic == pytest.approx(-found.statistic)


def test_strata_add_their_tables_by_hand():
    """Each task: one run of A reaches at 1, one never; both of B at 2. O - E = 1 - 2/4 - 2 * 1/3, V = 1/4 + 2 (1/3)(2/3)(1/2), twice."""
    a, b = runs({"x": [1, NEVER], "y": [1, NEVER]}), runs({"x": [2, 2], "y": [2, 2]})
    excess, variance = 2 * (1 - 1 / 2 - 2 / 3), 2 * (1 / 4 + 2 * (1 / 3) * (2 / 3) * (1 / 2))
    assert log_rank_test(a, b, budget=5).statistic == pytest.approx(excess / np.sqrt(variance), rel=1e-12)


def test_runs_without_the_event_count_to_the_last():
    """Two that diverged and are censored at the full budget stay at risk: leaving them out would hide that A is worse."""
    b = runs({"t": [2.0, 3, 4, 5]})
    with_lost, without = runs({"t": [2.0, 3, NEVER, NEVER]}), runs({"t": [2.0, 3]})
    assert log_rank_test(with_lost, b, budget=10).statistic < 0
    assert log_rank_test(without, b, budget=10).statistic > 0


def test_what_cannot_be_compared_says_why():
    never = runs({"t": [NEVER, NEVER]})
    assert log_rank_test(never, never, budget=5).reason == "no event to compare"
    assert log_rank_test(never, runs({"u": [1.0]}), budget=5).reason == "no common task"
    with pytest.raises(MetricError, match="never"):
        log_rank_test(runs({"t": [np.nan]}), never, budget=5)
    with pytest.raises(MetricError, match="0 runs"):
        survival([], 5, [1])
