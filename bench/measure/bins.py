"""Statistically different bins (NDB): in how many regions of feature space are there too many or too few generated samples?

No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, K bins, M generated samples, N real samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.stats import hypergeom, norm

from bench.measure.sets import Array, Mask, as_pair

MOST_BINS, LEVEL = 100, 0.05
"""As in Richardson & Weiss, 2018."""
PER_BIN = 10
"""Real samples a bin on average, below which a test of two shares finds little."""
ROUNDS = 50
"""Of k-means at most; a dozen are usual, and bins are as valid before they settle."""


def different_bins(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike) -> Array:
    """Share of bins that generated and real samples fill differently (a test of two shares, 5 %), minus what chance alone makes of it.

    Bins are the k-means cells of both sets together, so that under the null neither set is special: given how many samples each
    bin holds, the number of generated ones is hypergeometric, and the expected share of different bins is known exactly. The paper makes
    bins of the real set alone and compares with 5 %, which few samples do not keep.

    Args:
        fake_TMF: generated samples' features; usually all tasks' as one task, (1, T * M, F).
        real_TNF: real samples' features; there are ``min(100, N // 10)`` bins, or as many as there are distinct samples.

    Returns:
        (T,), 0 in expectation if both sets come from one distribution (slightly negative is legal), at most 1; lower is better; NaN for
        fewer than two bins' worth of real samples.

    Raises:
        MetricError: shapes differ.

    Source: Richardson & Weiss, 2018, https://arxiv.org/abs/1805.12462.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="NDB")
    bins = min(MOST_BINS, real.shape[1] // PER_BIN)
    values_T = np.full(fake.shape[0], np.nan)
    for task in np.flatnonzero(defined_T) if bins > 1 else ():
        values_T[task] = _excess(*_counts(fake[task], real[task], bins), fake.shape[1], real.shape[1])
    return values_T


def _counts(fake_MF: Array, real_NF: Array, bins: int) -> tuple[Array, Array]:
    """Generated and real samples by bin, (K,) each, of k-means from distinct samples drawn with a fixed seed."""
    both = np.concatenate([fake_MF, real_NF])
    distinct = np.unique(both, axis=0)  # sorted, so the order of samples does not matter
    centres_KF = distinct[np.random.default_rng(0).permutation(len(distinct))[:bins]]
    bin_of = cdist(both, centres_KF).argmin(axis=1)
    for _ in range(ROUNDS):
        sizes_K = np.bincount(bin_of, minlength=len(centres_KF))
        sums_KF = np.zeros_like(centres_KF)
        np.add.at(sums_KF, bin_of, both)
        centres_KF = np.where(sizes_K[:, None] > 0, sums_KF / np.maximum(sizes_K, 1)[:, None], centres_KF)
        before, bin_of = bin_of, cdist(both, centres_KF).argmin(axis=1)
        if (bin_of == before).all():
            break
    fake_K, real_K = (np.bincount(part, minlength=len(centres_KF)).astype(np.float64) for part in np.split(bin_of, [len(fake_MF)]))
    return fake_K, real_K


def _excess(fake_K: Array, real_K: Array, m: int, n: int) -> float:
    """Share of different bins minus its expectation under exchangeability of all samples."""
    sizes_K1 = (fake_K + real_K)[:, None]
    possible = np.arange(sizes_K1.max() + 1)
    chances_KX = hypergeom.pmf(possible, m + n, sizes_K1, m)  # 0 where impossible
    expected = chances_KX[_different(possible, sizes_K1 - possible, m, n)].sum()
    return float((_different(fake_K, real_K, m, n).sum() - expected) / len(fake_K))


def _different(fake: Array, real: Array, m: int, n: int) -> Mask:
    """Two-sided test that ``fake`` of m and ``real`` of n are shares of one probability."""
    pooled = (fake + real) / (m + n)
    variance = pooled * (1 - pooled) * (1 / m + 1 / n)
    return np.asarray(np.square(fake / m - real / n) > norm.isf(LEVEL / 2) ** 2 * variance, dtype=np.bool_)
