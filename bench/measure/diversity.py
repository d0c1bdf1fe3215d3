"""Diversity of generated samples over that of real ones: 1 is real-like, below it modes or spread are lost; and duplicates.

All compare equal counts, the first min(M, N) samples of each set, because the Vendi score and near neighbours grow with the count.
No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, M generated samples, N real samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.errors import MetricError
from bench.measure.sets import (
    Array,
    Mask,
    as_pair,
    as_sets,
    defined_tasks,
    neighbour_distances,
    off_diagonal_mean,
    pairwise_distances,
    undefined_as_nan,
)

NEGLIGIBLE = 1e-6
"""A sample closer to the centre than this share of the real spread has no direction: it counts as the centre itself."""

DUPLICATE_PERCENTILE = 1.0
"""Of real samples' nearest-neighbour distances: nearer ones are duplicates."""


def vendi_score(samples_TNF: npt.ArrayLike, *, at_centre_TN: Mask | None = None) -> Array:
    """Effective number of distinct samples: exp of the entropy of the eigenvalues of K / N, K the cosine kernel.

    Args:
        samples_TNF: features, already relative to the centre from which directions are seen.
        at_centre_TN: samples without a direction; they are equal to each other and unlike all else. Default: the zero vectors.

    Returns:
        (T,), from 1 (all alike) to N (all orthogonal); NaN for a task with non-finite samples.

    Raises:
        MetricError: not three axes, or no sample.

    Source: Friedman & Dieng, 2023, https://arxiv.org/abs/2210.02410.
    """
    samples = as_sets(samples_TNF, measure="Vendi score", who="any", least=1)
    defined_T = defined_tasks(samples)
    samples = np.where(defined_T[:, None, None], samples, 0.0)
    norms_TN = np.linalg.norm(samples, axis=2)
    centre_TN = norms_TN == 0 if at_centre_TN is None else at_centre_TN | (norms_TN == 0)
    directions_TNF = np.where(centre_TN[:, :, None], 0.0, samples / np.where(norms_TN == 0, 1.0, norms_TN)[:, :, None])
    kernel_TNN = directions_TNF @ directions_TNF.swapaxes(1, 2) + (centre_TN[:, :, None] & centre_TN[:, None, :])
    weights_TN = np.maximum(np.linalg.eigvalsh(kernel_TNN / samples.shape[1]), 0.0)
    logarithms_TN = np.log(np.where(weights_TN > 0, weights_TN, 1.0))
    return undefined_as_nan(np.exp(-(weights_TN * logarithms_TN).sum(axis=1)), defined_T)


def vendi_ratio(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike, centre_TF: npt.ArrayLike) -> Array:
    """Vendi score of the generated samples over that of the real ones, both seen from ``centre_TF``.

    The centre must be independent of both sets, such as the support's mean: seen from its own mean a set always looks diverse,
    and seen from the real mean the real set looks more diverse than a perfect sampler.

    Args:
        fake_TMF: generated samples' features.
        real_TNF: real samples' features.
        centre_TF: the point from which directions are taken.

    Returns:
        (T,), 1 is real-like; NaN where the real samples that are compared all lie on the centre.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="Vendi ratio", least=2)
    centre = np.asarray(centre_TF, dtype=np.float64)
    if centre.shape != (fake.shape[0], fake.shape[2]):
        raise MetricError(f"Vendi ratio needs a centre of shape (tasks, features) = {(fake.shape[0], fake.shape[2])}, got {centre.shape}")
    defined_T = defined_T & defined_tasks(centre)
    centre = np.where(defined_T[:, None], centre, 0.0)
    n = min(fake.shape[1], real.shape[1])
    fake, real = fake[:, :n] - centre[:, None], real[:, :n] - centre[:, None]
    spread_T = np.sqrt(np.square(real).sum(axis=2).mean(axis=1))
    scores_2T = [
        vendi_score(samples, at_centre_TN=np.linalg.norm(samples, axis=2) <= NEGLIGIBLE * spread_T[:, None]) for samples in (fake, real)
    ]
    return undefined_as_nan(scores_2T[0] / scores_2T[1], defined_T & (spread_T > 0))


def pairwise_distance_ratio(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Mean distance between generated samples over that between real ones: catches shrinkage, to which cosines are blind.

    Args:
        fake_TMF: generated samples' features.
        real_TNF: real samples' features.

    Returns:
        (T,), 1 is real-like; NaN where all real samples that are compared are equal.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="pairwise distance ratio", least=2)
    n = min(fake.shape[1], real.shape[1])
    fake_T, real_T = (off_diagonal_mean(pairwise_distances(samples[:, :n], samples[:, :n])) for samples in (fake, real))
    return undefined_as_nan(fake_T / np.where(real_T > 0, real_T, 1.0), defined_T & (real_T > 0))


def duplicate_fraction(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Share of generated samples that have another one as near as hardly any two real ones are.

    As near: within the first percentile of the distances from real samples to their nearest real neighbour, edge included.

    Args:
        fake_TMF: generated samples' features.
        real_TNF: real samples' features.

    Returns:
        (T,), near 0 for a perfect sampler: some hundredths at few samples, of which the nearest pair sets the percentile; 1 for a constant
        generator. Where real samples repeat each other only exact repetitions count.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.

    Source: the rule of duplicates of the birthday-paradox test, Arora & Zhang, 2017, https://arxiv.org/abs/1706.08224, by distance
    instead of by eye.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="duplicate fraction", least=2)
    n = min(fake.shape[1], real.shape[1])
    fake_TN, real_TN = (neighbour_distances(samples[:, :n], 1) for samples in (fake, real))
    limit_T = np.quantile(real_TN, DUPLICATE_PERCENTILE / 100, axis=1)
    return undefined_as_nan((fake_TN <= limit_T[:, None]).mean(axis=1), defined_T)
