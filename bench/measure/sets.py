"""Pairs of sample sets: checked, in float64, undefined tasks set aside; and the distances between them.

Shape suffixes: T tasks, M generated samples, N real samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from bench.errors import MetricError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LARGEST = 1e50
"""A task with a larger value is undefined: a cubic kernel of larger ones overflows float64."""


def defined_tasks(samples: npt.ArrayLike) -> Mask:
    """(T, ...) -> (T,): which tasks hold only finite values of at most ``LARGEST``."""
    values = np.asarray(samples, dtype=np.float64)  # in float32 the limit would be infinity
    # NaN compares false, so one comparison finds NaN, inf and overflow.
    return np.asarray((np.abs(values) <= LARGEST).all(axis=tuple(range(1, values.ndim))), dtype=np.bool_)


def as_sets(samples: npt.ArrayLike, *, measure: str, who: str, least: int = 1) -> Array:
    """(T, N, F) in float64.

    Raises:
        MetricError: another number of axes, or fewer than ``least`` samples a task.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 3:
        raise MetricError(f"{measure} needs {who} samples as (tasks, samples, features), got {values.shape}; flatten each sample first")
    if values.shape[1] < least:
        raise MetricError(f"{measure} needs {least} or more {who} samples a task, got {values.shape[1]}; raise protocol.query or samples")
    return values


def match(fake: tuple[int, ...], real: tuple[int, ...], *, measure: str) -> None:
    """Shapes (T, M, F) and (T, N, F) are of equal tasks and features.

    Raises:
        MetricError: they are not.
    """
    if fake[0] != real[0] or fake[2] != real[2]:
        raise MetricError(
            f"{measure} needs equal tasks and features, got {fake} (generated) and {real} (real); "
            "use the same tasks and the same feature extractor for both"
        )


def as_pair(fake: npt.ArrayLike, real: npt.ArrayLike, *, measure: str, least: int = 1) -> tuple[Array, Array, Mask]:
    """Both sets in float64, and the (T,) mask of defined tasks; the others are filled with zeros so that no task harms another.

    Raises:
        MetricError: the sets differ in tasks or features, or one has fewer than ``least`` samples.
    """
    fake_TMF = as_sets(fake, measure=measure, who="generated", least=least)
    real_TNF = as_sets(real, measure=measure, who="real", least=least)
    match(fake_TMF.shape, real_TNF.shape, measure=measure)
    defined_T = defined_tasks(fake_TMF) & defined_tasks(real_TNF)
    if not defined_T.all():
        keep_T11 = defined_T[:, None, None]
        fake_TMF, real_TNF = np.where(keep_T11, fake_TMF, 0.0), np.where(keep_T11, real_TNF, 0.0)
    return fake_TMF, real_TNF, defined_T


def pairwise_distances(a_TMF: Array, b_TNF: Array) -> Array:
    """Euclidean distances (T, M, N).

    Differences are squared, not products expanded: equal points are at exactly 0, and a value depends on its two points only,
    not on the batch that they came in.
    """
    distances_TMN = np.empty((a_TMF.shape[0], a_TMF.shape[1], b_TNF.shape[1]))
    for task in range(a_TMF.shape[0]):
        distances_TMN[task] = cdist(a_TMF[task], b_TNF[task])
    return distances_TMN


def neighbour_distances(samples_TNF: Array, k: int) -> Array:
    """Distance (T, N) of each sample to its k-th nearest other one, 1 <= k < N."""
    distances_TNN = pairwise_distances(samples_TNF, samples_TNF)
    each = np.arange(samples_TNF.shape[1])
    distances_TNN[:, each, each] = np.inf
    return np.asarray(np.partition(distances_TNN, k - 1, axis=2)[:, :, k - 1], dtype=np.float64)


def off_diagonal_mean(square_TNN: Array) -> Array:
    """Mean over the N (N - 1) entries off the diagonal, (T,); NaN for N = 1."""
    n = square_TNN.shape[-1]
    if n < 2:
        return np.full(square_TNN.shape[0], np.nan)
    total_T = square_TNN.sum(axis=(1, 2)) - np.trace(square_TNN, axis1=1, axis2=2)
    return np.asarray(total_T / (n * (n - 1)), dtype=np.float64)


def undefined_as_nan(values_T: Array, defined_T: Mask) -> Array:
    """NaN where a task is undefined, and where a value is not finite."""
    return np.where(defined_T & np.isfinite(values_T), values_T, np.nan)
