"""Every arm against the baseline that the suite declared: on one scale, with intervals, and beside its own control.

The unit of replication is the meta-trained replicate. What treats tasks as repetitions is in :mod:`bench.report.conditional`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bench import seeds
from bench.report.blocks import Block, Cell, Gallery, Paragraph, Table
from bench.report.estimates import Contrast, Estimate, Estimates, estimate
from bench.report.heatmap import heat_map
from bench.report.intervals import Row, interval_plot
from bench.report.scatter import paired_tasks
from bench.report.shares import profile_curves
from bench.report.study import Slice, Study
from bench.report.style import Look
from bench.report.text import interval, number, slug
from bench.stats import (
    holm,
    improvement_interval,
    permutation_test,
    pigeonhole_interval,
    replication_warning,
    two_way_difference,
    welch_test,
)

RESAMPLES = 2_000  # of a bootstrap, and regroupings sampled by a permutation test that is too large to be exact
INTRODUCTION = (
    "Score: how much of the way from what knows nothing of the task (0) to the ideal value (1) an arm has gone at the primary step, on the "
    "primary metric; the denominator is the same for all tasks. Points are estimates, bars 95 % intervals for new replicates and new "
    "tasks: two-way for mean and optimality gap (how far scores stay below 1, what exceeds it earns nothing), pigeonhole bootstrap for the "
    "interquartile mean (IQM) and for the probability that an arm beats the baseline on a task (ties counted half; on the line at 0.5 "
    "neither is better). Hollow: controls."
)

READING = (
    "Folded below: the performance profile, the share of runs (replicate and task) above each score, where the curve further up and to the "
    "right is better; the first arm of the primary comparison against the second, a dot per task, equal on the diagonal; scores task by "
    "task, with a dot per replicate: dots that lie apart tell of a learner that depends on its initialisation."
)


@dataclass(frozen=True)
class Standing:
    """An arm's scores at the primary step."""

    iqm: Estimate
    mean: Estimate
    gap: Estimate


@dataclass(frozen=True)
class Versus:
    """An arm against the baseline on the primary metric.

    Attributes:
        contrast: arm minus baseline.
        control: arm minus its own shuffled-tasks control, None where there is none.
        better: P(the arm beats the baseline on a task).
        standardised: contrast over the pooled standard deviation of single values, positive where the arm is better.
        welch, permutation: p-values over replicates, adjusted for all arms of the slice.
    """

    contrast: Contrast
    control: Contrast | None
    better: Estimate
    standardised: float
    welch: float
    permutation: float


