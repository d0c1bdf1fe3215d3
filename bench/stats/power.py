"""What a planned comparison can decide: the difference that it would detect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from bench.errors import MetricError
from bench.stats.aggregate import LEVEL, Variance, replicate_variance, task_variance, total_variance
from bench.stats.crossed import cross

POWER = 0.8
MOST_REPLICATES = 100


@dataclass(frozen=True)
class Decision:
    """Whether a comparison can decide about an effect.

    Attributes:
        detectable: smallest difference found with the asked power.
        decides: whether the effect is at least that.
        replicates_needed: replicates that would do on the same tasks, or None where no number up to 100 does.
    """

    detectable: float
    decides: bool
    replicates_needed: int | None


def spread_of_difference(frame_a: pd.DataFrame, frame_b: pd.DataFrame) -> tuple[float, float]:
    """Standard deviations (between replicates, between tasks) of the paired difference of two arms, for :func:`can_decide`.

    Raises:
        MetricError: the arms lack a column, differ in replicates or tasks, or have fewer than two of either.
    """
    a, b = cross(frame_a), cross(frame_b)
    if a.replicates != b.replicates or a.tasks != b.tasks or min(a.values_RT.shape, default=0) < 2:
        raise MetricError(
            f"a paired spread needs 2 or more equal replicates and tasks, got (replicates, tasks) {a.values_RT.shape}, {b.values_RT.shape}"
        )
    replicates, tasks = a.values_RT.shape
    difference_RT = a.values_RT - b.values_RT
    return float(np.sqrt(replicate_variance(difference_RT).value * replicates)), float(np.sqrt(task_variance(difference_RT).value * tasks))


def detectable_difference(
    *, sd_replicate: float, sd_task: float, n_replicates: int, n_tasks: int, power: float = POWER, level: float = LEVEL
) -> float:
    """Smallest true difference that a two-way interval excludes from 0 with probability ``power``.

    Args:
        sd_replicate: standard deviation between replicates of the (paired) difference's mean over tasks.
        sd_task: standard deviation between tasks of the difference's mean over replicates.
        n_replicates: replicates an arm.
        n_tasks: meta-test tasks.
        power: probability of detection.
        level: coverage of the interval.

    Returns:
        c sqrt(v), with v and the degrees of freedom as in the interval, and c the noncentrality at which a t variable exceeds the
        interval's quantile with probability ``power``; inf below 2 replicates or tasks.

    Raises:
        MetricError: a standard deviation is negative, or ``power`` or ``level`` is not between 0 and 1.
    """
    if sd_replicate < 0 or sd_task < 0 or not 0 < power < 1 or not 0 < level < 1:
        raise MetricError(
            f"detectable difference needs sd >= 0 and 0 < power, level < 1, got sd {sd_replicate}, {sd_task}, power {power}, level {level}"
        )
    if n_replicates < 2 or n_tasks < 2:
        return float("inf")
    parts = [Variance(sd_replicate**2 / n_replicates, n_replicates - 1), Variance(sd_task**2 / n_tasks, n_tasks - 1)]
    total, df = total_variance(parts)
    # The sum of two central quantiles would promise too much: at 3 replicates 0.8 for what is found in 0.76 of cases.
    return float(special.nctdtrinc(df, 1 - power, stats.t.ppf((1 + level) / 2, df)) * np.sqrt(total))


def can_decide(
    effect: float,
    *,
    sd_replicate: float,
    sd_task: float,
    n_replicates: int,
    n_tasks: int,
    power: float = POWER,
    level: float = LEVEL,
) -> Decision:
    """Whether a comparison of this size can find a difference of ``effect``, and how many replicates would.

    Args:
        effect: the difference that matters; its sign does not.
        sd_replicate: as in :func:`detectable_difference`, like all that follow.
        sd_task: between tasks.
        n_replicates: replicates an arm.
        n_tasks: meta-test tasks.
        power: probability of detection.
        level: coverage of the interval.

    Raises:
        MetricError: as in :func:`detectable_difference`.
    """

    def detectable(replicates: int) -> float:
        return detectable_difference(
            sd_replicate=sd_replicate, sd_task=sd_task, n_replicates=replicates, n_tasks=n_tasks, power=power, level=level
        )

    needed = next((replicates for replicates in range(2, MOST_REPLICATES + 1) if detectable(replicates) <= abs(effect)), None)
    now = detectable(n_replicates)
    return Decision(now, now <= abs(effect), needed)
