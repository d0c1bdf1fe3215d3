"""Precision, recall, density and coverage from nearest-neighbour balls.

Recall and coverage show lost modes, precision and density show samples where no real ones are. Coverage alone misses a collapse
onto the centre, and a perfect sampler covers less than 1: print :func:`expected_coverage` beside it.
No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, M generated samples, N real samples, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.measure.sets import Array, as_pair, neighbour_distances, pairwise_distances, undefined_as_nan

NEIGHBOURS = 3
"""Kynkäänniemi et al., 2019, section 3."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Four shares per task, each (T,): higher is better, density may exceed 1."""

    precision: Array
    recall: Array
    density: Array
    coverage: Array


def neighbours(n: int, most: int = NEIGHBOURS) -> int:
    """Which neighbour sets a ball's radius among ``n`` samples: ``min(most, n - 2)``; 0 where undefined (n < 3)."""
    return max(min(most, n - 2), 0)


def precision_recall(fake_TMF: npt.ArrayLike, real_TNF: npt.ArrayLike, *, most: int = NEIGHBOURS) -> PrecisionRecall:
    """Shares of samples inside the other set's balls; a ball reaches to the k-th neighbour, k = ``neighbours(n, most)``, edge included.

    The edge belongs to the ball (`<=`), so a constant generator on a constant target is perfect; identical sets have density (k+1)/k.

    Args:
        fake_TMF: generated samples' features; recall is NaN for M < 3.
        real_TNF: real samples' features; precision, density and coverage are NaN for N < 3.
        most: the largest k.

    Returns:
        precision (fakes in some real ball), recall (reals in some fake ball), density (real balls around a fake, over k),
        coverage (real balls with a fake inside).

    Raises:
        MetricError: shapes differ.

    Source: Kynkäänniemi et al., 2019, https://arxiv.org/abs/1904.06991; Naeem et al., 2020, https://arxiv.org/abs/2002.09797.
    """
    fake, real, defined_T = as_pair(fake_TMF, real_TNF, measure="precision and recall")
    tasks, n_fake, n_real = fake.shape[0], fake.shape[1], real.shape[1]
    between_TMN = pairwise_distances(fake, real)
    precision_T, recall_T, density_T, coverage_T = (np.full(tasks, np.nan) for _ in range(4))
    if k := neighbours(n_real, most):
        inside_TMN = between_TMN <= neighbour_distances(real, k)[:, None, :]
        precision_T = inside_TMN.any(axis=2).mean(axis=1)
        density_T = inside_TMN.sum(axis=(1, 2)) / (k * n_fake)
        coverage_T = inside_TMN.any(axis=1).mean(axis=1)
    if k := neighbours(n_fake, most):
        recall_T = (between_TMN <= neighbour_distances(fake, k)[:, :, None]).any(axis=1).mean(axis=1)
    return PrecisionRecall(*(undefined_as_nan(share_T, defined_T) for share_T in (precision_T, recall_T, density_T, coverage_T)))


def expected_coverage(n_real: int, n_fake: int, *, most: int = NEIGHBOURS) -> float:
    """Coverage that a perfect sampler has on average: 1 - prod_{i=1..k} (n - i) / (n + m - i); NaN for ``n_real`` < 3.

    Source: Naeem et al., 2020, lemma 2, https://arxiv.org/abs/2002.09797.
    """
    k = neighbours(n_real, most)
    if k == 0:
        return float("nan")
    i = np.arange(1, k + 1)
    return float(1 - np.prod((n_real - i) / (n_real + n_fake - i)))
