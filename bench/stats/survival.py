"""When something happens in a run, where it need not happen before the budget ends: reached a target, collapsed.

Budgets are equal, so every run in which it never happened is censored at the full budget, also one that diverged: to censor that one
where it diverged would call it like those that went on, which it is not.
Shape suffixes: N runs, K positions, R replicates, T tasks, E distinct event times.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bench.errors import MetricError
from bench.stats.compare import EqualMeansTest
from bench.stats.crossed import Array, common_tasks, cross


def survival(times_N: npt.ArrayLike, budget: float, at_K: npt.ArrayLike) -> Array:
    """Kaplan-Meier estimate: share of runs in which it has not happened by each position (that one included), (K,).

    Args:
        times_N: when it happened; inf, or beyond ``budget``, where it did not: censored at the budget.
        budget: last position that every run has reached.
        at_K: positions.

    Raises:
        MetricError: there is no run, or a time is NaN.

    Source: Kaplan & Meier, 1958, https://doi.org/10.1080/01621459.1958.10501452.
    """
    times = np.asarray(times_N, dtype=np.float64)
    if times.size == 0 or np.isnan(times).any():
        raise MetricError(f"survival needs runs whose times are numbers or inf (never), got {times.size} runs, {np.isnan(times).sum()} NaN")
    runs = stats.CensoredData.right_censored(np.minimum(times, budget), times > budget)
    return np.asarray(stats.ecdf(runs).sf.evaluate(np.asarray(at_K, dtype=np.float64)), dtype=np.float64)


def log_rank_test(frame_a: pd.DataFrame, frame_b: pd.DataFrame, *, budget: float) -> EqualMeansTest:
    """Log-rank test of two arms, stratified by task: observed minus expected events and their variances, summed over tasks.

    Tasks share the trained models, so the test is conditional on these, as those of :mod:`bench.stats.conditional`.

    Args:
        frame_a: rows of one arm: replicate, task_id, value: when it happened, inf where it did not.
        frame_b: the same of the other arm.
        budget: last position that every run has reached; later times are censored there.

    Returns:
        Statistic z (positive where A's events come earlier or more often than expected) and two-sided p; NaN, with the reason, where no
        task has an event that could have been the other arm's.

    Raises:
        MetricError: a column is missing, or a time is NaN.

    Source: Mantel, 1966, Cancer Chemotherapy Reports 50; strata: Kalbfleisch & Prentice, 2002, section 1.4.
    """
    a_RT, b_RT, tasks = common_tasks(cross(frame_a), cross(frame_b))
    if np.isnan(a_RT).any() or np.isnan(b_RT).any():
        raise MetricError("a log-rank test needs times that are numbers or inf (never), got NaN")
    nan = float("nan")
    if not tasks or not min(len(a_RT), len(b_RT)):
        return EqualMeansTest(nan, nan, reason="no common task")
    together = np.concatenate([a_RT, b_RT])
    times_E = np.unique(together[together <= budget])

    def at_risk(times_RT: Array) -> Array:
        return np.asarray((times_RT[..., None] >= times_E).sum(axis=0), dtype=np.float64)

    def events(times_RT: Array) -> Array:
        return np.asarray((times_RT[..., None] == times_E).sum(axis=0), dtype=np.float64)

    risk_TE, risk_a_TE, events_TE = at_risk(together), at_risk(a_RT), events(together)
    share_TE = np.divide(risk_a_TE, risk_TE, out=np.zeros_like(risk_TE), where=risk_TE > 0)
    excess = float((events(a_RT) - events_TE * share_TE).sum())
    # Hypergeometric variance of each table; the last run at risk adds none.
    spread_TE = np.divide(risk_TE - events_TE, risk_TE - 1, out=np.zeros_like(risk_TE), where=risk_TE > 1)
    variance = float((events_TE * share_TE * (1 - share_TE) * spread_TE).sum())
    if variance <= 0:
        return EqualMeansTest(nan, nan, reason="no event to compare")
    z = excess / float(np.sqrt(variance))
    return EqualMeansTest(z, float(2 * stats.norm.sf(abs(z))))
