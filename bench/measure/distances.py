"""Distances between generated and real samples, per task: energy (the headline), kernel (KID) and Fréchet (FID).

Energy and kernel are U-statistics: unbiased, so the mean over many tasks removes their noise, and slightly negative values are
legal. The Fréchet distance is biased upward at few samples and then prefers a shrunken generator: compare equal counts only.
No plugins, files or global random state. A task with non-finite samples gives NaN and leaves the others alone.
Shape suffixes: T tasks, M generated samples, N real samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.measure.sets import Array, as_pair, off_diagonal_mean, pairwise_distances, undefined_as_nan


def energy_distance(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Unbiased energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'|, in units of the features.

    Args:
        fake_TMF: generated samples' features, M >= 2.
        real_TNF: real samples' features, N >= 2.

    Returns:
        (T,); 0 in expectation if both sets come from one distribution, lower is better.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.

    Source: Székely & Rizzo, 2013, https://doi.org/10.1016/j.jspi.2013.03.018.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="energy distance", least=2)
    between_T = pairwise_distances(fake, real).mean(axis=(1, 2))
    within_T = off_diagonal_mean(pairwise_distances(fake, fake)) + off_diagonal_mean(pairwise_distances(real, real))
    return undefined_as_nan(2 * between_T - within_T, defined_T)


def kid(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Kernel inception distance: unbiased squared MMD with the kernel (x·y / F + 1)^3, over all samples at once.

    The kernel is not scale-free: features must come in units of order one, which a feature extractor's frozen scale gives.

    Args:
        fake_TMF: generated samples' features, M >= 2.
        real_TNF: real samples' features, N >= 2.

    Returns:
        (T,); 0 in expectation if both sets come from one distribution, lower is better.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.

    Source: Bińkowski et al., 2018, eq. (4), https://arxiv.org/abs/1801.01401.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="KID", least=2)
    between_T = _cubic(fake, real).mean(axis=(1, 2))
    return undefined_as_nan(off_diagonal_mean(_cubic(fake, fake)) + off_diagonal_mean(_cubic(real, real)) - 2 * between_T, defined_T)


def _cubic(a_TMF: Array, b_TNF: Array) -> Array:
    base_TMN = a_TMF @ b_TNF.swapaxes(1, 2) / a_TMF.shape[2] + 1
    return np.asarray(base_TMN * base_TMN * base_TMN, dtype=np.float64)


def frechet_distance(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Squared Fréchet distance between the Gaussians fitted to both feature sets, per task.

    Covariances have the n - 1 denominator. For one value over all tasks give them as one task:
    ``frechet_distance(fake.reshape(1, -1, F), real.reshape(1, -1, F))``.
    Biased upward at few samples (Chong & Forsyth, 2020), so compare equal M and N only.

    Args:
        fake_TMF: generated samples' features, M >= 2.
        real_TNF: real samples' features, N >= 2.

    Returns:
        (T,), >= 0, in squared units of the features; lower is better.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.

    Source: Heusel et al., 2017, eq. (6), https://arxiv.org/abs/1706.08500.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="Fréchet distance", least=2)
    shift_TF = fake.mean(axis=1) - real.mean(axis=1)
    # With factors A'A = C_fake and B'B = C_real: tr sqrt(C_fake C_real) is the nuclear norm of AB', so no root of a product is taken.
    a_TMF, b_TNF = _factor(fake), _factor(real)
    spread_T = np.square(a_TMF).sum(axis=(1, 2)) + np.square(b_TNF).sum(axis=(1, 2))
    few = min(fake.shape[1], real.shape[1]) <= fake.shape[2]
    overlap_T = _nuclear_norm_by_samples(a_TMF, b_TNF) if few else _nuclear_norm_by_features(a_TMF, b_TNF)
    # Exact arithmetic cannot go below 0; rounding can, by 1e-15 of the spread.
    return undefined_as_nan(np.maximum(np.square(shift_TF).sum(axis=1) + spread_T - 2 * overlap_T, 0.0), defined_T)


def _factor(samples_TNF: Array) -> Array:
    return np.asarray((samples_TNF - samples_TNF.mean(axis=1, keepdims=True)) / np.sqrt(samples_TNF.shape[1] - 1), dtype=np.float64)


def _nuclear_norm_by_samples(a_TMF: Array, b_TNF: Array) -> Array:
    return np.asarray(np.linalg.svd(a_TMF @ b_TNF.swapaxes(1, 2), compute_uv=False).sum(axis=1), dtype=np.float64)


def _nuclear_norm_by_features(a_TMF: Array, b_TNF: Array) -> Array:
    fake_TFF, real_TFF = a_TMF.swapaxes(1, 2) @ a_TMF, b_TNF.swapaxes(1, 2) @ b_TNF
    values_TF, vectors_TFF = np.linalg.eigh(real_TFF)
    root_TFF = vectors_TFF * np.sqrt(np.maximum(values_TF, 0.0))[:, None, :]
    # R' C_fake R with R R' = C_real is symmetric: its eigenvalues stay real, unlike those of C_fake C_real.
    overlap_TF = np.linalg.eigvalsh(root_TFF.swapaxes(1, 2) @ fake_TFF @ root_TFF)
    return np.asarray(np.sqrt(np.maximum(overlap_TF, 0.0)).sum(axis=1), dtype=np.float64)