def comparison_blocks(estimates: Estimates, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Scores, comparisons and their figures, slice by slice; nothing before there are measurements."""
    study = estimates.study
    blocks: list[Block] = []
    for slice_ in study.slices:
        if study.steps_of(slice_, str(study.primary["metric"])):
            blocks += [Paragraph(slice_.label, "heading"), *_of_slice(estimates, slice_, styles)]
    return (Paragraph(INTRODUCTION), Paragraph(READING), *blocks) if blocks else ()


def _of_slice(estimates: Estimates, slice_: Slice, styles: Mapping[str, Look]) -> list[Block]:
    study = estimates.study
    baseline, versus = study.baseline_of(slice_), versus_baseline(estimates, slice_)
    scale = estimates.scale(slice_)
    table = comparison_table(study, slice_, versus)
    pairs = tuple(p for pair in study.compared(slice_)[:1] if (p := paired_tasks(estimates, slice_, pair, styles)))
    if isinstance(scale, str):
        tasks: tuple[Block, ...] = (Gallery(pairs, folded=f"Task by task on {slice_.label}"),) if pairs else ()
        return [Paragraph(f"No scores here: {scale}."), *([table] if table else []), *tasks]
    standings = {arm.name: _standing(estimates, slice_, arm.name) for arm in study.arms_of(slice_)}
    rows = [Row(name, (one.iqm, one.mean, one.gap, versus[name].better if name in versus else None)) for name, one in standings.items()]
    headings = ("IQM score ↑", "mean score ↑", "optimality gap ↓", f"P(beats {baseline})")
    plot = interval_plot(
        rows, headings, styles, references=(1.0, 1.0, 0.0, 0.5), key=f"intervals-{slug(slice_.label)}", title=f"Scores on {slice_.label}"
    )
    profile = profile_curves(estimates, slice_, styles)
    heat = heat_map(estimates, slice_, styles)
    figures = tuple(picture for picture in (profile, *pairs, heat) if picture)
    return [
        *([Gallery((plot,), wide=True)] if plot else []),
        *([table] if table else []),
        _score_table(slice_, standings, scale.meaning),
        *([Gallery(figures, wide=True, folded=f"Profile of scores and single tasks on {slice_.label}")] if figures else []),
    ]


def _standing(estimates: Estimates, slice_: Slice, arm: str) -> Standing:
    rows = estimates.scores(slice_, arm)
    if rows.empty:
        return Standing(*[Estimate(math.nan, reason="no measurement")] * 3)
    rng = seeds.stream("report-iqm", slice_.label, arm)
    found = pigeonhole_interval(rows, rng, statistic="iqm", resamples=RESAMPLES)
    iqm = Estimate(found.estimate, found.low, found.high, found.n_tasks, found.n_replicates, reason=found.reason)
    gaps = rows.assign(value=1 - rows["value"].clip(upper=1))  # their mean is the optimality gap, so it has a two-way interval
    return Standing(iqm, estimate(rows), estimate(gaps))


def versus_baseline(estimates: Estimates, slice_: Slice) -> dict[str, Versus]:
    """Every ranked arm that has measurements, but the baseline, in the suite's order."""
    study, baseline = estimates.study, estimates.study.baseline_of(slice_)
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    competing = set(study.ranked(slice_)) - {baseline}
    arms = [arm for arm in study.arms_of(slice_) if arm.name in competing]
    base = estimates.losses(slice_, baseline, metric, step)
    losses = {arm.name: estimates.losses(slice_, arm.name, metric, step) for arm in arms}
    measured = {name: rows for name, rows in losses.items() if not rows.empty and not base.empty}
    welch = holm({name: welch_test(rows, base).p for name, rows in measured.items()})
    drawn = {name: seeds.stream("report-permutation", slice_.label, name) for name in measured}
    permutation = holm({name: permutation_test(rows, base, drawn[name], resamples=10_000).p for name, rows in measured.items()})
    found = {}
    for arm in arms:
        if arm.name not in measured:
            continue
        rows = measured[arm.name]
        better = improvement_interval(rows, base, seeds.stream("report-improvement", slice_.label, arm.name), resamples=RESAMPLES)
        twin = study.control_of(arm, slice_)
        found[arm.name] = Versus(
            contrast=estimates.contrast(slice_, (arm.name, baseline), metric, step),
            control=estimates.contrast(slice_, (arm.name, twin.name), metric, step) if twin else None,
            better=Estimate(better.estimate, better.low, better.high, better.n_tasks, better.n_replicates, reason=better.reason),
            standardised=-two_way_difference(rows, base).standardised,
            welch=welch[arm.name],
            permutation=permutation[arm.name],
        )
    return found


def comparison_table(study: Study, slice_: Slice, versus: Mapping[str, Versus]) -> Table | None:
    """Differences, probabilities and p-values; None where there is nothing to compare."""
    if not versus:
        return None
    baseline = study.baseline_of(slice_)
    controlled = any(one.control for one in versus.values())
    rows, data = [], []
    for name, one in versus.items():
        control = one.control
        shown = [Cell("no control" if control is None else _spelled(control), numeric=control is not None)] if controlled else []
        rows.append(
            (
                Cell(name, numeric=False), Cell(_spelled(one.contrast)), *shown,
                Cell(interval(one.better.value, one.better.low, one.better.high)), Cell(number(one.standardised, 2)),
                Cell(p_value(one.welch)), Cell(p_value(one.permutation)),
            )
        )  # fmt: skip
        data.append(
            {
                "slice": slice_.label, "arm": name, "baseline": baseline, "difference": one.contrast.value, "low": one.contrast.low,
                "high": one.contrast.high, "verdict": one.contrast.verdict, "difference_to_control": control.value if control else None,
                "control_low": control.low if control else None, "control_high": control.high if control else None,
                "p_improvement": one.better.value, "p_improvement_low": one.better.low, "p_improvement_high": one.better.high,
                "standardised": one.standardised, "welch_p_holm": one.welch, "permutation_p_holm": one.permutation,
                "n_tasks": one.contrast.n_tasks, "n_replicates": one.contrast.n_replicates,
            }
        )  # fmt: skip
    metric, step = str(study.primary["metric"]), study.primary["adaptation_step"]
    of_what = "" if study.better(metric) != "closer" else f" of distances to {study.ideal(metric):g}"
    replicates = min((one.contrast.n_replicates for one in versus.values() if one.contrast.n_replicates), default=0)
    warning = replication_warning(replicates) if replicates else ""
    notes = [
        f"Differences{of_what} with 95 % two-way intervals, {study.better(metric) if not of_what else 'lower'} is better; each interval "
        "stands alone. Effect size: difference over the pooled standard deviation of single values, positive where the arm is better. "
        f"p-values compare replicates' means, adjusted (Holm) for the {len(versus)} planned comparisons of this table.",
    ]
    if controlled:
        notes.append(
            "The gain over the arm's own control, the same learner on shuffled tasks, is the part of its gain that needs task structure."
        )
    if warning:
        notes.append(f"{warning[:1].upper()}{warning[1:]}.")
    return Table(
        key=f"comparison-{slug(slice_.label)}",
        caption=f"Each arm against {baseline} on {slice_.label}: {study.label(metric)} after {step} adaptation steps",
        columns=(
            "arm", f"− {baseline} [95 %]", *(["− its control [95 %]"] if controlled else []), f"P(beats {baseline})", "effect size",
            "Welch p", "permutation p",
        ),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=tuple(notes),
    )  # fmt: skip


def _score_table(slice_: Slice, standings: Mapping[str, Standing], meaning: str) -> Table:
    rows, data = [], []
    for name, one in standings.items():
        rows.append((Cell(name, numeric=False), *(Cell(interval(e.value, e.low, e.high)) for e in (one.iqm, one.mean, one.gap))))
        record: dict[str, object] = {"slice": slice_.label, "arm": name}
        for what, e in (("iqm", one.iqm), ("mean", one.mean), ("optimality_gap", one.gap)):
            record |= {what: e.value, f"{what}_low": e.low, f"{what}_high": e.high}
        data.append(record | {"n_tasks": one.mean.n_tasks, "n_replicates": one.mean.n_replicates})
    return Table(
        key=f"scores-{slug(slice_.label)}",
        caption=f"Scores on {slice_.label}",
        columns=("arm", "IQM ↑", "mean ↑", "optimality gap ↓"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(f"0 is {meaning}, 1 the ideal value. Cells that ended without numbers count with their caps.",),
    )


def _spelled(contrast: Contrast) -> str:
    return interval(contrast.value, contrast.low, contrast.high)


def p_value(p: float) -> str:
    """Three decimals, never 0 and without stars."""
    return "n/a" if math.isnan(p) else "< 0.001" if p < 0.001 else number(p, 3)
