"""One row per group of meta-test measurements: estimate, interval, and how much stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.errors import MetricError, did_you_mean
from bench.stats.aggregate import LEVEL, Estimate, iqm, these_tasks_interval, two_way_interval
from bench.stats.crossed import cross, require
from bench.stats.direction import Outputs
from bench.stats.impute import MEASUREMENT, with_caps

POOLED = "pooled"
"""The task_id of a value over all tasks at once."""
NOT_PLANNED = ("skipped",)
"""A skipped cell does not fit together: it was never planned to run."""


def summarise(
    frame: pd.DataFrame,
    *,
    by: Sequence[str],
    metric: str,
    adaptation_step: int | None = None,
    outputs: Outputs | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Summary of the meta-test values of ``metric`` after ``adaptation_step`` steps, one row per group.

    Trials that owe values get their caps first (:func:`bench.stats.with_caps`), unless the frame has a column ``imputed`` already.
    Groups that hold several cells, such as two GAN losses, average them within each replicate and task.

    Args:
        frame: rows as ``bench.load_results`` gives them, all arms together.
        by: columns that form the groups.
        metric: name of a metric.
        adaptation_step: number of adaptation steps; default: the last one that a task distribution was measured at, or every one
            where ``by`` names adaptation_step.
        outputs: how each metric reads; a name that is not in it is better lower.
        level: coverage of the intervals.

    Returns:
        Columns ``by``, estimate (mean), low, high (two-way; over replicates alone for a pooled metric), df, iqm, n_tasks,
        n_replicates, n_ok, n_planned, n_imputed (trials with a capped value among these) and reason, in order of appearance.

    Raises:
        MetricError: a column is missing, or no row has ``metric``.
    """
    require(frame, (*by, "trial_id", "status", "replicate"), what="summarise")
    capped = frame if "imputed" in frame.columns else with_caps(frame, outputs=outputs)
    known = set(capped.loc[capped["split"] == "meta-test", "metric"].dropna())
    if metric not in known:
        raise MetricError(
            f"no meta-test row has the metric {metric!r}.{did_you_mean(metric, known)} Measured: {', '.join(sorted(known)) or 'none'}"
        )
    of_metric = capped[(capped["split"] == "meta-test") & (capped["metric"] == metric)]
    chosen = of_metric if adaptation_step is None and "adaptation_step" in by else of_metric[_at(of_metric, adaptation_step)]
    planned = capped[~capped["status"].isin(NOT_PLANNED)].drop_duplicates("trial_id")
    # Trials are counted by their own columns: one without measurements has no adaptation step, and is planned all the same.
    of_trial = [column for column in by if column not in MEASUREMENT]
    trials_by_group: dict[Any, pd.DataFrame] = {(): planned}
    if of_trial:
        trials_by_group = dict(iter(planned.groupby(of_trial, sort=False, dropna=False)))
    rows_by_group = dict(iter(chosen.groupby(list(by), sort=False, dropna=False)))
    names = trials_by_group if len(of_trial) == len(by) else rows_by_group
    empty = chosen.iloc[:0]
    summaries = []
    for name in names:
        labels = dict(zip(by, name, strict=True))
        trials = trials_by_group[tuple(labels[column] for column in of_trial)]
        summaries.append({**labels, **_row(trials, rows_by_group.get(name, empty), level=level)})
    return pd.DataFrame(summaries, columns=[*by, *_COLUMNS])


_COLUMNS = ("estimate", "low", "high", "df", "iqm", "n_tasks", "n_replicates", "n_ok", "n_planned", "n_imputed", "reason")


def _at(rows: pd.DataFrame, adaptation_step: int | None) -> pd.Series:
    step = rows.groupby("task_distribution")["adaptation_step"].transform("max") if adaptation_step is None else adaptation_step
    return (rows["adaptation_step"] == step).fillna(False).astype(bool)


def _row(trials: pd.DataFrame, rows: pd.DataFrame, *, level: float) -> dict[str, Any]:
    estimate = _estimate(rows, level=level)
    return {
        "estimate": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high,
        "df": estimate.df,
        "iqm": iqm(cross(rows).values_RT),
        "n_tasks": estimate.n_tasks,
        "n_replicates": estimate.n_replicates,
        "n_ok": int((trials["status"] == "ok").sum()),
        "n_planned": len(trials),
        "n_imputed": int(rows.loc[rows["imputed"], "trial_id"].nunique()),
        "reason": "no measurement" if rows.empty else estimate.reason,
    }


def _estimate(rows: pd.DataFrame, *, level: float) -> Estimate:
    # A pooled value has no task axis: its interval covers new replicates on these tasks only.
    pooled = not rows.empty and bool((rows["task_id"] == POOLED).all())
    return these_tasks_interval(rows, level=level) if pooled else two_way_interval(rows, level=level)
