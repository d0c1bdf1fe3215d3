"""Two results folders, arm by arm: what became better, worse, or stayed the same between two versions of something.

The first folder is *before*, the second *after*: another commit, plugin version or machine. Values are paired by replicate and task, since
both folders share tasks, reference samples and noise wherever their protocols agree; where these do not, the comparison is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.errors import UsageError
from bench.report.blocks import Cell, Table
from bench.report.estimates import Estimate, Estimates
from bench.report.study import Slice, Study, compact
from bench.report.text import interval
from bench.stats import as_loss, two_way_difference
from bench.union import first_difference

SAME, BETTER, WORSE, UNDECIDED, MISSING = "same numbers", "better", "worse", "undecided", "no values"
_MUST_AGREE = ("seed", "primary", "protocol")


@dataclass(frozen=True)
class Change:
    """One arm before and after.

    Attributes:
        difference, low, high: after minus before with its two-way interval, in the metric's units (of the distance to the ideal value, for
            a metric that should be close to one); NaN where there is none.
        verdict: one of the module's five words.
        n_ok: cells with numbers, before and after.
        n_planned: cells, before and after.
    """

    slice_: Slice
    arm: str
    metric: str
    step: int
    before: Estimate
    after: Estimate
    difference: float
    low: float
    high: float
    verdict: str
    n_ok: tuple[int, int]
    n_planned: tuple[int, int]

    @property
    def lost(self) -> bool:
        """Fewer of its cells have numbers than before."""
        return self.n_ok[1] < self.n_ok[0]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        changes: of every arm that both folders have; the primary metric first.
        primary: the metric that decides.
        only_before, only_after: ``slice: arm`` that the other folder lacks.
    """

    changes: tuple[Change, ...]
    primary: str
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """Arms that are worse in the primary metric, their interval excluding 0, or that lost cells."""
        return tuple(c for c in self.changes if c.metric == self.primary and (c.verdict == WORSE or c.lost))


def compare(before: Study, after: Study, *, every_metric: bool = False) -> Comparison:
    """Set the arms of two studies side by side.

    Args:
        before: the first folder.
        after: the second.
        every_metric: other metrics beside the primary one, at the same adaptation step; they describe and decide nothing.

    Raises:
        UsageError: the protocols differ, so that the numbers do not compare; or no arm is in both.
    """
    _refuse_different(before, after)
    both = Estimates(before), Estimates(after)
    arms = [{(slice_, arm.name) for slice_ in study.slices for arm in study.arms_of(slice_)} for study in (before, after)]
    shared = [(slice_, arm.name) for slice_ in before.slices for arm in before.arms_of(slice_) if (slice_, arm.name) in arms[1]]
    if not shared:
        raise UsageError("the two results folders have no arm in common; compare runs of the same suite")
    primary, step = str(before.primary["metric"]), int(before.primary["adaptation_step"])
    changes = []
    for slice_, arm in shared:
        measured = set(after.metrics_of(slice_))
        metrics = [m for m in before.metrics_of(slice_) if m in measured and (every_metric or m == primary)] or [primary]
        changes += [_change(both, slice_, arm, metric, step) for metric in metrics]
    changes.sort(key=lambda change: change.metric != primary)
    missing = [sorted(f"{slice_.label}: {arm}" for slice_, arm in mine - other) for mine, other in (arms, arms[::-1])]
    return Comparison(tuple(changes), primary, tuple(missing[0]), tuple(missing[1]))


def _refuse_different(before: Study, after: Study) -> None:
    """Numbers compare where tasks, reference samples, noise and metrics are the same ones."""
    for key in _MUST_AGREE:
        values = [study.suite.get(key) for study in (before, after)]
        if values[0] != values[1]:
            told = [compact(value) for value in first_difference(key, *values)]
            raise UsageError(f"the two folders differ in {told[0]}: {told[1]} and {told[2]}; their numbers do not compare")
    for study in (before, after):
        if study.test.empty:
            raise UsageError("one of the folders has no measurements on meta-test tasks yet; let its run finish")
    definitions = [
        study.test.dropna(subset=["fingerprint"])
        .drop_duplicates(["task_distribution", "metric"])[["task_distribution", "metric", "fingerprint"]]
        .astype(str)  # the categories of two folders do not compare
        .set_index(["task_distribution", "metric"])
        for study in (before, after)
    ]
    joined = pd.merge(definitions[0], definitions[1], left_index=True, right_index=True, suffixes=("_before", "_after"))
    changed = joined[joined["fingerprint_before"] != joined["fingerprint_after"]]
    if len(changed):
        distribution, metric = map(str, changed.index[0])
        raise UsageError(
            f"metric {metric!r} on {distribution!r} is defined differently in the two folders (feature extractor, sample counts, reference "
            f"samples or its own version): fingerprints {changed.iloc[0, 0]!s} and {changed.iloc[0, 1]!s}; their numbers do not compare"
        )


