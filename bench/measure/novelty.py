"""Memorisation of the support set: what distances to held-out samples alone would reward.

No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, M generated samples, Q query samples, S support samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.measure.distances import energy_distance
from bench.measure.sets import Array, as_pair, pairwise_distances, undefined_as_nan


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
    fake, support, fake_defined_T = as_pair(fake_TMF, support_TSF, measure="nearest-support ratio")
    query, real_support, query_defined_T = as_pair(query_TQF, support_TSF, measure="nearest-support ratio")
    fake_T = pairwise_distances(fake, support).min(axis=2).mean(axis=1)
    query_T = pairwise_distances(query, real_support).min(axis=2).mean(axis=1)
    return undefined_as_nan(fake_T / np.where(query_T > 0, query_T, 1.0), fake_defined_T & query_defined_T & (query_T > 0))


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
    return energy_distance(fake_TMF, query_TQF) - energy_distance(fake_TMF, support_TSF)
