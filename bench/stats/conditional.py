"""Tests over tasks: statements about these trained models, never about the learners that trained them.

Replicates are averaged and tasks taken for independent repetitions. All tasks are seen by the same few trained models, so a null
hypothesis about learners is rejected 31 to 68 % of the time at a nominal 5 %, the more tasks the worse: these tests answer only whether
the very models at hand differ on new tasks.
Shape suffixes: A arms, T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.errors import MetricError
from bench.stats.aggregate import LEVEL
from bench.stats.compare import EqualMeansTest
from bench.stats.crossed import Array, Crossed, common_tasks, cross
from bench.stats.direction import Better, as_loss


@dataclass(frozen=True)
class RankComparison:
    """Friedman's test of several arms on the same tasks, and Nemenyi's critical difference of their mean ranks.

    Attributes:
        mean_ranks: by arm, 1 is best.
        statistic, p: Friedman's chi-square and its p-value; NaN where undefined.
        critical_difference: mean ranks closer than this are not told apart at ``level``.
        reason: why something is missing, '' otherwise.
    """

    mean_ranks: Mapping[str, float]
    statistic: float
    p: float
    critical_difference: float
    n_tasks: int
    reason: str = ""

    def nemenyi_p(self, arm_a: str, arm_b: str) -> float:
        """Nemenyi's p-value of two arms, adjusted for all pairs."""
        arms = len(self.mean_ranks)
        gap = abs(self.mean_ranks[arm_a] - self.mean_ranks[arm_b])
        error = np.sqrt(arms * (arms + 1) / (6 * self.n_tasks))
        return float(stats.studentized_range.sf(gap / error * np.sqrt(2), arms, np.inf))


def signed_rank_test(frame_a: pd.DataFrame, frame_b: pd.DataFrame, *, better: Better = "lower", ideal: float = 0.0) -> EqualMeansTest:
    """Wilcoxon's signed-rank test over common tasks of the losses' means over replicates; conditional on the trained models.

    Args:
        frame_a: rows of one arm: replicate, task_id, value.
        frame_b: the same of the other arm.
        better: which values are better; matters where it is ``closer`` only.
        ideal: the value that a metric of ``better="closer"`` should have.

    Returns:
        The smaller sum of ranks and its two-sided p; p = 1 where no task differs.

    Raises:
        MetricError: a column is missing.

    Source: Wilcoxon, 1945, https://doi.org/10.2307/3001968.
    """
    nan = float("nan")
    a, b = cross(frame_a), cross(frame_b)
    a_RT, b_RT, tasks = common_tasks(a, b)
    if problem := a.problem() or b.problem() or ("" if tasks else "no common task"):
        return EqualMeansTest(nan, nan, reason=problem)
    losses = [as_loss(values, better=better, ideal=ideal).mean(axis=0) for values in (a_RT, b_RT)]
    difference_T = losses[0] - losses[1]
    if not difference_T.any():
        return EqualMeansTest(0.0, 1.0, reason="no task differs")
    found = stats.wilcoxon(difference_T)
    return EqualMeansTest(float(found.statistic), float(found.pvalue))


def compare_ranks(
    frames: Mapping[str, pd.DataFrame], *, better: Better = "lower", ideal: float = 0.0, level: float = LEVEL
) -> RankComparison:
    """Rank the arms on every task (means over replicates, ties share their mean rank) and test whether their ranks differ.

    Args:
        frames: rows (replicate, task_id, value) by arm.
        better: which values are better.
        ideal: the value that a metric of ``better="closer"`` should have.
        level: 1 minus the error of the critical difference.

    Returns:
        Ranks over the tasks that all arms have; without a test, and with the reason, for fewer than 3 arms or 2 tasks, where all ranks
        are tied, or values are undefined.

    Raises:
        MetricError: a column is missing, or there is no arm.

    Source: Demsar, 2006, https://jmlr.org/papers/v7/demsar06a.html.
    """
    if not frames:
        raise MetricError("ranks need at least one arm, got none")
    crossed = {arm: cross(frame) for arm, frame in frames.items()}
    tasks = [task for task in next(iter(crossed.values())).tasks if all(task in one.tasks for one in crossed.values())]
    problem = next((f"{arm}: {one.problem()}" for arm, one in crossed.items() if one.problem()), "" if tasks else "no common task")
    nan = float("nan")
    if problem:
        return RankComparison(dict.fromkeys(frames, nan), nan, nan, nan, len(tasks), problem)
    losses_AT = np.stack([_task_losses(one, tasks, better, ideal) for one in crossed.values()])
    ranks = dict(zip(frames, stats.rankdata(losses_AT, axis=0).mean(axis=1).tolist(), strict=True))
    if len(frames) < 3 or len(tasks) < 2:
        few = f"{len(frames)} arms" if len(frames) < 3 else "1 task"
        return RankComparison(ranks, nan, nan, nan, len(tasks), f"{few}: Friedman's test needs 3 arms and 2 tasks")
    if (losses_AT == losses_AT[0]).all():
        return RankComparison(ranks, 0.0, 1.0, critical_difference(len(frames), len(tasks), level=level), len(tasks), "all arms are tied")
    found = stats.friedmanchisquare(*losses_AT)
    return RankComparison(
        ranks, float(found.statistic), float(found.pvalue), critical_difference(len(frames), len(tasks), level=level), len(tasks)
    )


def critical_difference(arms: int, tasks: int, *, level: float = LEVEL) -> float:
    """Nemenyi's critical difference of mean ranks, q sqrt(k (k + 1) / (6 N)) with q from the studentised range over sqrt(2).

    Raises:
        MetricError: fewer than 2 arms, or no task.

    Source: Demsar, 2006, https://jmlr.org/papers/v7/demsar06a.html, eq. (2.6) and table 5.
    """
    if arms < 2 or tasks < 1:
        raise MetricError(f"a critical difference needs at least 2 arms and 1 task, got {arms} and {tasks}")
    q = float(stats.studentized_range.ppf(level, arms, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(arms * (arms + 1) / (6 * tasks)))


def _task_losses(crossed: Crossed, tasks: list[object], better: Better, ideal: float) -> Array:
    return np.asarray(as_loss(crossed.of_tasks(tasks), better=better, ideal=ideal).mean(axis=0), dtype=np.float64)
