"""Shares with intervals: closed forms, explicit resampling, and the point estimates that they must agree with."""

import numpy as np
import pytest
from test_compare import tidy

from bench.stats import improvement_interval, performance_profile, probability_of_improvement, profile_band
from bench.stats.bootstrap import resample_counts

RNG = np.random.default_rng(0)


def rng():
    return np.random.default_rng(7)


def test_the_estimate_is_the_probability_of_improvement():
    a, b = tidy(RNG.integers(0, 3, (4, 9)).astype(float)), tidy(RNG.integers(0, 3, (4, 9)).astype(float))
    for better in ("lower", "higher", "closer"):
        found = improvement_interval(a, b, rng(), better=better, ideal=1.0)
        assert found.estimate == pytest.approx(probability_of_improvement(a, b, better=better, ideal=1.0), rel=1e-12)
        assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize("first", [0, 10])
def test_the_interval_is_that_of_explicitly_repeated_replicates_and_tasks(first):
    a, b = RNG.normal(size=(3, 6)), RNG.normal(0.2, size=(3, 6))
    found = improvement_interval(tidy(a), tidy(b, first=first), rng(), resamples=200)
    generator, drawn = rng(), []
    rows_a, columns = resample_counts(generator, 3, 6, 200)
    rows_b = rows_a if first == 0 else resample_counts(generator, 3, 1, 200)[0]  # equal replicates are drawn together
    for of_a, of_b, of_t in zip(rows_a.astype(int), rows_b.astype(int), columns.astype(int), strict=True):
        one, other = (np.repeat(np.repeat(x, of, axis=0), of_t, axis=1) for x, of in ((a, of_a), (b, of_b)))
        drawn.append((one[:, None] < other[None]).mean())
    ends = np.quantile(drawn, [0.025, 0.975])
    expected = np.clip(found.estimate + (ends - found.estimate) * np.sqrt(3 / 2), 0, 1)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-12)


def test_an_arm_that_always_wins_wins_for_certain():
    found = improvement_interval(tidy(np.zeros((3, 5))), tidy(np.ones((3, 5))), rng())
    assert (found.low, found.estimate, found.high) == (1, 1, 1)


def test_equal_generators_give_equal_intervals():
    a, b = tidy(RNG.normal(size=(3, 8))), tidy(RNG.normal(size=(3, 8)))
    np.random.seed(7)  # noqa: NPY002  the global state must not matter
    first, again = improvement_interval(a, b, rng()), improvement_interval(a, b, rng())
    assert (first.low, first.high) == (again.low, again.high)


def test_degenerate_comparisons_say_why():
    one, many = tidy(RNG.normal(size=(1, 5))), tidy(RNG.normal(size=(3, 5)))
    assert "1 replicate" in improvement_interval(one, many, rng()).reason
    assert "1 task" in improvement_interval(many[many["task_id"] == "t0"], many, rng()).reason
    assert "undefined" in improvement_interval(many.assign(value=np.nan), many, rng()).reason
    assert "no common task" in improvement_interval(many, many.assign(task_id="x" + many["task_id"]), rng()).reason


def test_a_profile_falls_from_all_to_none_inside_its_band():
    values = RNG.normal(size=(4, 30))
    thresholds = np.array([-9, -1, 0, 1, 9])
    band = profile_band(tidy(values), thresholds, rng())
    np.testing.assert_array_equal(band.share, performance_profile(values, thresholds))
    assert (band.low <= band.share).all()
    assert (band.share <= band.high).all()
    np.testing.assert_array_equal([band.low[0], band.high[0], band.low[-1], band.high[-1]], [1, 1, 0, 0])
    assert (np.diff(band.share) <= 0).all()


def test_the_band_of_equal_replicates_is_that_of_tasks_alone():
    values = np.tile(np.linspace(-1, 1, 40), (1000, 1))  # replicates add nothing, and 1000 of them are hardly widened
    band = profile_band(tidy(values[:2]), [0.0], rng(), resamples=4000)
    half = 1.96 * np.sqrt(0.25 / 40) * np.sqrt(2)  # binomial, widened for 2 replicates
    assert band.high[0] - band.share[0] == pytest.approx(half, rel=0.1)


def test_a_profile_without_replicates_has_no_band_and_of_undefined_values_no_share():
    band = profile_band(tidy(np.ones((1, 4))), [0.5], rng())
    assert band.share[0] == 1
    assert np.isnan(band.low).all()
    assert np.isnan(profile_band(tidy(np.full((2, 4), np.nan)), [0.5], rng()).share).all()
