"""Distances: closed forms, brute force and SciPy."""

import numpy as np
import pytest
from scipy import optimize, stats

from bench.errors import MetricError
from bench.measure import energy_distance, frechet_distance, kid, sliced_wasserstein
from bench.measure.sets import pairwise_distances

RNG = np.random.default_rng(0)
DISTANCES = [energy_distance, kid, frechet_distance]


def normal(*shape, rng=RNG):
    return rng.normal(size=shape)


def test_a_rotation_changes_no_distance_of_points():
    rotation = np.linalg.qr(normal(8, 8))[0]
    fake, real = normal(2, 6, 8), normal(2, 7, 8)
    for distance in DISTANCES:
        np.testing.assert_allclose(distance(fake @ rotation, real @ rotation), distance(fake, real), rtol=1e-10)


def test_distances_are_symmetric():
    fake, real = normal(2, 6, 4), normal(2, 9, 4)
    for distance in DISTANCES:
        np.testing.assert_allclose(distance(fake, real), distance(real, fake), rtol=1e-10)


def test_kid_equals_a_double_loop():
    fake, real = normal(5, 3), normal(4, 3)

    def k(x, y):
        return (x @ y / 3 + 1) ** 3

    def mean_of_pairs(samples):
        return np.mean([k(x, y) for i, x in enumerate(samples) for j, y in enumerate(samples) if i != j])

    expected = mean_of_pairs(fake) + mean_of_pairs(real) - 2 * np.mean([k(x, y) for x in fake for y in real])
    assert kid(fake[None], real[None])[0] == pytest.approx(expected, rel=1e-12)


def test_kid_of_two_constant_points_by_hand():
    # k(1,1) = 8, k(0,.) = 1: 8 + 1 - 2
    assert kid(np.ones((1, 2, 1)), np.zeros((1, 2, 1)))[0] == pytest.approx(7.0)


def test_the_squared_energy_statistic_of_one_feature_is_scipys():
    fake, real = normal(12, 1), 1 + normal(9, 1)
    between = pairwise_distances(fake[None], real[None]).mean()
    with_diagonal = 2 * between - sum(pairwise_distances(x[None], x[None]).mean() for x in (fake, real))
    assert with_diagonal == pytest.approx(stats.energy_distance(fake[:, 0], real[:, 0]) ** 2, rel=1e-10)
    # The unbiased statistic differs in its denominators alone.
    unbiased = 2 * between - sum(pairwise_distances(x[None], x[None]).sum() / (len(x) * (len(x) - 1)) for x in (fake, real))
    assert energy_distance(fake[None], real[None])[0] == pytest.approx(unbiased, rel=1e-12)


def test_energy_of_constant_sets_is_twice_their_distance():
    fake, real = np.zeros((1, 3, 2)), np.zeros((1, 4, 2)) + [3.0, 4.0]
    assert energy_distance(fake, real)[0] == pytest.approx(10.0)


def test_energy_scales_with_the_features():
    fake, real = normal(2, 6, 4), normal(2, 9, 4)
    np.testing.assert_allclose(energy_distance(7 * fake, 7 * real), 7 * energy_distance(fake, real), rtol=1e-12)


@pytest.mark.parametrize("distance", [energy_distance, kid])
def test_unbiased_distances_of_one_distribution_have_mean_zero(distance):
    rng = np.random.default_rng(1)
    values = distance(normal(400, 8, 5, rng=rng), normal(400, 10, 5, rng=rng))
    assert abs(values.mean()) <= 4 * values.std(ddof=1) / np.sqrt(400)
    assert (values < 0).any()


def test_energy_prefers_the_true_scale_where_frechet_prefers_a_shrunken_generator():
    rng = np.random.default_rng(2)
    real, fake = normal(100, 10, 64, rng=rng), normal(100, 64, 64, rng=rng)
    energy = {scale: energy_distance(scale * fake, real).mean() for scale in (0.25, 0.6, 1.0, 1.4)}
    frechet = {scale: frechet_distance(scale * fake, real).mean() for scale in (0.25, 0.6, 1.0, 1.4)}
    assert min(energy, key=energy.get) == 1.0
    assert min(frechet, key=frechet.get) < 1.0


