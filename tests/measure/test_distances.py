"""Distances: closed forms, brute force and SciPy."""

import numpy as np
import pytest
from scipy import linalg, stats

from bench.errors import MetricError
from bench.measure import energy_distance, frechet_distance, kid
from bench.measure.sets import pairwise_distances

RNG = np.random.default_rng(0)
DISTANCES = [energy_distance, kid, frechet_distance]


def normal(*shape, rng=RNG):
    return rng.normal(size=shape)


def frechet_from_moments(fake, real):
    """The textbook formula with SciPy's matrix root."""
    covariances = [np.cov(samples, rowvar=False) for samples in (fake, real)]
    shift = fake.mean(axis=0) - real.mean(axis=0)
    return shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * np.real(linalg.sqrtm(covariances[0] @ covariances[1])))


def test_frechet_of_one_feature_is_the_squared_difference_of_means_and_of_deviations():
    fake, real = normal(3, 9, 1), 2 + 5 * normal(3, 7, 1)
    means = fake.mean(axis=(1, 2)) - real.mean(axis=(1, 2))
    deviations = fake.std(axis=(1, 2), ddof=1) - real.std(axis=(1, 2), ddof=1)
    np.testing.assert_allclose(frechet_distance(fake, real), means**2 + deviations**2, rtol=1e-12)


@pytest.mark.parametrize(("n_fake", "n_real"), [(40, 50), (4, 6), (5, 200)])
def test_frechet_of_commuting_covariances_is_the_squared_difference_of_their_roots(n_fake, n_real):
    # Scaling each axis of one set scales the roots of its covariance; a diagonal rescaling commutes only with a diagonal covariance.
    axes = np.eye(5)
    fake, real = (np.concatenate([axes, -axes]) for _ in range(2))
    fake, real = fake * [1, 2, 3, 4, 5], real * [2, 2, 1, 7, 0]
    fake, real = np.tile(fake, (n_fake, 1)), np.tile(real, (n_real, 1))
    root = np.sqrt(2 / (10 * np.array([n_fake, n_real]) - 1) * [n_fake, n_real])
    expected = sum((root[0] * a - root[1] * b) ** 2 for a, b in zip([1, 2, 3, 4, 5], [2, 2, 1, 7, 0], strict=True))
    assert frechet_distance(fake[None], real[None])[0] == pytest.approx(expected, rel=1e-10)


def test_frechet_of_two_features_follows_from_trace_and_determinant():
    for n in (3, 2, 30):  # 2 samples: rank one; 2 <= features takes the sample route, 30 the covariance route
        fake, real = normal(n, 2), normal(n, 2) @ np.array([[1.0, 0.8], [0.0, 0.3]])
        a, b = np.cov(fake, rowvar=False), np.cov(real, rowvar=False)
        # tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)) for 2 x 2 matrices with eigenvalues >= 0
        determinant = max(np.linalg.det(a) * np.linalg.det(b), 0.0) if n > 2 else 0.0
        overlap = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(determinant))
        expected = np.square(fake.mean(axis=0) - real.mean(axis=0)).sum() + np.trace(a) + np.trace(b) - 2 * overlap
        assert frechet_distance(fake[None], real[None])[0] == pytest.approx(expected, rel=1e-9)


def test_frechet_equals_scipys_matrix_root_where_covariances_are_regular():
    fake, real = normal(2, 60, 6), 0.5 + normal(2, 50, 6) @ normal(6, 6)
    expected = [frechet_from_moments(fake[task], real[task]) for task in range(2)]
    np.testing.assert_allclose(frechet_distance(fake, real), expected, rtol=1e-10)


def test_both_routes_of_frechet_agree():
    fake, real = normal(1, 9, 8), 1 + 2 * normal(1, 12, 8)  # 9 > 8: covariance route
    padded = [np.concatenate([samples, np.zeros((1, samples.shape[1], 4))], axis=2) for samples in (fake, real)]  # 9 <= 12: sample route
    np.testing.assert_allclose(frechet_distance(fake, real), frechet_distance(*padded), rtol=1e-10)


def test_a_rotation_changes_no_distance_of_points():
    rotation = np.linalg.qr(normal(8, 8))[0]
    fake, real = normal(2, 6, 8), normal(2, 7, 8)
    for distance in DISTANCES:
        np.testing.assert_allclose(distance(fake @ rotation, real @ rotation), distance(fake, real), rtol=1e-10)


def test_distances_are_symmetric():
    fake, real = normal(2, 6, 4), normal(2, 9, 4)
    for distance in DISTANCES:
        np.testing.assert_allclose(distance(fake, real), distance(real, fake), rtol=1e-10)


@pytest.mark.parametrize("n", [5, 40])
def test_frechet_of_a_constant_generator_is_the_spread_plus_the_shift(n):
    real = normal(1, n, 6)
    constant = np.zeros((1, n, 6)) + real.mean(axis=1, keepdims=True) + 3.0
    expected = 6 * 9 + np.trace(np.cov(real[0], rowvar=False))
    assert frechet_distance(constant, real)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [5, 40])
def test_frechet_of_scaling_about_the_mean(n):
    real = normal(1, n, 6)
    mean = real.mean(axis=1, keepdims=True)
    expected = (1 - 0.4) ** 2 * np.trace(np.cov(real[0], rowvar=False))
    assert frechet_distance(mean + 0.4 * (real - mean), real)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "features", "bound"), [(20, 64, 1e-12), (500, 64, 1e-11), (20, 512, 1e-11)])
def test_frechet_of_identical_sets_is_zero(n, features, bound):
    real = normal(1, n, features)
    assert 0 <= frechet_distance(real, real)[0] <= bound * features


def test_single_precision_features_lose_nothing_but_their_own_rounding():
    real = normal(1, 20, 64).astype(np.float32)
    assert frechet_distance(real, real)[0] <= 1e-10
    fake = normal(1, 20, 64)
    assert frechet_distance(fake.astype(np.float32), real)[0] == pytest.approx(frechet_distance(fake, real)[0], rel=1e-5)


def test_pooled_frechet_is_one_call_on_all_tasks_samples():
    fake, real = normal(5, 12, 6), normal(5, 11, 6)
    pooled = frechet_distance(fake.reshape(1, -1, 6), real.reshape(1, -1, 6))
    assert pooled[0] == pytest.approx(frechet_from_moments(fake.reshape(-1, 6), real.reshape(-1, 6)), rel=1e-10)


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