def _change(both: tuple[Estimates, Estimates], slice_: Slice, arm: str, metric: str, step: int) -> Change:
    study = both[0].study
    rows = [estimates.rows(slice_, arm, metric, step) for estimates in both]
    found = [estimates.at(slice_, arm, metric, step) for estimates in both]
    difference = low = high = math.nan
    verdict = MISSING
    if not any(frame.empty for frame in rows):
        closer = study.better(metric) == "closer"
        turned = [
            frame.assign(value=as_loss(frame["value"], better="closer", ideal=study.ideal(metric))) if closer else frame for frame in rows
        ]
        gap = two_way_difference(turned[1], turned[0])
        difference, low, high = gap.estimate, gap.low, gap.high
        sign = 1 if low > 0 else -1 if high < 0 else 0
        verdict = UNDECIDED if sign == 0 else BETTER if (sign > 0) == (study.better(metric) == "higher") else WORSE
        verdict = SAME if _same(*rows) else verdict
    cells = [_counted(estimates.study, slice_, arm) for estimates in both]
    return Change(
        slice_, arm, metric, step, found[0], found[1], difference, low, high, verdict,
        n_ok=(cells[0][0], cells[1][0]), n_planned=(cells[0][1], cells[1][1]),
    )  # fmt: skip


def _same(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    """Whether both have the very same values for the same replicates and tasks."""
    keys = ["replicate", "task_id"]
    values = [frame.sort_values(keys)[[*keys, "value"]].reset_index(drop=True) for frame in (before, after)]
    return len(values[0]) == len(values[1]) and all(
        np.array_equal(values[0][column].to_numpy(), values[1][column].to_numpy(), equal_nan=column == "value")
        for column in (*keys, "value")
    )


def _counted(study: Study, slice_: Slice, arm: str) -> tuple[int, int]:
    cells = study.cells_of(slice_)
    cells = cells[(cells["arm"] == arm) & (cells["status"] != "skipped")]
    return int((cells["status"] == "ok").sum()), len(cells)


def comparison_tables(comparison: Comparison, before: Study) -> list[Table]:
    """One table a metric, the primary one first: every arm before and after."""
    return [_table(before, metric, list(changes)) for metric, changes in _by_metric(comparison)]


def _by_metric(comparison: Comparison) -> Iterator[tuple[str, list[Change]]]:
    for metric in dict.fromkeys(change.metric for change in comparison.changes):
        yield metric, [change for change in comparison.changes if change.metric == metric]


def _table(study: Study, metric: str, changes: list[Change]) -> Table:
    rows, data = [], []
    for change in changes:
        counts = " → ".join(f"{ok}/{planned}" for ok, planned in zip(change.n_ok, change.n_planned, strict=True))
        verdict = f"{change.verdict}; lost cells" if change.lost else change.verdict
        estimates = [interval(e.value, e.low, e.high) for e in (change.before, change.after)]
        rows.append(
            (
                Cell(change.slice_.label, numeric=False), Cell(change.arm, numeric=False), *map(Cell, estimates),
                Cell(interval(change.difference, change.low, change.high)), Cell(verdict, numeric=False), Cell(counts),
            )
        )  # fmt: skip
        data.append(
            {
                "slice": change.slice_.label, "arm": change.arm, "metric": metric, "adaptation_step": change.step,
                "before": change.before.value, "after": change.after.value, "difference": change.difference, "low": change.low,
                "high": change.high, "verdict": change.verdict, "n_ok_before": change.n_ok[0], "n_ok_after": change.n_ok[1],
            }
        )  # fmt: skip
    better = {"lower": "lower is better", "higher": "higher is better", "closer": f"closer to {study.ideal(metric):g} is better"}
    step = changes[0].step
    return Table(
        key=f"changes-{metric}",
        caption=f"{study.label(metric)} at adaptation step {step}, before and after ({better[study.better(metric)]})",
        columns=("task distribution", "arm", "before", "after", "after − before", "verdict", "n_ok/n_planned"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            "Differences are paired by replicate and task, with 95 % two-way intervals; each stands alone, so that among many arms some "
            "exclude 0 by chance.",
        ),
    )
