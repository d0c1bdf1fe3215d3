"""How fast arms adapt, how steadily, and how often they get lost: times to a target and to collapse, drawdown, outcomes.

Every run of every cell that ended counts. One without numbers of its own never reaches a target (censored at the full budget), relapses,
and has collapsed from the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.measure import expected_running_time
from bench.report.blocks import Block, Cell, Gallery, Paragraph, Table
from bench.report.estimates import Estimate, Estimates, estimate
from bench.report.shares import not_collapsed_curves, reached_curves
from bench.report.study import ENDED, STATUSES, Slice
from bench.report.style import Look
from bench.report.tables import estimate_cell, outcome_counts
from bench.report.text import interval, number, slug
from bench.stats import two_way_difference, wilson_interval

RELAPSE = 0.1
"""Of a score: a run relapses that gives back a tenth of the way from what knows nothing of the task to the ideal."""
VARIETY = ("modes", "vendi", "pairwise-distance", "recall")
"""Measures of variety; the first that a slice has measured tells when a run has collapsed."""
COLLAPSED = 0.5
"""Share of what a perfect sampler shows below which a run counts as collapsed: fewer than half the directions, modes or distances."""


def convergence_blocks(estimates: Estimates, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Curve of runs at the target and table, slice by slice; nothing before there are measurements."""
    study = estimates.study
    metric = str(study.primary["metric"])
    blocks: list[Block] = []
    for slice_ in study.slices:
        steps = study.steps_of(slice_, metric)
        if not steps:
            continue
        baseline = study.baseline_of(slice_)
        times = {arm.name: estimates.steps_to_target(slice_, arm.name, baseline, metric) for arm in study.arms_of(slice_)}
        target = f"the {study.label(metric)} of {baseline} at step {steps[-1]}"
        curves = reached_curves(times, steps, styles, label=slice_.label, target=target)
        blocks += [Paragraph(slice_.label, "heading"), *([Gallery((curves,))] if curves else []), convergence_table(estimates, slice_)]
    introduction = Paragraph(
        "The curves count runs (replicate and task) that have reached, and keep, the target of the table below by an adaptation step. A "
        "curve that ends below 1 belongs to an arm of which some runs never do; they are censored at the last step, those that diverged "
        "or timed out too, and none is left out. The earlier and higher, the better."
    )
    return (introduction, *blocks) if blocks else ()


