"""What a comparison can decide: normal limits and simulated power."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.stats import can_decide, detectable_difference, spread_of_difference, two_way_difference


def tidy(values_RT):
    replicates, tasks = np.indices(np.shape(values_RT))
    return pd.DataFrame({"replicate": replicates.ravel(), "task_id": tasks.ravel(), "value": np.ravel(values_RT)})


def test_with_many_replicates_and_tasks_the_normal_formula_holds():
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    found = detectable_difference(sd_replicate=2.0, sd_task=3.0, n_replicates=10**6, n_tasks=10**6)
    assert found == pytest.approx(z * np.sqrt(13 / 10**6), rel=1e-5)


def test_one_replicate_detects_nothing():
    assert detectable_difference(sd_replicate=1, sd_task=1, n_replicates=1, n_tasks=50) == np.inf


def test_more_replicates_buy_power_and_more_tasks_do_not_where_replicates_vary():
    base = {"sd_replicate": 0.4, "sd_task": 0.4}
    few = detectable_difference(**base, n_replicates=5, n_tasks=50)
    assert detectable_difference(**base, n_replicates=10, n_tasks=50) < 0.7 * few
    assert detectable_difference(**base, n_replicates=5, n_tasks=500) > 0.9 * few


def test_the_decision_names_the_replicates_needed():
    planned = {"sd_replicate": 0.4, "sd_task": 0.4, "n_tasks": 50}
    decision = can_decide(-0.5, n_replicates=3, **planned)
    assert not decision.decides
    assert decision.replicates_needed is not None
    assert can_decide(0.5, n_replicates=decision.replicates_needed, **planned).decides
    assert not can_decide(0.5, n_replicates=decision.replicates_needed - 1, **planned).decides
    assert can_decide(1e-6, n_replicates=3, **planned).replicates_needed is None


def test_spread_is_that_of_the_paired_difference():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 9)), rng.normal(size=(4, 9))
    expected = (a - b).mean(axis=1).std(ddof=1), (a - b).mean(axis=0).std(ddof=1)
    assert spread_of_difference(tidy(a), tidy(b)) == pytest.approx(expected)
    with pytest.raises(MetricError, match="equal replicates and tasks"):
        spread_of_difference(tidy(a), tidy(b[:3]))


def test_impossible_plans_are_refused():
    with pytest.raises(MetricError, match="sd >= 0"):
        detectable_difference(sd_replicate=-1, sd_task=1, n_replicates=3, n_tasks=9)


def test_a_difference_of_the_detectable_size_is_found_about_as_often_as_asked():
    rng = np.random.default_rng(1)
    # Differences: replicate effect 0.4 between arms, task effect 0.3, residual 1 on 40 tasks and 8 replicates.
    sd_replicate, sd_task = np.sqrt(0.4**2 + 1 / 40), np.sqrt(0.3**2 + 1 / 8)
    effect = detectable_difference(sd_replicate=sd_replicate, sd_task=sd_task, n_replicates=8, n_tasks=40)
    found = 0
    for _ in range(200):
        difference = effect + 0.4 * rng.normal(size=(8, 1)) + 0.3 * rng.normal(size=(1, 40)) + rng.normal(size=(8, 40))
        found += two_way_difference(tidy(difference), tidy(np.zeros((8, 40)))).low > 0
    assert 0.68 <= found / 200 <= 0.92


def test_the_detectable_difference_is_found_with_the_asked_probability():
    # Equal variances and equal degrees of freedom of both parts: a noncentral t with 2 (n - 1) degrees of freedom.
    for n, power in ((3, 0.5), (3, 0.8), (6, 0.9)):
        effect = detectable_difference(sd_replicate=1.0, sd_task=1.0, n_replicates=n, n_tasks=n, power=power)
        df, error = 2 * (n - 1), np.sqrt(2 / n)
        assert stats.nct.sf(stats.t.ppf(0.975, df), df, effect / error) == pytest.approx(power, rel=1e-6)
