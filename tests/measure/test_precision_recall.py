"""Precision, recall, density and coverage: pictures with known answers."""

import numpy as np
import pytest

from bench.measure import expected_coverage, neighbours, precision_recall

LINE = np.array([0.0, 1.0, 3.0, 7.0])[None, :, None]


def shares(fake, real, **options):
    found = precision_recall(fake, real, **options)
    return tuple(share[0] for share in (found.precision, found.recall, found.density, found.coverage))


def test_identical_sets_are_perfect_and_each_ball_holds_its_neighbours_and_itself():
    samples = np.random.default_rng(0).normal(size=(1, 12, 4))
    assert shares(samples, samples, most=3) == (1, 1, pytest.approx(4 / 3), 1)


def test_far_sets_share_nothing():
    samples = np.random.default_rng(0).normal(size=(1, 12, 4))
    assert shares(samples, samples + 100) == (0, 0, 0, 0)


def test_a_line_by_hand():
    # k = 1; radii of the real points 0, 1, 3, 7: 1, 1, 2, 4. Fakes 2, 2.5, 12, 13: radii 0.5, 0.5, 1, 1.
    fake = np.array([2.0, 2.5, 12.0, 13.0])[None, :, None]
    # 2 lies in the balls of 1 (its edge) and 3; 2.5 in that of 3; 12 and 13 in none: 3 hits over k * 4.
    # Reals in fake balls: 3 is within 0.5 of 2.5. Real balls with a fake: those of 1 and 3.
    assert shares(fake, LINE, most=1) == (0.5, 0.25, 0.75, 0.5)


def test_a_collapsed_generator_has_high_precision_and_low_recall():
    real = np.random.default_rng(0).normal(size=(1, 30, 2))
    precision, recall, _, _ = shares(np.repeat(real[:, :1], 30, axis=1), real)
    assert precision == 1
    assert recall <= 1 / 30 + 1e-12


def test_a_constant_generator_on_a_constant_target_is_perfect():
    assert shares(np.ones((1, 6, 2)), np.ones((1, 6, 2)), most=3) == (1, 1, 2, 1)  # density: 6 balls over k = 3


def test_few_samples_lower_the_neighbour_until_undefined():
    assert [neighbours(n) for n in (0, 1, 2, 3, 4, 5, 20)] == [0, 0, 0, 1, 2, 3, 3]
    two, many = np.zeros((1, 2, 1)), LINE
    found = precision_recall(two, many)
    assert np.isnan(found.recall).all()
    assert not np.isnan(found.precision).any()
    found = precision_recall(many, two)
    assert np.isnan([found.precision, found.density, found.coverage]).all()
    assert not np.isnan(found.recall).any()


def test_a_bad_task_is_undefined_alone():
    fake = np.random.default_rng(0).normal(size=(3, 8, 2))
    real = np.random.default_rng(1).normal(size=(3, 8, 2))
    clean = precision_recall(fake, real)
    fake[1, 0, 0] = np.nan
    found = precision_recall(fake, real)
    for name in ("precision", "recall", "density", "coverage"):
        assert np.isnan(getattr(found, name)[1])
        np.testing.assert_array_equal(getattr(found, name)[[0, 2]], getattr(clean, name)[[0, 2]])


def test_expected_coverage_by_hand_and_by_simulation():
    assert expected_coverage(20, 20) == pytest.approx(1 - 19 * 18 * 17 / (39 * 38 * 37), rel=1e-12)
    assert np.isnan(expected_coverage(2, 20))
    rng = np.random.default_rng(3)
    covered = precision_recall(rng.normal(size=(600, 20, 4)), rng.normal(size=(600, 16, 4))).coverage
    assert abs(covered.mean() - expected_coverage(16, 20)) < 4 * covered.std(ddof=1) / np.sqrt(600)


def test_collapse_onto_the_centre_covers_all_but_recalls_nothing():
    real = np.random.default_rng(4).normal(size=(20, 20, 64))
    found = precision_recall(np.zeros((20, 20, 64)), real)
    assert found.coverage.mean() > expected_coverage(20, 20)
    assert found.recall.max() == 0
