"""Differences and tests: hand arithmetic, SciPy and simulated error rates."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.stats import holm, permutation_test, probability_of_improvement, replication_warning, two_way_difference, welch_test

RNG = np.random.default_rng(0)


def tidy(values_RT, *, first=0):
    replicates, tasks = np.indices(np.shape(values_RT))
    return pd.DataFrame(
        {"replicate": first + replicates.ravel(), "task_id": [f"t{t}" for t in tasks.ravel()], "value": np.ravel(values_RT)}
    )


def test_the_paired_difference_is_the_interval_of_the_differences():
    from bench.stats import two_way_interval

    a, b = RNG.normal(size=(4, 9)), RNG.normal(size=(4, 9))
    difference, single = two_way_difference(tidy(a), tidy(b)), two_way_interval(tidy(a - b))
    assert difference.paired
    for name in ("estimate", "low", "high", "df"):
        assert getattr(difference, name) == pytest.approx(getattr(single, name), rel=1e-12)


def test_what_equal_replicates_share_cancels():
    shared = 10 * RNG.normal(size=(4, 1))
    a, b = RNG.normal(size=(4, 9)), RNG.normal(size=(4, 9))
    plain, with_shared = two_way_difference(tidy(a), tidy(b)), two_way_difference(tidy(a + shared), tidy(b + shared))
    assert (with_shared.low, with_shared.high) == (pytest.approx(plain.low), pytest.approx(plain.high))


def test_other_replicates_count_on_their_own():
    a, b = RNG.normal(size=(3, 9)), RNG.normal(size=(5, 9))
    difference = two_way_difference(tidy(a), tidy(b, first=10))
    parts = [
        (a.mean(axis=1).var(ddof=1) / 3, 2),
        (b.mean(axis=1).var(ddof=1) / 5, 4),
        ((a.mean(axis=0) - b.mean(axis=0)).var(ddof=1) / 9, 8),
    ]
    total = sum(v for v, _ in parts)
    df = total**2 / sum(v**2 / d for v, d in parts)
    assert not difference.paired
    assert difference.df == pytest.approx(df)
    assert difference.high - difference.low == pytest.approx(2 * stats.t.ppf(0.975, df) * np.sqrt(total))
    assert (difference.n_replicates_a, difference.n_replicates_b, difference.n_tasks) == (3, 5, 9)


def test_swapping_the_arms_mirrors_the_difference():
    a, b = tidy(RNG.normal(size=(4, 9))), tidy(RNG.normal(size=(4, 9)))
    forth, back = two_way_difference(a, b), two_way_difference(b, a)
    assert (forth.estimate, forth.low, forth.high) == pytest.approx((-back.estimate, -back.high, -back.low))
    assert forth.p_improvement == pytest.approx(1 - back.p_improvement)
    assert forth.standardised == pytest.approx(-back.standardised)


def test_probability_of_improvement_is_the_mann_whitney_statistic_with_ties_halved():
    a, b = RNG.integers(0, 4, size=(5, 6)).astype(float), RNG.integers(0, 4, size=(3, 6)).astype(float)
    expected = np.mean([stats.mannwhitneyu(a[:, t], b[:, t]).statistic / 15 for t in range(6)])
    assert probability_of_improvement(tidy(a), tidy(b), better="higher") == pytest.approx(expected, rel=1e-12)
    assert probability_of_improvement(tidy(a), tidy(b)) == pytest.approx(1 - expected, rel=1e-12)


def test_closer_compares_distances_to_the_ideal():
    a, b = tidy([[0.9, 1.2]]), tidy([[0.5, 1.1]])  # 0.1 beats 0.5; 0.2 loses to 0.1
    assert probability_of_improvement(a, b, better="closer", ideal=1.0) == 0.5
    with pytest.raises(MetricError, match="'lower', 'higher' or 'closer'"):
        probability_of_improvement(a, b, better="smaller")


def test_only_common_tasks_are_compared_and_the_note_says_so():
    a, b = RNG.normal(size=(3, 9)), RNG.normal(size=(3, 9))
    fewer = tidy(b)[lambda rows: rows["task_id"] != "t4"]
    difference = two_way_difference(tidy(a), fewer)
    assert difference.n_tasks == 8
    assert "only the 8 tasks" in difference.reason
    assert difference.estimate == pytest.approx(np.delete(a - b, 4, axis=1).mean())


def test_degenerate_comparisons_say_why():
    one, many = tidy(RNG.normal(size=(1, 5))), tidy(RNG.normal(size=(3, 5)))
    difference = two_way_difference(one, many)
    assert np.isnan(difference.low)
    assert np.isfinite([difference.estimate, difference.p_improvement]).all()
    assert "1 replicate" in difference.reason
    assert "1 task" in two_way_difference(many[many["task_id"] == "t0"], many[many["task_id"] == "t0"]).reason
    assert "undefined" in two_way_difference(many.assign(value=np.nan), many).reason
    assert "no common task" in two_way_difference(many, many.assign(task_id="x" + many["task_id"])).reason
    same = two_way_difference(many, many)
    assert (same.low, same.estimate, same.high, same.p_improvement) == (0, 0, 0, 0.5)


def test_welch_is_scipys_on_the_replicates_means():
    a, b = RNG.normal(size=(4, 20)), 0.3 + 2 * RNG.normal(size=(6, 20))
    expected = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    found = welch_test(tidy(a), tidy(b))
    assert (found.statistic, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, expected.df))
    assert found.reason == ""


def test_permutation_is_scipys_exact_test():
    a, b = RNG.normal(size=(4, 20)), 0.1 + RNG.normal(size=(5, 20))
    expected = stats.permutation_test(
        (a.mean(axis=1), b.mean(axis=1)), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), vectorized=True, n_resamples=np.inf
    )
    assert permutation_test(tidy(a), tidy(b), np.random.default_rng(0)).p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("k", "smallest"), [(3, 0.10), (4, 2 / 70), (5, 2 / 252)])
def test_the_smallest_attainable_p_depends_on_the_replicates(k, smallest):
    result = permutation_test(tidy(np.ones((k, 2)) + np.arange(k)[:, None]), tidy(np.arange(k)[:, None] - 100.0 * np.ones((k, 2))), RNG)
    assert result.p == pytest.approx(smallest)
    assert bool(result.reason) == (k < 4)


def test_many_replicates_are_permuted_by_sampling_from_the_given_generator():
    a, b = tidy(RNG.normal(size=(12, 2))), tidy(RNG.normal(size=(12, 2)))
    first = permutation_test(a, b, np.random.default_rng(5), resamples=2000)
    np.random.seed(7)  # noqa: NPY002  the global state must not matter
    assert permutation_test(a, b, np.random.default_rng(5), resamples=2000) == first
    expected = stats.ttest_ind(a.groupby("replicate")["value"].mean(), b.groupby("replicate")["value"].mean()).pvalue
    assert first.p == pytest.approx(expected, abs=0.08)


def test_tests_that_are_undefined_say_why():
    flat, one = tidy(np.ones((3, 4))), tidy(np.ones((1, 4)))
    assert welch_test(flat, flat).reason == "no variance between replicates"
    assert permutation_test(flat, flat, RNG).p == 1
    for result in (welch_test(one, flat), permutation_test(one, flat, RNG)):
        assert np.isnan(result.p)
        assert result.reason == "1 replicate: no test"
    assert "different tasks" in welch_test(flat, tidy(np.ones((3, 5)))).reason


def test_few_replicates_are_warned_about():
    assert "p below 0.1;" in replication_warning(3)
    assert replication_warning(4) == replication_warning(10) == ""


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]


def test_holm_never_exceeds_one_and_counts_undefined_comparisons():
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    adjusted = holm({"a": 0.02, "b": float("nan")})
    assert adjusted["a"] == pytest.approx(0.04)
    assert np.isnan(adjusted["b"])
    with pytest.raises(MetricError, match="between 0 and 1"):
        holm({"a": 1.5})


def arm(rng, k, m, interaction=0.3):
    return 0.3 * rng.normal(size=(k, 1)) + interaction * rng.normal(size=(1, m)) + rng.normal(size=(k, m))


def test_the_two_way_difference_keeps_its_level_where_tests_over_tasks_do_not():
    rng = np.random.default_rng(2)
    missed = over_tasks = 0
    for _ in range(200):
        a, b = arm(rng, 5, 100), arm(rng, 5, 100)
        difference = two_way_difference(tidy(a), tidy(b))
        missed += not difference.low <= 0 <= difference.high
        over_tasks += stats.wilcoxon(a.mean(axis=0) - b.mean(axis=0)).pvalue < 0.05
    assert missed / 200 <= 0.08
    assert over_tasks / 200 >= 0.25


@pytest.mark.exhaustive
@pytest.mark.parametrize("k", [3, 5, 10])
@pytest.mark.parametrize("first", [0, 100])
def test_the_two_way_difference_covers_zero_paired_or_not(k, first):
    rng = np.random.default_rng(k + first)
    covered = []
    for _ in range(1000):
        difference = two_way_difference(tidy(arm(rng, k, 50)), tidy(arm(rng, k, 50), first=first))
        covered.append(difference.low <= 0 <= difference.high)
    assert 0.93 <= np.mean(covered) <= 0.99
