"""Curves with a known area and a known crossing; samples with a known fault."""

import numpy as np
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.measure import (
    area_under_curve,
    collapse_onset,
    divergence_class,
    drawdown,
    expected_running_time,
    restricted_mean_steps,
    steps_to_target,
)

STEPS = np.array([0, 1, 2, 5, 10, 25])


def test_the_area_of_a_constant_is_the_constant_and_of_a_line_in_log_steps_its_midpoint():
    line = 4 - 3 * np.log1p(STEPS) / np.log1p(25)
    np.testing.assert_allclose(area_under_curve(STEPS, np.stack([np.full(6, 2.5), line])), [2.5, 2.5], rtol=1e-12)
    np.testing.assert_allclose(area_under_curve(STEPS, line), 2.5, rtol=1e-12)


def test_the_area_of_one_evaluation_is_its_value_and_nan_stays_nan():
    assert area_under_curve([5], [[3.0]])[0] == 3.0
    assert np.isnan(area_under_curve([0, 1], [[np.nan, 1.0]])[0])


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ([9, 8, 1, 1, 1, 1], 2),
        ([9, 1, 1, 8, 1, 1], 10),  # the first crossing lasts one further evaluation only; the second lasts to the end
        ([9, 8, 7, 6, 5, 1], 25),  # the last evaluation has nothing after it
        ([1, 1, 1, 9, 9, 9], 0),
        ([9, 9, 9, 9, 9, 9], np.inf),
        ([9, 2, 2, 2, np.nan, 2], 1),  # sustained over two before the value is lost
        ([np.nan] * 6, np.inf),
    ],
)
def test_the_target_is_reached_where_the_curve_stays_below_it(values, reached):
    assert steps_to_target(STEPS, [values], 2.0, sustain=2)[0] == reached


def test_each_task_has_its_own_target():
    curves = np.tile([9.0, 8, 7, 6, 5, 4], (3, 1))
    np.testing.assert_array_equal(steps_to_target(STEPS, curves, [9, 7, 1], sustain=0), [0, 2, np.inf])


def test_restricted_mean_and_running_time_by_hand():
    reached = [2, 10, np.inf, 4]
    assert restricted_mean_steps(reached, 25) == pytest.approx((2 + 10 + 25 + 4) / 4)
    assert expected_running_time(reached, 25) == pytest.approx((2 + 10 + 25 + 4) / 3)
    assert restricted_mean_steps([np.inf, np.inf], 25) == 25
    assert expected_running_time([np.inf, np.inf], 25) == np.inf
    assert restricted_mean_steps([1, 2, 3], 25) == pytest.approx(2)


def test_restricted_mean_is_the_area_under_the_kaplan_meier_curve():
    reached = np.array([2, 10, np.inf, 4, 4, np.inf, 25])
    times = stats.CensoredData.right_censored(np.minimum(reached, 25), np.isinf(reached))
    survival = stats.ecdf(times).sf
    edges = np.concatenate([[0], survival.quantiles, [25]])
    area = np.sum(np.diff(edges) * np.concatenate([[1], survival.probabilities]))
    assert restricted_mean_steps(reached, 25) == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize(
    ("variety", "onset"),
    [
        ([1, 0.9, 0.4, 0.3, 0.2, 0.1], 2),
        ([0.1, 0.2, 0.6, 0.7, 0.8, 0.9], np.inf),  # narrow before it has adapted: a phase, no collapse
        ([1, 0.4, 0.6, 0.4, 0.3, 0.4], 5),  # it came back once, so only the later fall counts
        ([0.1] * 6, 0),
        ([1, 1, 1, 1, 1, 0.4], 25),
        ([1, 1, 0.5, 0.5, 0.5, 0.5], np.inf),  # at the threshold is not below it
        ([1, 1, 1, np.nan, np.nan, np.nan], 5),
        ([np.nan] * 6, 0),
    ],
)
def test_collapse_sets_in_where_variety_falls_for_good(variety, onset):
    assert collapse_onset(STEPS, [variety], 0.5)[0] == onset


def test_each_task_collapses_in_its_own_time():
    np.testing.assert_array_equal(collapse_onset([0, 1, 2], [[[1, 0, 0], [1, 1, 1]], [[0, 0, 0], [1, 1, 0]]], 0.5), [[1, np.inf], [0, 2]])


def test_drawdown_is_the_largest_rise_above_the_best_so_far():
    np.testing.assert_array_equal(drawdown([[5.0, 2, 4, 1, 3.5], [5, 4, 3, 2, 1]]), [2.5, 0])


REAL = np.random.default_rng(0).uniform(-1, 1, size=(1, 20, 3))


def fault(**options):
    return divergence_class(options.pop("fake", REAL), REAL, **options)[0]


def test_healthy_samples_have_no_fault():
    assert fault() == ""
    assert fault(curve_TK=[[3.0, 2.0]]) == ""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x: np.where(np.arange(3) == 1, np.nan, x), "nan_sample"),
        (lambda x: np.where(np.arange(3) == 1, -np.inf, x), "inf"),
        (lambda x: 25 * x, "exploded"),
        (lambda x: 0.3 + 1e-9 * x, "constant_output"),
        (lambda x: 0.3 + 1e-3 * x, ""),
    ],
)
def test_each_fault_has_its_class(change, name):
    assert fault(fake=change(REAL)) == name


def test_the_gravest_class_comes_first():
    bad = np.where(np.arange(3) == 1, np.nan, REAL)
    assert fault(fake=bad, params_finite_T=np.array([False]), curve_TK=[[1.0, 2.0]]) == "nan_param"
    assert fault(curve_TK=[[1.0, 2.0]]) == "stalled"
    assert fault(curve_TK=[[1.0, np.nan]]) == "stalled"


def test_real_samples_without_a_range_say_nothing_about_scale():
    assert divergence_class(REAL, np.zeros((1, 5, 3))) == [""]


def test_images_keep_their_shape():
    assert divergence_class(REAL.reshape(1, 20, 1, 3, 1), REAL.reshape(1, 20, 1, 3, 1)) == [""]


def test_curves_that_are_none_are_refused():
    with pytest.raises(MetricError, match="strictly increasing"):
        area_under_curve([0, 2, 2], [[1, 1, 1]])
    with pytest.raises(MetricError, match="one value a step"):
        area_under_curve([0, 1], [[1, 1, 1]])
    with pytest.raises(MetricError, match="at least one run"):
        restricted_mean_steps([], 5)
    with pytest.raises(MetricError, match="sustain"):
        steps_to_target([0, 1], [[1, 1]], 1, sustain=-1)
    with pytest.raises(MetricError, match="equal tasks"):
        divergence_class(REAL, np.zeros((2, 5, 3)))
