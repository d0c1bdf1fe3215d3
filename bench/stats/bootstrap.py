"""Pigeonhole bootstrap: replicates and tasks are resampled independently, whole rows and columns at a time.

For statistics without a formula, such as the interquartile mean. Randomness comes from the given generator only.
Shape suffixes: B resamples, R replicates, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from bench.errors import MetricError
from bench.stats.aggregate import LEVEL, Estimate, iqm
from bench.stats.crossed import Array, cross

Statistic = Literal["iqm", "mean"] | Callable[[Array], float]
CHUNK = 50_000
"""Numbers held at once: what fits a core's cache goes three times as fast as what does not."""


def pigeonhole_interval(
    frame: pd.DataFrame, rng: np.random.Generator, *, statistic: Statistic = "iqm", resamples: int = 10_000, level: float = LEVEL
) -> Estimate:
    """Percentile interval of a statistic over replicates and tasks, for new replicates and new tasks.

    Its ends are moved away from the estimate by sqrt(R / (R - 1)), because resampling R replicates understates their variance.

    Args:
        frame: rows of one arm: replicate, task_id, value (optionally task_distribution).
        rng: the only source of randomness.
        statistic: "iqm", "mean", or a function of a (replicates, tasks) array.
        resamples: number of bootstrap samples.
        level: coverage.

    Returns:
        The statistic; without an interval, and with the reason, for one replicate, one task or undefined values.

    Raises:
        MetricError: a column is missing, or there are no resamples.

    Source: Owen, 2007, https://doi.org/10.1214/07-AOAS122.
    """
    if resamples < 1:
        raise MetricError(f"a bootstrap needs at least one resample, got {resamples}")
    crossed = cross(frame)
    values_RT = crossed.values_RT
    replicates, tasks = values_RT.shape
    nan = float("nan")
    if problem := crossed.problem():
        return Estimate(nan, nan, nan, nan, tasks, replicates, problem)
    estimate = _evaluate(values_RT, statistic)
    if replicates < 2 or tasks < 2:
        few = "1 replicate" if replicates < 2 else "1 task"
        return Estimate(estimate, nan, nan, nan, tasks, replicates, f"{few}: no interval for new replicates and tasks")
    rows_BR, columns_BT = resample_counts(rng, replicates, tasks, resamples)
    ends = np.quantile(resampled(values_RT, rows_BR, columns_BT, statistic), [(1 - level) / 2, (1 + level) / 2])
    low, high = (estimate + (float(end) - estimate) * float(np.sqrt(replicates / (replicates - 1))) for end in ends)
    return Estimate(estimate, low, high, nan, tasks, replicates, crossed.note())


def resample_counts(rng: np.random.Generator, replicates: int, tasks: int, resamples: int) -> tuple[Array, Array]:
    """How often each replicate (B, R) and each task (B, T) is drawn, with replacement."""
    rows_BR = rng.multinomial(replicates, np.full(replicates, 1 / replicates), size=resamples)
    columns_BT = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=resamples)
    return rows_BR.astype(np.float64), columns_BT.astype(np.float64)


def resampled(values_RT: Array, rows_BR: Array, columns_BT: Array, statistic: Statistic) -> Array:
    """The statistic of each resample, (B,), equal to that of the explicitly repeated rows and columns."""
    if statistic == "mean":
        return np.asarray(np.einsum("br,rt,bt->b", rows_BR, values_RT, columns_BT, optimize=True) / values_RT.size, dtype=np.float64)
    if statistic == "iqm":
        step = max(1, CHUNK // values_RT.size)
        parts = [_iqm_by_counts(values_RT, rows_BR[at : at + step], columns_BT[at : at + step]) for at in range(0, len(rows_BR), step)]
        return np.concatenate(parts)
    return np.array(
        [
            _evaluate(np.repeat(np.repeat(values_RT, row.astype(np.int64), axis=0), column.astype(np.int64), axis=1), statistic)
            for row, column in zip(rows_BR, columns_BT, strict=True)
        ]
    )


def _iqm_by_counts(values_RT: Array, rows_BR: Array, columns_BT: Array) -> Array:
    order = np.argsort(values_RT, axis=None, kind="stable")
    row_of, column_of = np.unravel_index(order, values_RT.shape)
    # Every resample has R T values, so the order statistics that are kept are the same ones: cut to n - cut.
    counts_BN = rows_BR[:, row_of] * columns_BT[:, column_of]
    upto_BN = counts_BN.cumsum(axis=1)
    n, cut = values_RT.size, values_RT.size // 4
    kept_BN = np.clip(upto_BN, cut, n - cut) - np.clip(upto_BN - counts_BN, cut, n - cut)
    return np.asarray(kept_BN @ values_RT.ravel()[order] / (n - 2 * cut), dtype=np.float64)


def _evaluate(values_RT: Array, statistic: Statistic) -> float:
    if statistic == "iqm":
        return iqm(values_RT)
    if statistic == "mean":
        return float(values_RT.mean())
    if not callable(statistic):
        raise MetricError(f"a statistic is 'iqm', 'mean' or a function of a (replicates, tasks) array, got {statistic!r}")
    return float(statistic(values_RT))