def convergence_table(estimates: Estimates, slice_: Slice) -> Table:
    """How fast each arm falls to what the second arm of the primary comparison reaches in the end, how steadily, and what became of it."""
    study = estimates.study
    label, baseline = study.label(str(study.primary["metric"])), study.baseline_of(slice_)
    steps = study.steps_of(slice_, str(study.primary["metric"]))
    last = steps[-1] if steps else 0
    arms = [arm.name for arm in study.arms_of(slice_)]
    paces = {arm: _pace(estimates, slice_, arm, baseline, last) for arm in arms}
    outcomes = {arm: outcome_counts(study, arm, slice_) for arm in arms}
    lost = sorted(
        {outcome for counts in outcomes.values() for outcome in counts if _status(outcome) in ENDED} - {"ok", "diverged"},
        key=lambda outcome: (STATUSES.index(_status(outcome)), outcome),
    )
    rows, data = [], []
    for arm, pace in paces.items():
        ended = sum(n for outcome, n in outcomes[arm].items() if _status(outcome) in ENDED)
        counts = {"diverged": sum(n for outcome, n in outcomes[arm].items() if _status(outcome) == "diverged")}
        counts |= {outcome: outcomes[arm].get(outcome, 0) for outcome in lost}
        ends = {outcome: wilson_interval(n, ended) for outcome, n in counts.items()}
        gain = "" if arm == baseline else interval(pace.gain.value, pace.gain.low, pace.gain.high)
        rates = [f"{n}/{ended} [{number(ends[o][0], 2)}, {number(ends[o][1], 2)}]" if ended else "n/a" for o, n in counts.items()]
        rows.append(
            (
                Cell(arm, numeric=False),
                estimate_cell(pace.area),
                Cell(_percent(pace.share)),
                estimate_cell(pace.mean),
                *(Cell(text) for text in (gain, _running(pace.running), _percent(pace.relapsed), *rates)),
            )
        )
        record: dict[str, object] = {"slice": slice_.label, "arm": arm, "expected_running_time": pace.running, "n_ended": ended}
        named = {
            "area": pace.area, "share_reached": pace.share, "mean_steps": pace.mean, "mean_steps_to_baseline": pace.gain,
            "share_relapsed": pace.relapsed,
        }  # fmt: skip
        for name, e in named.items():
            record |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
        for outcome, n in counts.items():
            name = outcome.replace(": ", "_")
            record |= {f"n_{name}": n, f"{name}_low": ends[outcome][0], f"{name}_high": ends[outcome][1]}
        data.append(record | {"median_drawdown": pace.drawdown, "n_runs": pace.runs})
    return Table(
        key=f"convergence-{slug(slice_.label)}",
        caption=f"Convergence of adaptation on {slice_.label}",
        columns=(
            "arm", f"area, {label}", "reached the target", "steps to target", f"− {baseline}", "running time", "relapsed",
            "diverged (Wilson 95 %)", *(outcome.replace("_", " ") for outcome in lost),
        ),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            f"Target, task by task: the {label} that {baseline} has at step {last}, mean over its replicates; it counts as reached at the "
            "first evaluated step from which it holds for two more evaluations (or to the end). Steps to target: mean over runs and tasks, "
            f"those that never reach it counted with {last} steps (restricted mean): a lower bound where the share is below 100 %. Running "
            "time: steps spent by all runs over the number of runs that reached it.",
            f"Relapsed: runs whose loss rises above its best so far by more than {RELAPSE:g} of the scale of scores, runs without numbers "
            "among them. Outcomes are counted in cells, with Wilson intervals.",
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class _Pace:
    """What the runs of an arm did.

    Attributes:
        area: under the curve.
        share: of the runs that reached the target.
        mean: restricted mean of the steps to it.
        gain: the same minus the baseline's.
        running: expected running time.
        relapsed: share of the runs that gave back what they had.
        drawdown: median over the runs.
        runs: how many there are.
    """

    area: Estimate
    share: Estimate
    mean: Estimate
    gain: Estimate
    running: float
    relapsed: Estimate
    drawdown: float
    runs: int


def _pace(estimates: Estimates, slice_: Slice, arm: str, baseline: str, last: int) -> _Pace:
    metric = str(estimates.study.primary["metric"])
    area = estimates.area(slice_, arm, metric)
    found = {name: estimates.steps_to_target(slice_, name, baseline, metric) for name in (arm, baseline)}
    if found[arm].empty:
        nothing = Estimate(math.nan, reason="no curve")
        return _Pace(area, nothing, nothing, nothing, math.nan, nothing, math.nan, 0)
    times = found[arm]["value"].to_numpy(dtype=np.float64)
    restricted = {name: rows.assign(value=np.minimum(rows["value"].to_numpy(dtype=np.float64), last)) for name, rows in found.items()}
    gain = two_way_difference(restricted[arm], restricted[baseline])
    rises, scale = estimates.drawdown(slice_, arm, metric), estimates.scale(slice_)
    return _Pace(
        area=area,
        share=estimate(found[arm].assign(value=times <= last)),
        mean=estimate(restricted[arm]),
        gain=Estimate(gain.estimate, gain.low, gain.high, gain.n_tasks, gain.n_replicates_a, reason=gain.reason),
        running=expected_running_time(times, last),
        relapsed=(
            Estimate(math.nan, reason=scale)
            if isinstance(scale, str)
            else estimate(rises.assign(value=rises["value"] > RELAPSE * scale.span))
        ),
        drawdown=float(np.median(rises["value"])),
        runs=len(times),
    )


def _status(outcome: str) -> str:
    return outcome.split(":")[0]


def collapse_blocks(estimates: Estimates, slice_: Slice, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """When runs collapse: curve of those that have not, and the onset in numbers; nothing where variety was not measured."""
    study = estimates.study
    metric = next((name for name in VARIETY if name in study.metrics_of(slice_) and math.isfinite(study.ideal(name))), "")
    if not metric:
        return ()
    steps, threshold = study.steps_of(slice_, metric), COLLAPSED * study.ideal(metric)
    onsets = {arm.name: estimates.collapse_onset(slice_, arm.name, metric, threshold) for arm in study.arms_of(slice_)}
    onsets = {name: rows for name, rows in onsets.items() if len(rows)}
    meaning = f"{study.label(metric)} below {threshold:g} from there on"
    curves = not_collapsed_curves(onsets, steps, styles, label=slice_.label, meaning=meaning)
    if curves is None:
        return ()
    rows, data = [], []
    for name, found in onsets.items():
        times = found["value"].to_numpy(dtype=np.float64)
        collapsed = times[np.isfinite(times)]
        share = estimate(found.assign(value=np.isfinite(times)))
        onset = float(np.median(collapsed)) if collapsed.size else math.nan
        rows.append((Cell(name, numeric=False), Cell(_percent(share)), Cell(number(onset, 0) if collapsed.size else "never")))
        data.append(
            {
                "slice": slice_.label, "arm": name, "metric": metric, "threshold": threshold, "share_collapsed": share.value,
                "low": share.low, "high": share.high, "median_onset": onset, "n_runs": len(times),
            }
        )  # fmt: skip
    table = Table(
        key=f"collapse-onset-{slug(slice_.label)}",
        caption=f"Onset of mode collapse on {slice_.label}",
        columns=("arm", f"collapsed by step {steps[-1]}", "onset, median step"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            f"A run (replicate and task) is collapsed from the first evaluated step from which its {study.label(metric)} stays below "
            f"{threshold:g}, half of what a perfect sampler shows; runs without numbers count as collapsed from the start. Median over the "
            "runs that collapse. The curve (Kaplan-Meier; runs that never collapse are censored at the last step) shows the share that "
            "has not: the higher, the better.",
        ),
    )
    return (Gallery((curves,)), table)


def _percent(share: Estimate) -> str:
    """A share in per cent; its interval ends at 0 and at 100."""
    if not math.isfinite(share.value):
        return "n/a"
    low, high = (100 * min(max(end, 0.0), 1.0) if math.isfinite(end) else math.nan for end in (share.low, share.high))
    ends = f" [{number(low, 0)}, {number(high, 0)}]" if math.isfinite(low) else ""
    return f"{number(100 * share.value, 0)} %{ends}"


def _running(steps: float) -> str:
    return "never" if math.isinf(steps) else "n/a" if math.isnan(steps) else number(steps, 1)
