"""Where a curve reaches a level: by arithmetic on straight lines, and by what resampling cannot change."""

import math

import numpy as np
import pytest

from bench.stats.reach import first_reaching, reach_interval

SHOTS = (1, 2, 4, 16)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("target", "position"),
    [
        (9.0, 1.0),  # better from the start
        (8.0, 1.0),
        (6.0, math.sqrt(2)),  # half way from 8 to 4, half way from log 1 to log 2
        (4.0, 2.0),
        (3.5, 8.0),  # past the rise at 4: half way from 5 to 2 on the way from 4 to 16
        (2.0, 16.0),
        (1.9, math.inf),
        (math.nan, math.nan),
    ],
)
def test_a_curve_is_straight_over_the_logarithm_and_its_first_fall_counts(target, position):
    (found,) = first_reaching(SHOTS, [[8.0, 4.0, 5.0, 2.0]], [target])
    assert found == pytest.approx(position, rel=1e-12, nan_ok=True)


def test_an_undefined_curve_reaches_nothing():
    assert np.isnan(first_reaching(SHOTS, [[8.0, math.nan, 5.0, 2.0]], [3.0])).all()


def test_curves_are_looked_at_one_by_one():
    curves = rng().uniform(0, 1, (50, 4))
    together = first_reaching(SHOTS, curves, np.full(50, 0.4))
    assert np.array_equal(together, [first_reaching(SHOTS, curve[None], [0.4])[0] for curve in curves])


def test_what_replicates_and_tasks_share_is_no_uncertainty():
    shared_RT = rng().normal(0, 5, (4, 6))
    curve_KRT = np.array([8.0, 4.0, 3.0, 2.0])[:, None, None] + shared_RT
    found = reach_interval(SHOTS, curve_KRT, 6.0 + shared_RT, rng())
    assert [found.estimate, found.low, found.high] == pytest.approx([math.sqrt(2)] * 3, rel=1e-9)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    truth, covered = math.sqrt(2), 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        noise = lambda draw=draw: draw.normal(0, 0.4, (6, 1)) + draw.normal(0, 0.4, (1, 20)) + draw.normal(0, 0.4, (6, 20))  # noqa: E731
        curve_KRT = np.stack([mean + noise() for mean in (8.0, 4.0, 3.0, 2.0)])
        found = reach_interval(SHOTS, curve_KRT, 6.0 + noise(), draw, resamples=400)
        covered += found.low <= truth <= found.high
    assert 0.9 <= covered / 200 <= 1.0  # nominal 0.95, standard error 0.015


def test_an_end_may_lie_beyond_the_axis():
    noise = rng().normal(0, 1.0, (5, 10))
    found = reach_interval(SHOTS, np.array([8.0, 4.0, 3.0, 2.0])[:, None, None] + noise, np.full((5, 10), 1.9), rng())
    assert math.isinf(found.high)


@pytest.mark.parametrize("shape", [(1, 8), (5, 1)])
def test_one_replicate_or_task_has_no_interval(shape):
    found = reach_interval(SHOTS, np.ones((4, *shape)), np.full(shape, 2.0), rng())
    assert found.estimate == 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)