def test_a_point_is_at_exactly_no_distance_from_itself():
    samples = (10 * normal(1, 20, 512)).astype(np.float32).astype(np.float64)
    assert (np.diagonal(pairwise_distances(samples, samples), axis1=1, axis2=2) == 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("n", [4, 30])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_bad_task_is_undefined_and_leaves_the_others_bit_equal(distance, n, bad):
    fake, real = normal(3, n, 5), normal(3, n, 5)
    clean = distance(fake, real)
    fake[1, 2, 3] = bad
    values = distance(fake, real)
    assert np.isnan(values[1])
    np.testing.assert_array_equal(values[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_batch_equals_its_tasks_one_by_one(distance):
    fake, real = normal(4, 6, 9), normal(4, 5, 9)
    np.testing.assert_array_equal(distance(fake, real), np.concatenate([distance(fake[[t]], real[[t]]) for t in range(4)]))


@pytest.mark.parametrize("distance", DISTANCES)
def test_one_sample_is_refused_with_a_cure(distance):
    with pytest.raises(MetricError, match="2 or more generated samples a task, got 1; raise"):
        distance(normal(2, 1, 3), normal(2, 4, 3))
    with pytest.raises(MetricError, match="2 or more real samples"):
        distance(normal(2, 4, 3), normal(2, 1, 3))


@pytest.mark.parametrize("distance", DISTANCES)
def test_shapes_that_do_not_fit_are_refused(distance):
    with pytest.raises(MetricError, match="same feature extractor"):
        distance(normal(2, 4, 3), normal(2, 4, 5))
    with pytest.raises(MetricError, match="equal tasks"):
        distance(normal(2, 4, 3), normal(3, 4, 3))
    with pytest.raises(MetricError, match="flatten"):
        distance(normal(4, 3), normal(4, 3))


# ------------------------------------------------------------------ sliced Wasserstein
def test_sliced_wasserstein_of_a_translation_is_its_squared_length():
    real = normal(2, 9, 5)
    shift = np.array([3.0, 0, 4, 0, 12])
    np.testing.assert_allclose(sliced_wasserstein(real + shift, real), 169, rtol=1e-12)


def test_sliced_wasserstein_of_scaling_about_the_mean_is_the_lost_variance():
    real = normal(2, 9, 5)
    mean = real.mean(axis=1, keepdims=True)
    variance = np.square(real - mean).sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(sliced_wasserstein(mean + 0.3 * (real - mean), real), 0.7**2 * variance, rtol=1e-12)


def test_sliced_wasserstein_of_a_constant_generator_is_the_mean_squared_distance_to_it():
    real, constant = normal(2, 7, 5), np.full((2, 4, 5), 0.5)
    np.testing.assert_allclose(sliced_wasserstein(constant, real), np.square(real - 0.5).sum(axis=2).mean(axis=1), rtol=1e-12)


def test_sliced_wasserstein_of_one_feature_is_the_optimal_transport_cost():
    fake, real = normal(6, 1), 1 + normal(4, 1)
    many = [np.repeat(samples, 12 // len(samples), axis=0) for samples in (fake, real)]  # equal counts, equal distributions
    cost = np.square(many[0] - many[1].T)
    rows, columns = optimize.linear_sum_assignment(cost)
    assert sliced_wasserstein(fake[None], real[None])[0] == pytest.approx(cost[rows, columns].mean(), rel=1e-12)


def test_repeating_samples_changes_no_sliced_wasserstein():
    fake, real = normal(2, 6, 3), normal(2, 5, 3)
    np.testing.assert_allclose(sliced_wasserstein(np.repeat(fake, 2, axis=1), np.tile(real, (1, 3, 1))), sliced_wasserstein(fake, real))


def test_few_directions_are_rounded_up_to_a_basis():
    fake, real = normal(2, 6, 7), normal(2, 5, 7)
    np.testing.assert_array_equal(sliced_wasserstein(fake, real, directions=1), sliced_wasserstein(fake, real, directions=7))
