"""Numbers of a report: per arm, metric and adaptation step, with two-way intervals and every planned cell counted.

Trials that ended without a value hold their cap (:func:`bench.stats.with_caps`), so no arm gains by losing its worst trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.errors import MetricError
from bench.measure import area_under_curve, collapse_onset, drawdown, steps_to_target
from bench.report.study import ENDED, Slice, Study
from bench.stats import Scale, as_loss, score_scale, these_tasks_interval, two_way_difference, two_way_interval

POOLED = "pooled"
_NAN = float("nan")
_COLUMNS = ["replicate", "task_id", "value"]
_ROW = ["adaptation_step", *_COLUMNS, "ceiling", "imputed", "trial_id"]


@dataclass(frozen=True)
class Estimate:
    """A mean over replicates and tasks with its 95 % interval; NaN where undefined.

    Attributes:
        n_imputed: trials among them with a capped value.
        reason: why something is missing; '' otherwise.
    """

    value: float
    low: float = _NAN
    high: float = _NAN
    n_tasks: int = 0
    n_replicates: int = 0
    n_imputed: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Contrast:
    """Arm A minus arm B, in the metric's units (of the distance to the ideal value, for a metric that should be close to one).

    Attributes:
        verdict: 1 where the interval says that A is better, -1 where it says that B is, 0 where it includes 0 or is missing.
    """

    value: float
    low: float
    high: float
    n_tasks: int
    n_replicates: int
    verdict: int
    reason: str

    @property
    def has_interval(self) -> bool:
        """Whether the replicates and tasks suffice for an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass
