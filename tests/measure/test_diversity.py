"""Diversity ratios: sets whose effective size is known."""

import numpy as np
import pytest

from bench.errors import MetricError
from bench.measure import duplicate_fraction, pairwise_distance_ratio, vendi_ratio, vendi_score

RNG = np.random.default_rng(0)
CENTRE = np.zeros((1, 6))


def test_vendi_of_equal_samples_is_one_and_of_orthogonal_ones_their_number():
    assert vendi_score(np.ones((1, 9, 4)))[0] == pytest.approx(1, abs=1e-12)
    assert vendi_score(np.eye(6)[None])[0] == pytest.approx(6, rel=1e-12)


def test_duplicating_a_set_does_not_change_its_vendi_score():
    samples = RNG.normal(size=(2, 7, 5))
    np.testing.assert_allclose(vendi_score(np.concatenate([samples, samples], axis=1)), vendi_score(samples), rtol=1e-10)


def test_vendi_weighs_unequal_groups_by_their_entropy():
    samples = np.repeat(np.eye(2), [3, 1], axis=0)[None]
    assert vendi_score(samples)[0] == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))), rel=1e-12)


def test_samples_without_a_direction_count_as_one_more_direction():
    assert vendi_score(np.zeros((1, 5, 3)))[0] == pytest.approx(1, abs=1e-12)
    assert vendi_score(np.array([[[0.0, 0.0], [1.0, 0.0]]]))[0] == pytest.approx(2, rel=1e-12)


def test_vendi_ratio_counts_modes():
    real = np.eye(6)[None] + 0
    half = np.repeat(np.eye(6)[:3], 2, axis=0)[None]
    assert vendi_ratio(half, real, CENTRE)[0] == pytest.approx(0.5, rel=1e-12)
    assert vendi_ratio(real, real, CENTRE)[0] == pytest.approx(1, rel=1e-12)


def test_only_equal_counts_are_compared():
    real = np.eye(6)[None]
    fake = np.concatenate([np.eye(6), np.eye(6)])[None]
    assert vendi_ratio(fake, real[:, :4], CENTRE)[0] == pytest.approx(1, rel=1e-12)
    assert pairwise_distance_ratio(fake, real[:, :4])[0] == pytest.approx(1, rel=1e-12)


def test_a_generator_at_the_centre_has_no_diversity_even_with_rounding_noise():
    real = RNG.normal(size=(1, 10, 6))
    noise = 1e-9 * RNG.normal(size=(1, 10, 6))
    assert vendi_ratio(noise, real, CENTRE)[0] == pytest.approx(1 / vendi_score(real)[0], rel=1e-9)


def test_a_perfect_sampler_has_ratio_one_when_seen_from_an_independent_centre():
    rng = np.random.default_rng(1)
    fake, real, support = (rng.normal(size=(400, n, 8)) + 3 for n in (16, 16, 8))
    ratio = vendi_ratio(fake, real, support.mean(axis=1))
    assert abs(ratio.mean() - 1) < 0.01


def test_shrinkage_shows_in_distances_and_not_in_directions():
    real = RNG.normal(size=(1, 10, 6))
    assert pairwise_distance_ratio(0.6 * real, real)[0] == pytest.approx(0.6, rel=1e-12)
    assert vendi_ratio(0.6 * real, real, CENTRE)[0] == pytest.approx(1, rel=1e-12)


def test_real_samples_without_spread_leave_the_ratio_undefined():
    fake, constant = RNG.normal(size=(1, 5, 6)), np.zeros((1, 5, 6))
    assert np.isnan(pairwise_distance_ratio(fake, constant)[0])
    assert np.isnan(vendi_ratio(fake, constant, CENTRE)[0])


def test_duplicates_by_hand():
    # Nearest neighbours of the real points are 1, 1, 2 and 4 away: the first percentile is 1.
    real = np.array([0.0, 1.0, 3.0, 7.0])[None, :, None]
    fake = np.array([0.0, 0.9, 5.0, 6.5])[None, :, None]  # 0.9, 0.9, 1.5 and 1.5 away
    assert duplicate_fraction(fake, real)[0] == 0.5
    assert duplicate_fraction(np.array([0.0, 1.0, 5.0, 6.5])[None, :, None], real)[0] == 0.5  # the edge is near enough
    assert duplicate_fraction(2 * real, real)[0] == 0
    assert duplicate_fraction(np.ones((1, 4, 1)), real)[0] == 1


def test_a_perfect_sampler_has_the_duplicates_that_the_percentile_leaves_it():
    """At many samples the share of nearest-neighbour distances below their first percentile is 1 %."""
    rng = np.random.default_rng(2)
    shares = duplicate_fraction(rng.normal(size=(20, 500, 3)), rng.normal(size=(20, 500, 3)))
    assert abs(shares.mean() - 0.01) < 4 * shares.std(ddof=1) / np.sqrt(20)


def test_where_real_samples_repeat_only_exact_repetitions_are_duplicates():
    real = np.repeat(RNG.normal(size=(1, 5, 3)), 2, axis=1)
    near = np.concatenate([real[:, ::2], real[:, ::2] + 1e-9], axis=1)
    assert duplicate_fraction(near, real)[0] == 0
    assert duplicate_fraction(real, real)[0] == 1


def test_more_generated_samples_than_real_ones_are_not_compared_with_them():
    real = RNG.normal(size=(1, 6, 3))
    assert duplicate_fraction(np.concatenate([real, real], axis=1), real)[0] == duplicate_fraction(real, real)[0] < 1


def test_a_bad_task_is_undefined_alone():
    fake, real, centre = RNG.normal(size=(3, 6, 4)), RNG.normal(size=(3, 6, 4)), np.zeros((3, 4))
    clean = vendi_ratio(fake, real, centre), pairwise_distance_ratio(fake, real)
    fake[1, 0, 0] = np.inf
    for values, before in zip((vendi_ratio(fake, real, centre), pairwise_distance_ratio(fake, real)), clean, strict=True):
        assert np.isnan(values[1])
        np.testing.assert_array_equal(values[[0, 2]], before[[0, 2]])


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(MetricError, match="2 or more"):
        vendi_ratio(np.zeros((1, 1, 6)), np.zeros((1, 4, 6)), CENTRE)
    with pytest.raises(MetricError, match="centre of shape"):
        vendi_ratio(np.zeros((1, 3, 6)), np.zeros((1, 4, 6)), np.zeros((1, 5)))
