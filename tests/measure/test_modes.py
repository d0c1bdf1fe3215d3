"""Known modes: what a perfect sampler scores, by formula and by simulation."""

import numpy as np
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.measure import count_modes, expected_high_quality, expected_modes, pad_centres, reverse_kl

ANGLES = 2 * np.pi * np.arange(8) / 8
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def perfect(rng, tasks, n, centres, scale):
    return centres[rng.integers(len(centres), size=(tasks, n))] + scale * rng.normal(size=(tasks, n, 2))


def count(samples, centres=RING, scale=0.01):
    tasks = len(samples)
    return count_modes(samples, np.repeat(centres[None], tasks, axis=0), np.full(tasks, scale))


def test_a_perfect_samplers_high_quality_share_is_the_chi_square_distribution():
    assert expected_high_quality(2) == pytest.approx(0.98889, abs=5e-6)
    for coordinates in (1, 2, 5):
        assert expected_high_quality(coordinates) == pytest.approx(stats.chi2.cdf(9, coordinates), rel=1e-12)


def test_expected_modes_by_hand():
    assert expected_modes(25, 64) == pytest.approx(23.17, abs=0.005)
    assert expected_modes(8, 64) == pytest.approx(7.998, abs=0.0005)
    assert expected_modes(4, 1) == pytest.approx(1)


def test_a_perfect_sampler_scores_its_expected_values():
    rng = np.random.default_rng(0)
    grid = np.array([[x, y] for x in range(5) for y in range(5)], dtype=float) * 2 - 4
    counts = count(perfect(rng, 300, 64, grid, 0.05), grid, 0.05)
    quality, found = counts.high_quality(), counts.found()
    assert abs(quality.mean() - expected_high_quality(2)) < 4 * quality.std(ddof=1) / np.sqrt(300)
    expected = expected_modes(25, 64, high_quality=expected_high_quality(2))
    assert abs(found.mean() - expected) < 4 * found.std(ddof=1) / np.sqrt(300)


def test_a_sample_belongs_to_a_mode_strictly_within_three_deviations():
    centres = np.array([[0.0, 0.0], [10.0, 0.0]])
    samples = np.array([[[2.999, 0.0], [3.0, 0.0], [10.0, 2.0], [5.0, 5.0]]])
    counts = count(samples, centres, 1.0)
    np.testing.assert_array_equal(counts.counts_TK, [[1, 1]])
    assert counts.high_quality()[0] == 0.5
    assert counts.found()[0] == 2


def test_reverse_kl_of_one_mode_is_log_k_and_without_quality_undefined():
    one = count(np.repeat(RING[:1], 10, axis=0)[None])
    assert reverse_kl(one)[0] == pytest.approx(np.log(8))
    none = count(np.zeros((1, 10, 2)))
    assert none.found()[0] == 0
    assert none.high_quality()[0] == 0
    assert np.isnan(reverse_kl(none)[0])


def test_reverse_kl_of_equal_counts_is_the_correction_alone():
    counts = count(np.tile(RING, (4, 1))[None])
    assert reverse_kl(counts)[0] == pytest.approx(-7 / 64)


def test_the_correction_removes_the_plug_in_bias():
    rng = np.random.default_rng(1)
    corrected = reverse_kl(count(perfect(rng, 500, 80, RING, 1e-6), RING, 1e-6))
    se = corrected.std(ddof=1) / np.sqrt(500)
    assert abs(corrected.mean()) < 4 * se
    assert 10 * se < (8 - 1) / (2 * 80)  # the bias it removes would have been seen


def test_tasks_may_differ_in_their_number_of_modes():
    centres = pad_centres([RING, RING[:3]])
    samples = np.stack([RING, np.repeat(RING[:1], 8, axis=0)])
    counts = count_modes(samples, centres, np.array([0.01, 0.02]))
    np.testing.assert_array_equal(counts.n_modes_T, [8, 3])
    np.testing.assert_array_equal(counts.found(), [8, 1])
    np.testing.assert_allclose(reverse_kl(counts)[1], np.log(3))


def test_a_bad_task_is_undefined_alone():
    samples = np.stack([RING, RING, RING])
    samples[1, 0, 0] = np.nan
    counts = count(samples)
    for values in (counts.found(), counts.high_quality(), reverse_kl(counts)):
        assert np.isnan(values).tolist() == [False, True, False]


def test_wrong_shapes_and_scales_are_refused():
    with pytest.raises(MetricError, match="scales"):
        count_modes(np.zeros((2, 4, 2)), RING[None], np.ones(2))
    with pytest.raises(MetricError, match="positive scales"):
        count_modes(np.zeros((1, 4, 2)), RING[None], np.zeros(1))
    with pytest.raises(MetricError, match="a task"):
        pad_centres([])
