"""Distances between generated and real samples, per task: energy (the headline), kernel (KID) and sliced Wasserstein.

Energy and kernel are U-statistics: unbiased, so the mean over many tasks removes their noise, and slightly negative values are
legal. The sliced Wasserstein distance is biased upward at few samples: compare equal counts only.
No plugins, files or global random state. A task with non-finite samples gives NaN and leaves the others alone.
Shape suffixes: T tasks, M generated samples, N real samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.measure.sets import Array, as_pair, off_diagonal_mean, pairwise_distances, undefined_as_nan

DIRECTIONS = 256
"""Slices of the Wasserstein distance; their choice adds less noise than the choice of samples does from some dozens on."""


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


def sliced_wasserstein(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike, *, directions: int = DIRECTIONS) -> Array:
    """Squared 2-Wasserstein distance of the samples along a direction: mean over directions, times F.

    The factor makes it comparable with a Fréchet distance: a translation by t costs exactly ||t||^2, scaling a set by s about its mean
    (1 - s)^2 times its total variance. Both are exact for whole orthonormal bases, which directions are therefore drawn as; they are
    always the same ones. Counts may differ: one-dimensional distances are taken between quantile functions.

    Args:
        fake_TMF: generated samples' features.
        real_TNF: real samples' features.
        directions: at least so many, rounded up to whole bases.

    Returns:
        (T,), >= 0, in squared units of the features; lower is better.

    Raises:
        MetricError: shapes differ.

    Source: Bonneel et al., 2015, https://doi.org/10.1007/s10851-014-0506-3; orthogonal directions: Rowland et al., 2019,
    https://arxiv.org/abs/1903.03784.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="sliced Wasserstein distance")
    features, m, n = fake.shape[2], fake.shape[1], real.shape[1]
    bases = -(-directions // features)
    slices_BFF = np.linalg.qr(np.random.default_rng(0).normal(size=(bases, features, features)))[0]
    # Both quantile functions are constant between neighbouring cuts, which are multiples of 1 / M and of 1 / N; counted in 1 / (M N).
    cuts = np.unique(np.concatenate([n * np.arange(m + 1), m * np.arange(n + 1)]))
    weights, from_fake, from_real = np.diff(cuts) / (m * n), cuts[:-1] // n, cuts[:-1] // m
    total_T = np.zeros(fake.shape[0])
    for slices_FF in slices_BFF:
        fake_TMD, real_TND = (np.sort(samples @ slices_FF, axis=1) for samples in (fake, real))
        total_T += np.einsum("p,tpd->t", weights, np.square(fake_TMD[:, from_fake] - real_TND[:, from_real]))
    return undefined_as_nan(total_T / bases, defined_T)
