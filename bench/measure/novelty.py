"""Memorisation of the support set: what distances to held-out samples alone would reward.

No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, M generated samples, Q query samples, S support samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from bench.measure.sets import Array, Mask, as_pair, off_diagonal_mean, pairwise_distances, undefined_as_nan


def nearest_support_ratio(fake_TMF: npt.ArrayLike, query_TQF: npt.ArrayLike, support_TSF: npt.ArrayLike) -> Array:
    """Mean distance from a generated sample to its nearest support sample, over the same for held-out real samples.

    Args:
        fake_TMF: generated samples' features.
        query_TQF: held-out real samples' features.
        support_TSF: features of the samples that were adapted to.

    Returns:
        (T,): 1 is as novel as real samples, 0 is a copy of the support; NaN where every query sample is a support sample.

    Raises:
        MetricError: shapes differ.
    """
    fake_TM, query_TQ, defined_T = _to_support(fake_TMF, query_TQF, support_TSF, measure="nearest-support ratio")
    fake_T, query_T = fake_TM.mean(axis=1), query_TQ.mean(axis=1)
    return undefined_as_nan(fake_T / np.where(query_T > 0, query_T, 1.0), defined_T & (query_T > 0))


def data_copying(fake_TMF: npt.ArrayLike, query_TQF: npt.ArrayLike, support_TSF: npt.ArrayLike) -> Array:
    """Data-copying test: are generated samples nearer to the support than held-out real ones are?

    Mann-Whitney's z of the distances to the nearest support sample, generated against held-out, corrected for ties; the whole space is
    one cell. It tests, so it grows with the counts: compare equal counts only, and read beside the nearest-support ratio, which says by
    how much.

    Args:
        fake_TMF: generated samples' features.
        query_TQF: held-out real samples' features.
        support_TSF: features of the samples that were adapted to.

    Returns:
        (T,): standard normal for a generator of the true distribution, whatever the support; far below 0 where it copies, far above
        where it stays away from real data. 0 where all distances are equal.

    Raises:
        MetricError: shapes differ.

    Source: Meehan, Chaudhuri & Dasgupta, 2020, https://arxiv.org/abs/2004.05675.
    """
    fake_TM, query_TQ, defined_T = _to_support(fake_TMF, query_TQF, support_TSF, measure="data-copying test")
    m, q = fake_TM.shape[1], query_TQ.shape[1]
    ranks_TN = rankdata(np.concatenate([fake_TM, query_TQ], axis=1), axis=1)
    above_T = ranks_TN[:, :m].sum(axis=1) - m * (m + 1) / 2 - m * q / 2
    # The sum of squared mid-ranks holds the correction: it falls by (t^3 - t) / 12 for every t tied values.
    variance_T = m * q / ((m + q) * max(m + q - 1, 1)) * np.square(ranks_TN - (m + q + 1) / 2).sum(axis=1)
    return undefined_as_nan(above_T / np.sqrt(np.where(variance_T > 0, variance_T, 1.0)), defined_T)


def support_query_gap(fake_TMF: npt.ArrayLike, query_TQF: npt.ArrayLike, support_TSF: npt.ArrayLike) -> Array:
    """Energy distance to the query minus that to the support: a generalisation gap.

    Args:
        fake_TMF: generated samples' features, M >= 2.
        query_TQF: held-out real samples' features, Q >= 2.
        support_TSF: features of the samples that were adapted to, S >= 2.

    Returns:
        (T,): 0 in expectation if the support leaves no trace of itself, positive where it is memorised.

    Raises:
        MetricError: shapes differ, or fewer than 2 samples.
    """
    fake, query, fake_defined_T = as_pair(fake_TMF, query_TQF, measure="support-query gap", least=2)
    _, support, support_defined_T = as_pair(query_TQF, support_TSF, measure="support-query gap", least=2)
    # Distances among the generated samples would stand in both energies, so they are left out.
    to_query_T, to_support_T = (
        2 * pairwise_distances(fake, real).mean(axis=(1, 2)) - off_diagonal_mean(pairwise_distances(real, real))
        for real in (query, support)
    )
    return undefined_as_nan(to_query_T - to_support_T, fake_defined_T & support_defined_T)


def _to_support(
    fake_TMF: npt.ArrayLike, query_TQF: npt.ArrayLike, support_TSF: npt.ArrayLike, *, measure: str
) -> tuple[Array, Array, Mask]:
    """Distances to the nearest support sample, (T, M) and (T, Q), and which tasks are defined."""
    fake, support, fake_defined_T = as_pair(fake_TMF, support_TSF, measure=measure)
    query, _, query_defined_T = as_pair(query_TQF, support_TSF, measure=measure)
    fake_TM, query_TQ = (pairwise_distances(samples, support).min(axis=2) for samples in (fake, query))
    return fake_TM, query_TQ, fake_defined_T & query_defined_T
