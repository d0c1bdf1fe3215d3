"""Fréchet distance: closed forms, a truth of 60 digits, and what unlimited samples would give."""

import mpmath
import numpy as np
import pytest
from scipy import linalg

from bench.errors import MetricError
from bench.measure import FrechetReference, fid_infinity, fid_infinity_needs, frechet_distance

RNG = np.random.default_rng(0)


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


@pytest.mark.parametrize("n", [3, 5])
def test_frechet_of_covariances_that_do_not_commute_equals_sixty_digits(n):
    # 3 samples: both covariances are of rank 2, and so is their product; 5 samples: regular, by the covariance route.
    fake = np.array([[1, 2, 0], [0, -1, 3], [2, 2, 1], [-4, 1, 1], [0, 0, 5]])[:n]
    real = np.array([[3, 0, 0], [1, 1, 4], [-2, 1, 0], [0, 6, 1], [2, 2, -3]])[:n]
    with mpmath.workdps(60):
        means, covariances = [], []
        for samples in (fake, real):
            x = mpmath.matrix(samples.tolist())
            mean = mpmath.matrix([[sum(x[i, j] for i in range(n)) / mpmath.mpf(n) for j in range(3)]])
            centred = mpmath.matrix([[x[i, j] - mean[0, j] for j in range(3)] for i in range(n)])
            means.append(mean)
            covariances.append(centred.T * centred / (n - 1))
        eigenvalues, _ = mpmath.eig(covariances[0] * covariances[1])
        overlap = sum(mpmath.sqrt(abs(value)) for value in eigenvalues if abs(value) > mpmath.mpf(10) ** -40)
        shift = sum((means[0][0, j] - means[1][0, j]) ** 2 for j in range(3))
        spread = sum(covariances[0][j, j] + covariances[1][j, j] for j in range(3))
        truth = float(shift + spread - 2 * overlap)
    assert frechet_distance(fake[None], real[None])[0] == pytest.approx(truth, rel=1e-13)


@pytest.mark.parametrize("n", [5, 40])
def test_a_reference_gives_the_same_bits_as_its_samples_and_computes_its_root_once(n):
    real, fakes = normal(2, n, 8), [normal(2, n, 8) for _ in range(2)]
    reference = FrechetReference(real)
    for fake in fakes:
        np.testing.assert_array_equal(frechet_distance(fake, reference), frechet_distance(fake, real))
    assert reference.root_TFF is reference.root_TFF
    np.testing.assert_allclose(reference.root_TFF @ reference.root_TFF.swapaxes(1, 2), [np.cov(x, rowvar=False) for x in real], atol=1e-12)


def test_a_bad_generated_task_leaves_the_reference_as_it_was():
    real, fake = normal(2, 9, 4), normal(2, 9, 4)
    reference, bad = FrechetReference(real), fake.copy()
    bad[0, 0, 0] = np.nan
    assert np.isnan(frechet_distance(bad, reference)).tolist() == [True, False]
    np.testing.assert_array_equal(frechet_distance(fake, reference), frechet_distance(fake, real))


def test_rounding_features_to_single_precision_moves_no_distance_by_more_than_its_bound():
    """Rounding moves a sample by at most 2^-24 of its length; a distance's root moves by no more than the sets do together."""
    fake, real = 3 + normal(20, 20, 32), normal(20, 20, 32)
    rounded = [sets.astype(np.float32).astype(np.float64) for sets in (fake, real)]
    moved = sum(np.linalg.norm(near - sets, axis=(1, 2)) / np.sqrt(19) for near, sets in zip(rounded, (fake, real), strict=True))
    assert (np.abs(np.sqrt(frechet_distance(*rounded)) - np.sqrt(frechet_distance(fake, real))) <= moved).all()
    assert moved.max() < 1e-5


# ------------------------------------------------------------------ unlimited samples
def test_extrapolation_removes_the_bias_of_few_samples():
    """Normal sets that differ by a shift of length 1 and by a scale of 1.5: 1 + F (1.5 - 1)^2."""
    rng = np.random.default_rng(5)
    truth = 1 + 16 * 0.25
    fake, real = 1.5 * normal(80, 300, 16, rng=rng) + 1 / 4, normal(80, 400, 16, rng=rng)
    extrapolated, plain = fid_infinity(fake, real), frechet_distance(fake, real)
    assert abs(extrapolated.mean() - truth) < 4 * extrapolated.std(ddof=1) / np.sqrt(80)
    assert plain.mean() - truth > 10 * plain.std(ddof=1) / np.sqrt(80)


def test_equal_distributions_are_at_no_distance_and_identical_sets_at_exactly_none():
    rng = np.random.default_rng(6)
    values = fid_infinity(normal(80, 200, 8, rng=rng), normal(80, 200, 8, rng=rng))
    assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(80)
    real = normal(2, 80, 4)
    np.testing.assert_allclose(fid_infinity(real, real), 0, atol=1e-12)


def test_extrapolation_is_refused_where_a_straight_line_would_be_biased():
    assert fid_infinity_needs(8) == 64
    assert np.isfinite(fid_infinity(normal(1, 64, 8), normal(1, 64, 8))).all()
    for sizes in ((63, 64), (64, 63)):
        with pytest.raises(MetricError, match="needs 64 or more samples of 8 features.*pool more tasks"):
            fid_infinity(*(normal(1, n, 8) for n in sizes))


def test_a_bad_task_is_not_extrapolated_and_leaves_the_others_as_they_are():
    fake, real = normal(3, 40, 4), normal(3, 40, 4)
    clean = fid_infinity(fake, real)
    fake[1, 30, 2] = np.inf
    values = fid_infinity(fake, real)
    assert np.isnan(values[1])
    np.testing.assert_array_equal(values[[0, 2]], clean[[0, 2]])
