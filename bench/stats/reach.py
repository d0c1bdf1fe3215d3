"""Where a curve first reaches a level: how many shots does one arm need for what another reaches with few?

Shape suffixes: K positions on the axis (numbers of shots), B curves, R replicates, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.stats.aggregate import LEVEL
from bench.stats.bootstrap import resample_counts, resampled
from bench.stats.crossed import Array


@dataclass(frozen=True)
class Reach:
    """A position on the axis with its interval: the first one where it is reached from the start, inf where it never is, NaN: undefined."""

    estimate: float
    low: float
    high: float


def first_reaching(positions_K: npt.ArrayLike, losses_BK: npt.ArrayLike, targets_B: npt.ArrayLike) -> Array:
    """Position at which each curve first falls to its target, (B,).

    Between two positions a curve is a straight line over the logarithm of the position.

    Args:
        positions_K: positive, increasing.
        losses_BK: a curve per row, lower is better.
        targets_B: a level per curve.

    Returns:
        The first position itself where the curve starts at or below its target, inf where it never falls to it, NaN where curve or
        target is undefined.
    """
    positions, losses, targets = (np.asarray(values, dtype=np.float64) for values in (positions_K, losses_BK, targets_B))
    reached_BK = losses <= targets[:, None]
    after_B = reached_BK.argmax(axis=1)
    before_B = np.maximum(after_B - 1, 0)
    rows = np.arange(len(losses))
    above, below = losses[rows, before_B], losses[rows, after_B]
    falls = above > below
    share_B = np.divide(above - targets, above - below, out=np.zeros_like(targets), where=falls)
    found: Array = positions[before_B] * (positions[after_B] / positions[before_B]) ** share_B
    found[~reached_BK.any(axis=1)] = np.inf
    found[np.isnan(losses).any(axis=1) | np.isnan(targets)] = np.nan
    return found


def reach_interval(
    positions_K: npt.ArrayLike,
    losses_KRT: Array,
    target_RT: Array,
    rng: np.random.Generator,
    *,
    resamples: int = 2_000,
    level: float = LEVEL,
) -> Reach:
    """Position at which the mean of one arm's curves reaches the mean of another arm's losses, for new replicates and new tasks.

    Replicates and tasks are shared by all positions and both arms, so whole rows and columns are resampled together (pigeonhole
    bootstrap). Resampled means are moved away from the mean by sqrt(R / (R - 1)), because resampling R replicates understates their
    variance; a percentile interval of the positions follows, whose ends may be inf.

    Args:
        positions_K: positive, increasing.
        losses_KRT: losses of the arm that is to reach the level.
        target_RT: losses of the other arm, on the same replicates and tasks.
        rng: the only source of randomness.
        resamples: number of bootstrap samples.
        level: coverage.

    Returns:
        The position; without an interval for one replicate or one task.
    """
    means_K, target = losses_KRT.mean(axis=(1, 2)), float(target_RT.mean())
    estimate = float(first_reaching(positions_K, means_K[None], [target])[0])
    replicates, tasks = target_RT.shape
    if np.isnan(estimate) or min(replicates, tasks) < 2:
        return Reach(estimate, float("nan"), float("nan"))
    counts = resample_counts(rng, replicates, tasks, resamples)
    wider = np.sqrt(replicates / (replicates - 1))
    curves_BK = means_K + wider * (np.stack([resampled(values_RT, *counts, "mean") for values_RT in losses_KRT], axis=1) - means_K)
    targets_B = target + wider * (resampled(target_RT, *counts, "mean") - target)
    # No interpolation between order statistics: one of them may be inf.
    ends = np.quantile(first_reaching(positions_K, curves_BK, targets_B), [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Reach(estimate, float(ends[0]), float(ends[1]))
