"""Tests over tasks: SciPy, printed tables, and scikit-posthocs where it is installed."""

import numpy as np
import pytest
from scipy import stats
from test_compare import tidy

from bench.errors import MetricError
from bench.stats import compare_ranks, critical_difference, signed_rank_test

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("arms", "q"), [(2, 1.960), (3, 2.344), (4, 2.569), (5, 2.728)])
def test_the_critical_difference_has_the_printed_constants(arms, q):
    """Demsar's table 5 (2.343 for 3 arms there)."""
    assert critical_difference(arms, 30) == pytest.approx(q * np.sqrt(arms * (arms + 1) / 180), abs=1e-3 * 0.3)


def test_ranks_of_planted_orders():
    """b is best on every task, a beats c on two of three: ranks by hand."""
    frames = {"a": tidy([[2.0, 2, 3]]), "b": tidy([[1.0, 1, 1]]), "c": tidy([[3.0, 3, 2]])}
    found = compare_ranks(frames)
    assert found.mean_ranks == pytest.approx({"a": 7 / 3, "b": 1, "c": 8 / 3})
    assert compare_ranks(frames, better="higher").mean_ranks == pytest.approx({"a": 5 / 3, "b": 3, "c": 4 / 3})
    statistic, p = stats.friedmanchisquare([2, 2, 3], [1, 1, 1], [3, 3, 2])
    assert (found.statistic, found.p) == pytest.approx((statistic, p))


def test_replicates_are_averaged_before_tasks_are_ranked_and_ties_share_their_rank():
    frames = {"a": tidy([[0.0, 4.0], [2.0, 4.0]]), "b": tidy([[1.0, 4.0], [1.0, 4.0]]), "c": tidy([[5.0, 5.0], [5.0, 5.0]])}
    assert compare_ranks(frames).mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_only_tasks_of_all_arms_are_ranked():
    whole = RNG.normal(size=(2, 6))
    fewer = tidy(whole)[lambda rows: rows["task_id"] != "t3"]
    assert compare_ranks({"a": tidy(whole), "b": tidy(-whole), "c": fewer}).n_tasks == 5


def test_degenerate_ranks_say_why():
    one, same = tidy(RNG.normal(size=(2, 5))), tidy(np.ones((2, 5)))
    assert "3 arms" in compare_ranks({"a": one, "b": same}).reason
    tied = compare_ranks({"a": same, "b": same, "c": same})
    assert (tied.p, tied.reason) == (1.0, "all arms are tied")
    assert "c: 10 of 10 values are undefined" in compare_ranks({"a": one, "b": same, "c": one.assign(value=np.nan)}).reason
    with pytest.raises(MetricError, match="at least one arm"):
        compare_ranks({})
    with pytest.raises(MetricError, match="at least 2 arms"):
        critical_difference(1, 5)


def test_nemenyi_is_scikit_posthocs():
    oracle = pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed")
    values_AT = RNG.normal(size=(4, 20)) + np.arange(4)[:, None]
    found = compare_ranks({name: tidy(row[None]) for name, row in zip("abcd", values_AT, strict=True)})
    expected = oracle.posthoc_nemenyi_friedman(values_AT.T).to_numpy()
    for i, one in enumerate("abcd"):
        for j, other in enumerate("abcd"):
            if i != j:
                assert found.nemenyi_p(one, other) == pytest.approx(expected[i, j], abs=1e-10)


def test_two_arms_at_the_critical_difference_have_the_nominal_p():
    frames = {name: tidy(RNG.normal(size=(1, 12))) for name in "abc"}
    found = compare_ranks(frames)
    found = type(found)({"a": 1.0, "b": 1.0 + found.critical_difference, "c": 2.0}, 0, 0, found.critical_difference, 12)
    assert found.nemenyi_p("a", "b") == pytest.approx(0.05, abs=1e-6)


def test_the_signed_rank_test_is_scipys_on_the_means_over_replicates():
    a, b = RNG.normal(size=(3, 20)), RNG.normal(0.3, size=(3, 20))
    expected = stats.wilcoxon(a.mean(axis=0) - b.mean(axis=0))
    assert signed_rank_test(tidy(a), tidy(b)).p == pytest.approx(expected.pvalue)
    closer = stats.wilcoxon(np.abs(a - 1).mean(axis=0) - np.abs(b - 1).mean(axis=0))
    assert signed_rank_test(tidy(a), tidy(b), better="closer", ideal=1.0).p == pytest.approx(closer.pvalue)


def test_equal_arms_have_no_signed_ranks():
    same = tidy(np.ones((2, 5)))
    found = signed_rank_test(same, same)
    assert (found.p, found.reason) == (1.0, "no task differs")
    assert "undefined" in signed_rank_test(same.assign(value=np.nan), same).reason
