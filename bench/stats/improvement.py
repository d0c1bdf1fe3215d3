"""How likely one arm beats another on a task, and how large a share of runs gets how far: shares over replicates and tasks with intervals.

Both are means of indicators over resampled replicates and tasks, so the pigeonhole bootstrap needs matrix products only.
Shape suffixes: B resamples, A and R replicates of each arm, T tasks, K thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.stats.aggregate import LEVEL, Estimate, performance_profile
from bench.stats.bootstrap import resample_counts
from bench.stats.crossed import Array, common_tasks, cross
from bench.stats.direction import Better, as_loss

RESAMPLES = 2_000


@dataclass(frozen=True)
class ProfileBand:
    """Share of runs above each threshold, (K,), and the ends of its pointwise interval; NaN where there is none."""

    share: Array
    low: Array
    high: Array


def improvement_interval(
    frame_a: pd.DataFrame,
    frame_b: pd.DataFrame,
    rng: np.random.Generator,
    *,
    better: Better = "lower",
    ideal: float = 0.0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Estimate:
    """P(a replicate of A beats one of B on a task), ties counted half, with an interval for new replicates and new tasks.

    Replicates that both arms share (same initialisation and task order) are resampled together. As in
    :func:`bench.stats.pigeonhole_interval` the ends are moved away from the estimate by sqrt(R / (R - 1)), then back into [0, 1].

    Args:
        frame_a: rows of one arm: replicate, task_id, value.
        frame_b: the same of the other arm.
        rng: the only source of randomness.
        better: which values are better.
        ideal: the value that a metric of ``better="closer"`` should have.
        resamples: number of bootstrap samples.
        level: coverage.

    Returns:
        The probability; without an interval, and with the reason, for one replicate, one task or undefined values.

    Raises:
        MetricError: a column is missing.

    Source: Agarwal et al., 2021, https://arxiv.org/abs/2108.13264; Owen, 2007, https://doi.org/10.1214/07-AOAS122.
    """
    a, b = cross(frame_a), cross(frame_b)
    a_AT, b_RT, tasks = common_tasks(a, b)
    replicates = min(len(a_AT), len(b_RT))
    nan = float("nan")
    if problem := a.problem() or b.problem() or ("" if tasks else "no common task"):
        return Estimate(nan, nan, nan, nan, len(tasks), replicates, problem)
    loss_AT, loss_RT = (as_loss(values, better=better, ideal=ideal) for values in (a_AT, b_RT))
    wins_ART = (loss_AT[:, None] < loss_RT[None]) + 0.5 * (loss_AT[:, None] == loss_RT[None])
    estimate = float(wins_ART.mean())
    if min(replicates, len(tasks)) < 2:
        few = "1 replicate" if replicates < 2 else "1 task"
        return Estimate(estimate, nan, nan, nan, len(tasks), replicates, f"{few}: no interval for new replicates and tasks")
    rows_BA, columns_BT = resample_counts(rng, len(a_AT), len(tasks), resamples)
    rows_BR = rows_BA if a.replicates == b.replicates else resample_counts(rng, len(b_RT), 1, resamples)[0]
    wins_B = _drawn_sum(wins_ART.reshape(len(a_AT), -1), rows_BA)
    drawn_B = np.einsum("brt,br,bt->b", wins_B.reshape(resamples, len(b_RT), -1), rows_BR, columns_BT) / wins_ART.size
    low, high = np.clip(_ends(estimate, drawn_B, replicates, level), 0, 1).tolist()
    return Estimate(estimate, low, high, nan, len(tasks), replicates, "; ".join(note for note in (a.note(), b.note()) if note))


def profile_band(
    frame: pd.DataFrame, thresholds_K: npt.ArrayLike, rng: np.random.Generator, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> ProfileBand:
    """Performance profile: share of (replicate, task) runs above each threshold, with a pointwise interval as above.

    Args:
        frame: rows of one arm: replicate, task_id, value (higher is better).
        thresholds_K: values to exceed.
        rng: the only source of randomness.
        resamples: number of bootstrap samples.
        level: coverage.

    Returns:
        Shares; NaN throughout for undefined values, and without an interval for one replicate or one task.

    Raises:
        MetricError: a column is missing.

    Source: Agarwal et al., 2021, https://arxiv.org/abs/2108.13264.
    """
    thresholds = np.asarray(thresholds_K, dtype=np.float64)
    crossed = cross(frame)
    values_RT = crossed.values_RT
    replicates, tasks = values_RT.shape
    nothing = np.full(thresholds.size, np.nan)
    if crossed.problem():
        return ProfileBand(nothing, nothing, nothing)
    share_K = performance_profile(values_RT, thresholds)
    if min(replicates, tasks) < 2:
        return ProfileBand(share_K, nothing, nothing)
    rows_BR, columns_BT = resample_counts(rng, replicates, tasks, resamples)
    above_RTK = values_RT[:, :, None] > thresholds
    # The longer axis first: what is left to sum is smaller.
    if replicates > tasks:
        by_task_BTK = _drawn_sum(above_RTK.reshape(replicates, -1), rows_BR).reshape(resamples, tasks, -1)
        drawn_BK = np.einsum("bt,btk->bk", columns_BT, by_task_BTK) / values_RT.size
    else:
        by_replicate_BRK = _drawn_sum(above_RTK.swapaxes(0, 1).reshape(tasks, -1), columns_BT).reshape(resamples, replicates, -1)
        drawn_BK = np.einsum("br,brk->bk", rows_BR, by_replicate_BRK) / values_RT.size
    low_K, high_K = np.clip(_ends(share_K, drawn_BK, replicates, level), 0, 1)
    return ProfileBand(share_K, low_K, high_K)


def _drawn_sum(indicators_XN: npt.NDArray[Any], counts_BX: Array) -> npt.NDArray[np.float32]:
    """Sum over the first axis of what each resample drew, (B, N): whole or half numbers up to X, so single precision is exact."""
    return counts_BX.astype(np.float32) @ indicators_XN.astype(np.float32)


def _ends(estimate: float | Array, drawn_B: Array, replicates: int, level: float) -> Array:
    """Percentiles over the resamples (first axis), moved away from the estimate: R resampled replicates understate their variance."""
    ends = np.quantile(drawn_B, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(estimate + (ends - estimate) * np.sqrt(replicates / (replicates - 1)), dtype=np.float64)
