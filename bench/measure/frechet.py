"""Fréchet distance (FID) between the Gaussians fitted to generated and to real features, and its value at unlimited samples.

Biased upward at few samples (Chong & Forsyth, 2020), where it prefers a shrunken generator: compare equal counts only, or extrapolate.
No plugins, files or global random state. A task with non-finite samples gives NaN and leaves the others alone.
Shape suffixes: T tasks, M generated samples, N real samples, F features.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.errors import MetricError
from bench.measure.sets import Array, as_sets, defined_tasks, match, undefined_as_nan

BLOCKS = 4
"""Sample counts that FID-infinity extrapolates from: all samples, and all of them in 2, 3, ... blocks."""
ORDER = 0
"""Seed of the order in which samples fall into blocks: the same for every generator."""


class FrechetReference:
    """The Gaussian fitted to each task's real samples. What is computed of it is computed once, for all distances to it.

    Args:
        real_TNF: real samples' features, N >= 2.

    Raises:
        MetricError: not three axes, or fewer than 2 samples.
    """

    def __init__(self, real_TNF: npt.ArrayLike) -> None:
        real = as_sets(real_TNF, measure="Fréchet distance", who="real", least=2)
        self.defined_T = defined_tasks(real)
        self.shape = real.shape
        self.mean_TF, self.factor_TNF = _mean_and_factor(np.where(self.defined_T[:, None, None], real, 0.0))

    @cached_property
    def root_TFF(self) -> Array:
        """R with R R' = C, the covariance."""
        values_TF, vectors_TFF = np.linalg.eigh(_gram(self.factor_TNF))
        return np.asarray(vectors_TFF * np.sqrt(np.maximum(values_TF, 0.0))[:, None, :], dtype=np.float64)


def frechet_distance(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike | FrechetReference) -> Array:
    """Squared Fréchet distance between the Gaussians fitted to both feature sets, per task.

    Covariances have the n - 1 denominator. For one value over all tasks give them as one task:
    ``frechet_distance(fake.reshape(1, -1, F), real.reshape(1, -1, F))``.

    Args:
        fake_TMF: generated samples' features, M >= 2.
        real_TNF: real samples' features, N >= 2; as a :class:`FrechetReference` where several sets are compared with them.

    Returns:
        (T,), >= 0, in squared units of the features; lower is better.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.

    Source: Heusel et al., 2017, eq. (6), https://arxiv.org/abs/1706.08500.
    """
    real = real_TNF if isinstance(real_TNF, FrechetReference) else FrechetReference(real_TNF)
    fake = as_sets(fake_TMF, measure="Fréchet distance", who="generated", least=2)
    match(fake.shape, real.shape, measure="Fréchet distance")
    defined_T = defined_tasks(fake) & real.defined_T
    mean_TF, factor_TMF = _mean_and_factor(np.where(defined_T[:, None, None], fake, 0.0))
    # With factors A'A = C_fake and B'B = C_real: tr sqrt(C_fake C_real) is the nuclear norm of AB', so no root of a product is taken.
    spread_T = np.square(factor_TMF).sum(axis=(1, 2)) + np.square(real.factor_TNF).sum(axis=(1, 2))
    if min(fake.shape[1], real.shape[1]) <= fake.shape[2]:
        overlap_T = np.linalg.svd(factor_TMF @ real.factor_TNF.swapaxes(1, 2), compute_uv=False).sum(axis=1)
    else:
        # R' C_fake R is symmetric: its eigenvalues stay real, unlike those of C_fake C_real.
        squares_TF = np.linalg.eigvalsh(real.root_TFF.swapaxes(1, 2) @ _gram(factor_TMF) @ real.root_TFF)
        overlap_T = np.sqrt(np.maximum(squares_TF, 0.0)).sum(axis=1)
    # Exact arithmetic cannot go below 0; rounding can, by 1e-15 of the spread.
    return undefined_as_nan(np.maximum(np.square(mean_TF - real.mean_TF).sum(axis=1) + spread_T - 2 * overlap_T, 0.0), defined_T)


def _mean_and_factor(samples_TNF: Array) -> tuple[Array, Array]:
    """Means (T, F), and A (T, N, F) with A'A the covariances."""
    mean_TF = samples_TNF.mean(axis=1)
    return mean_TF, (samples_TNF - mean_TF[:, None]) / np.sqrt(samples_TNF.shape[1] - 1)


def _gram(factor_TNF: Array) -> Array:
    return np.asarray(factor_TNF.swapaxes(1, 2) @ factor_TNF, dtype=np.float64)


def fid_infinity(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Fréchet distance extrapolated to unlimited samples, per task: the intercept of a straight line in 1 / count.

    Both sets are cut into 1, 2, ... ``BLOCKS`` equal blocks of samples in random order, and blocks of equal rank compared. The paper
    cuts only the generated set and takes the real one for unlimited; held-out samples of few-shot tasks are few as well. A straight line
    is all that is left of the bias only where even the smallest block has at least twice as many samples as features.

    Args:
        fake_TMF: generated samples' features, M >= :func:`fid_infinity_needs` (F); usually all tasks' as one task, (1, T * M, F).
        real_TNF: real samples' features, N likewise.

    Returns:
        (T,), in squared units of the features; 0 in expectation if both sets come from one distribution, so slightly negative is legal.

    Raises:
        MetricError: shapes differ, or too few samples for a straight line.

    Source: Chong & Forsyth, 2020, https://arxiv.org/abs/1911.07023.
    """
    fake, real = (as_sets(sets, measure="FID-infinity", who=who) for sets, who in ((fake_TMF, "generated"), (real_TNF, "real")))
    match(fake.shape, real.shape, measure="FID-infinity")
    least = fid_infinity_needs(fake.shape[2])
    if min(fake.shape[1], real.shape[1]) < least:
        raise MetricError(
            f"FID-infinity needs {least} or more samples of {fake.shape[2]} features (2 a feature in each of {BLOCKS} blocks), got "
            f"{fake.shape[1]} (generated) and {real.shape[1]} (real), which would bias it; pool more tasks, or leave it out"
        )
    fake, real = (sets[:, np.random.default_rng(ORDER).permutation(sets.shape[1])] for sets in (fake, real))
    counts_K = np.arange(1.0, BLOCKS + 1)
    heights_TK = np.stack([_mean_over_blocks(fake, real, int(blocks)) for blocks in counts_K], axis=1)
    # 1 / samples of a block is in proportion to the number of blocks, so the line through the latter has the same intercept.
    slope_T = ((counts_K - counts_K.mean()) * heights_TK).sum(axis=1) / np.square(counts_K - counts_K.mean()).sum()
    return np.asarray(heights_TK.mean(axis=1) - slope_T * counts_K.mean(), dtype=np.float64)


def _mean_over_blocks(fake: Array, real: Array, blocks: int) -> Array:
    """Mean Fréchet distance (T,) between the blocks of each task, which lose the samples that do not fill one."""
    cut = [sets[:, : sets.shape[1] // blocks * blocks].reshape(len(sets) * blocks, -1, sets.shape[2]) for sets in (fake, real)]
    return np.asarray(frechet_distance(*cut).reshape(-1, blocks).mean(axis=1), dtype=np.float64)


def fid_infinity_needs(features: int) -> int:
    """Samples of each set from which :func:`fid_infinity` is defined."""
    return 2 * features * BLOCKS