class Estimates:
    """Estimates of a study, each computed once."""

    study: Study
    _rows: dict[Slice, dict[tuple[str, str], pd.DataFrame]] = field(default_factory=dict)
    _at: dict[tuple[Slice, str, str, int], Estimate] = field(default_factory=dict)
    _scales: dict[Slice, Scale | str] = field(default_factory=dict)
    _measured: dict[tuple[Slice, str], tuple[list[int], list[str]]] = field(default_factory=dict)
    _by_curve: dict[tuple[Slice, str, str], tuple[list[int], pd.DataFrame]] = field(default_factory=dict)
    _by_run: dict[tuple[Slice, str, str], tuple[list[int], pd.DataFrame]] = field(default_factory=dict)
    _reached: dict[tuple[Slice, str, str, str], pd.DataFrame] = field(default_factory=dict)

    def at(self, slice_: Slice, arm: str, metric: str, step: int) -> Estimate:
        """Mean of an arm at one adaptation step; its interval ends where the metric's values do."""
        key = (slice_, arm, metric, step)
        if key not in self._at:
            self._at[key] = self._within_limits(estimate(self.rows(slice_, arm, metric, step)), metric)
        return self._at[key]

    def contrast(self, slice_: Slice, arms: tuple[str, str], metric: str, step: int) -> Contrast:
        """First arm minus second arm at one adaptation step."""
        first, second = (self.rows(slice_, arm, metric, step) for arm in arms)
        better = self.study.better(metric)
        if better == "closer":
            first, second = (
                rows.assign(value=as_loss(rows["value"], better=better, ideal=self.study.ideal(metric))) for rows in (first, second)
            )
        if first.empty or second.empty:
            missing = " and ".join(repr(arm) for arm, rows in zip(arms, (first, second), strict=True) if rows.empty)
            return Contrast(_NAN, _NAN, _NAN, 0, 0, 0, f"no measurement of {missing}")
        found = two_way_difference(first, second)
        sign = 1 if found.low > 0 else -1 if found.high < 0 else 0
        return Contrast(
            found.estimate, found.low, found.high, found.n_tasks, min(found.n_replicates_a, found.n_replicates_b),
            sign if better == "higher" else -sign, found.reason,
        )  # fmt: skip

    def area(self, slice_: Slice, arm: str, metric: str) -> Estimate:
        """Area under the adaptation curve of each replicate and task over log(1 + step), then its mean."""
        steps, curves = self._curves(slice_, arm, metric)
        if not steps:
            return Estimate(_NAN)
        return self._over(slice_, arm, metric, curves.index, area_under_curve(steps, curves.to_numpy(dtype=np.float64)))

    def steps_to_target(self, slice_: Slice, arm: str, baseline: str, metric: str) -> pd.DataFrame:
        """Steps to what ``baseline`` reaches at its last step, task by task: replicate, task_id, value, inf where not reached.

        Every run of a cell that ended has a row. One that has no numbers of its own has not reached the target, wherever its cap lies.
        """
        key = (slice_, arm, baseline, metric)
        if key not in self._reached:
            self._reached[key] = self._steps_to_target(*key)
        return self._reached[key]

    def _steps_to_target(self, slice_: Slice, arm: str, baseline: str, metric: str) -> pd.DataFrame:
        steps, curves = self._runs(slice_, arm, metric)
        base_steps, base = self._curves(slice_, baseline, metric)
        if not steps or not base_steps:
            return pd.DataFrame(columns=_COLUMNS)
        final = self._loss(base[base_steps[-1]], metric)
        target = pd.Series(final, index=base.index).groupby(level="task_id").mean()
        targets = target.reindex(curves.index.get_level_values("task_id")).to_numpy(dtype=np.float64)
        return _tidy(curves.index, steps_to_target(steps, self._loss(curves, metric), targets))

    def collapse_onset(self, slice_: Slice, arm: str, metric: str, threshold: float) -> pd.DataFrame:
        """Adaptation step from which ``metric`` stays below ``threshold``: replicate, task_id, value, inf where it does not.

        A run without numbers counts as a constant generator does everywhere in a report: collapsed from the first step.
        """
        steps, curves = self._runs(slice_, arm, metric)
        return _tidy(curves.index, collapse_onset(steps, curves, threshold)) if steps else pd.DataFrame(columns=_COLUMNS)

    def drawdown(self, slice_: Slice, arm: str, metric: str) -> pd.DataFrame:
        """Largest rise of the loss above its best so far: replicate, task_id, value, inf for a run without numbers."""
        steps, curves = self._runs(slice_, arm, metric)
        if not steps:
            return pd.DataFrame(columns=_COLUMNS)
        rises = drawdown(self._loss(curves, metric))
        return _tidy(curves.index, np.where(np.isnan(rises), np.inf, rises))

    def scale(self, slice_: Slice) -> Scale | str:
        """How values of the primary metric become scores on a slice, or why they cannot."""
        if slice_ not in self._scales:
            metric = str(self.study.primary["metric"])
            every = self._every_arm(slice_, metric)
            rows = pd.concat(every) if every else self.study.test.iloc[:0]
            try:
                self._scales[slice_] = score_scale(rows, better=self.study.better(metric), ideal=self.study.ideal(metric))
            except MetricError as error:
                self._scales[slice_] = str(error)
        return self._scales[slice_]

    def scores(self, slice_: Slice, arm: str) -> pd.DataFrame:
        """Scores of an arm at the primary step (columns of :meth:`rows`); empty where the slice has no scale."""
        scale = self.scale(slice_)
        rows = self.rows(slice_, arm, str(self.study.primary["metric"]), int(self.study.primary["adaptation_step"]))
        return rows.iloc[:0] if isinstance(scale, str) else scale.scores(rows)

    def losses(self, slice_: Slice, arm: str, metric: str, step: int) -> pd.DataFrame:
        """Rows of an arm at one adaptation step, turned so that lower is better."""
        rows = self.rows(slice_, arm, metric, step)
        return rows.assign(value=self._loss(rows["value"], metric))

    def rows(self, slice_: Slice, arm: str, metric: str, step: int | None = None) -> pd.DataFrame:
        """Measurements of an arm (capped ones included): adaptation_step, replicate, task_id, value, ceiling, imputed, trial_id."""
        rows = self._by_arm(slice_).get((arm, metric))
        if rows is None:
            return self.study.test.iloc[:0]
        return rows if step is None else rows[rows["adaptation_step"] == step]

    def ceiling(self, slice_: Slice, metric: str) -> float:
        """Mean over tasks of what a constant generator scores; NaN where undefined."""
        known = [rows[rows["ceiling"].notna()].drop_duplicates("task_id") for rows in self._every_arm(slice_, metric)]
        first = pd.concat(known).sort_index().drop_duplicates("task_id") if known else pd.DataFrame()
        return float(first["ceiling"].astype(float).mean()) if len(first) else _NAN

    def _by_arm(self, slice_: Slice) -> dict[tuple[str, str], pd.DataFrame]:
        """Rows of a slice by arm and metric, each in the order of the plan."""
        if slice_ not in self._rows:
            rows = self.study.test_of(slice_)
            rows = rows[["arm", "metric", *_ROW]].assign(task_id=rows["task_id"].astype(str))
            groups = rows.groupby(["arm", "metric"], observed=True)
            self._rows[slice_] = {(str(arm), str(metric)): group[_ROW] for (arm, metric), group in groups}
        return self._rows[slice_]

    def _curves(self, slice_: Slice, arm: str, metric: str) -> tuple[list[int], pd.DataFrame]:
        """Steps (K,) and a frame of values by (replicate, task) and step; NaN where a trial owes a value without a cap."""
        key = (slice_, arm, metric)
        if key not in self._by_curve:
            rows = self.rows(slice_, arm, metric)
            table = _pivoted(rows) if len(rows) else pd.DataFrame()
            table = table.loc[table.notna().any(axis=1)] if table.notna().to_numpy().any() else table
            self._by_curve[key] = [int(step) for step in table.columns], table
        return self._by_curve[key]

    def _runs(self, slice_: Slice, arm: str, metric: str) -> tuple[list[int], pd.DataFrame]:
        """As :meth:`_curves`, but a row for every run of every cell that ended, and NaN instead of caps."""
        key = (slice_, arm, metric)
        if key not in self._by_run:
            self._by_run[key] = self._pivoted_runs(slice_, arm, metric)
        return self._by_run[key]

    def _pivoted_runs(self, slice_: Slice, arm: str, metric: str) -> tuple[list[int], pd.DataFrame]:
        cells = self.study.cells_of(slice_)
        ended = cells[(cells["arm"] == arm) & cells["status"].isin(ENDED)]
        steps, tasks = self._axes(slice_, metric)
        if ended.empty or not tasks:
            return [], pd.DataFrame()
        own = self.rows(slice_, arm, metric)
        table = _pivoted(own[~own["imputed"].astype(bool)])
        runs = pd.MultiIndex.from_product([sorted(ended["replicate"].unique()), tasks], names=["replicate", "task_id"])
        return steps, table.reindex(index=runs, columns=steps)

    def _axes(self, slice_: Slice, metric: str) -> tuple[list[int], list[str]]:
        """Adaptation steps and tasks of a metric, over all arms."""
        key = (slice_, metric)
        if key not in self._measured:
            every = self._every_arm(slice_, metric)
            steps = {int(step) for rows in every for step in rows["adaptation_step"].dropna().unique()}
            self._measured[key] = sorted(steps), sorted({task for rows in every for task in rows["task_id"].unique()})
        return self._measured[key]

    def _every_arm(self, slice_: Slice, metric: str) -> list[pd.DataFrame]:
        """Rows of each arm that has some."""
        return [rows for arm in self.study.arms_of(slice_) if len(rows := self.rows(slice_, arm.name, metric))]

    def _over(self, slice_: Slice, arm: str, metric: str, index: pd.Index[Any], values: npt.ArrayLike) -> Estimate:
        found = self._within_limits(estimate(_tidy(index, values)), metric)
        rows = self.rows(slice_, arm, metric)
        imputed = int(rows.loc[rows["imputed"], "trial_id"].nunique())
        return Estimate(found.value, found.low, found.high, found.n_tasks, found.n_replicates, imputed, found.reason)

    def _within_limits(self, found: Estimate, metric: str) -> Estimate:
        low, high = (float(np.clip(end, *self.study.limits(metric))) for end in (found.low, found.high))
        return replace(found, low=low, high=high)

    def _loss(self, values: npt.ArrayLike, metric: str) -> npt.NDArray[np.float64]:
        better = self.study.better(metric)
        return as_loss(values, better=better, ideal=self.study.ideal(metric))


def estimate(rows: pd.DataFrame) -> Estimate:
    """Mean over replicates and tasks; a pooled value has no task axis, so its interval is over replicates alone."""
    if rows.empty:
        return Estimate(_NAN, reason="no measurement")
    pooled = bool((rows["task_id"] == POOLED).all())
    found = (these_tasks_interval if pooled else two_way_interval)(rows[_COLUMNS])
    imputed = int(rows.loc[rows["imputed"], "trial_id"].nunique()) if "imputed" in rows else 0
    return Estimate(found.estimate, found.low, found.high, found.n_tasks, found.n_replicates, imputed, found.reason)


def _pivoted(rows: pd.DataFrame) -> pd.DataFrame:
    """Values by (replicate, task) and step, in order."""
    return rows.assign(adaptation_step=rows["adaptation_step"].astype(int)).pivot_table(
        index=["replicate", "task_id"], columns="adaptation_step", values="value", aggfunc="mean", observed=True, dropna=False
    )


def _tidy(index: pd.Index[Any], values: npt.ArrayLike) -> pd.DataFrame:
    return pd.DataFrame({"value": np.asarray(values, dtype=np.float64)}, index=index).reset_index()
