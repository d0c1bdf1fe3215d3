"""Coverage of known modes: equally likely isotropic Gaussians of one standard deviation a task.

A perfect sampler neither has only high-quality samples nor finds every mode: its expected values stand here too.
No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, M samples, K modes, F coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.special import gammainc

from bench.errors import MetricError
from bench.measure.sets import Array, as_sets, defined_tasks

RADIUS = 3.0
"""Standard deviations within which a sample is of high quality (Srivastava et al., 2017; Lin et al., 2018, `<`)."""


@dataclass(frozen=True)
class ModeCounts:
    """High-quality samples by nearest mode.

    Attributes:
        counts_TK: number of samples; 0 at padded modes, NaN in an undefined task.
        n_modes_T: number of modes.
        n_samples: number of samples a task, of any quality.
    """

    counts_TK: Array
    n_modes_T: Array
    n_samples: int

    def found(self) -> Array:
        """Number of modes with at least one high-quality sample, (T,)."""
        return np.where(np.isnan(self.counts_TK).any(axis=1), np.nan, (self.counts_TK > 0).sum(axis=1))

    def high_quality(self) -> Array:
        """Share of samples that are of high quality, (T,)."""
        return np.asarray(self.counts_TK.sum(axis=1) / self.n_samples, dtype=np.float64)


def pad_centres(centres: Sequence[npt.ArrayLike]) -> Array:
    """One (K, F) array a task -> (T, K, F) with NaN rows where a task has fewer modes.

    Raises:
        MetricError: no task, or tasks whose centres differ in coordinates.
    """
    arrays = [np.asarray(centre, dtype=np.float64) for centre in centres]
    if not arrays or any(array.ndim != 2 or array.shape[1] != arrays[0].shape[1] for array in arrays):
        raise MetricError(f"modes need one (modes, coordinates) array of centres a task, got shapes {[array.shape for array in arrays]}")
    padded_TKF = np.full((len(arrays), max(len(array) for array in arrays), arrays[0].shape[1]), np.nan)
    for task, array in enumerate(arrays):
        padded_TKF[task, : len(array)] = array
    return padded_TKF


def count_modes(samples_TMF: npt.ArrayLike, centres_TKF: npt.ArrayLike, scale_T: npt.ArrayLike, *, radius: float = RADIUS) -> ModeCounts:
    """Assign each sample to its nearest mode and keep those within ``radius`` standard deviations.

    Args:
        samples_TMF: generated samples, in the coordinates of the centres.
        centres_TKF: centres; rows of NaN are modes that a task does not have (:func:`pad_centres`).
        scale_T: standard deviation per axis, > 0.
        radius: in standard deviations.

    Raises:
        MetricError: shapes differ, or a scale is not positive.

    Source: Srivastava et al., 2017 (VEEGAN), section 4.1, https://arxiv.org/abs/1705.07761.
    """
    samples = as_sets(samples_TMF, measure="mode count", who="generated")
    centres, scale = np.asarray(centres_TKF, dtype=np.float64), np.asarray(scale_T, dtype=np.float64)
    tasks, _, coordinates = samples.shape
    if centres.ndim != 3 or (centres.shape[0], centres.shape[2]) != (tasks, coordinates) or scale.shape != (tasks,):
        raise MetricError(
            f"mode count needs centres ({tasks}, modes, {coordinates}) and scales ({tasks},) for samples {samples.shape}, "
            f"got {centres.shape} and {scale.shape}"
        )
    if not (scale > 0).all():
        raise MetricError(f"mode count needs positive scales, got {scale.min()}; give Modes the standard deviation of its Gaussians")
    defined_T = defined_tasks(samples)
    samples = np.where(defined_T[:, None, None], samples, 0.0)
    present_TK = np.asarray(~np.isnan(centres).any(axis=2), dtype=np.bool_)
    counts_TK = np.zeros(present_TK.shape)
    for task in range(tasks):
        present_K = present_TK[task]
        distances_MK = cdist(samples[task], centres[task, present_K])
        near_M = distances_MK.min(axis=1) < radius * scale[task]
        counts_TK[task, present_K] = np.bincount(distances_MK.argmin(axis=1)[near_M], minlength=distances_MK.shape[1])
    counts_TK[~defined_T] = np.nan
    return ModeCounts(counts_TK, present_TK.sum(axis=1).astype(np.float64), samples.shape[1])


def reverse_kl(counts: ModeCounts) -> Array:
    """KL(generated || uniform) over modes, in nats, with the Miller-Madow correction of the entropy.

    The plug-in value of a perfect sampler is about (K-1)/2n instead of 0; the correction adds (occupied modes - 1) / 2n to the entropy.

    Returns:
        (T,), log K for a single mode, about 0 for a perfect sampler (slightly below is legal); NaN without a high-quality sample.

    Source: Miller, 1955, Note on the bias of information estimates.
    """
    n_T = counts.counts_TK.sum(axis=1)
    safe_T = np.where(n_T > 0, n_T, 1.0)
    share_TK = np.where(n_T[:, None] > 0, counts.counts_TK, 0.0) / safe_T[:, None]
    entropy_T = -(share_TK * np.log(np.where(share_TK > 0, share_TK, 1.0))).sum(axis=1)
    corrected_T = entropy_T + ((share_TK > 0).sum(axis=1) - 1) / (2 * safe_T)
    return np.where(n_T > 0, np.log(counts.n_modes_T) - corrected_T, np.nan)


def expected_high_quality(coordinates: int = 2, *, radius: float = RADIUS) -> float:
    """Share of a perfect sampler's samples within ``radius``: the chi-square distribution function, 0.98889 in the plane."""
    return float(gammainc(coordinates / 2, radius**2 / 2))


def expected_modes(n_modes: npt.ArrayLike, n_samples: int, *, high_quality: float = 1.0) -> Array:
    """Modes that a perfect sampler finds on average: K (1 - (1 - q/K)^n), q the share of high-quality samples."""
    k = np.asarray(n_modes, dtype=np.float64)
    return np.asarray(k * (1 - (1 - high_quality / k) ** n_samples), dtype=np.float64)
