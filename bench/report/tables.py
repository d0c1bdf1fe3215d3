"""Tables of the report. Rows are arms, in one order everywhere; every planned cell is counted in each of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.report.blocks import Cell, Table, text_row
from bench.report.estimates import Estimate, Estimates
from bench.report.study import ENDED, STATUSES, Slice, Study, is_collapse, is_memorisation
from bench.report.text import interval, quantity, slug
from bench.stats import as_loss
from bench.suite.model import PRIVILEGED

CAPPED_MARK = "‡"
_NAMED_CLASS = re.compile(r"\b(nan_param|nan_sample|inf|exploded|constant_output|stalled)\b")
_CELL_KEYS = ("trial_id", "arm", "replicate", "status", "reason")
_TRIAL_KEYS = ("arm", "replicate", "trial_id", "status", "reason", "attempts", "seconds", "evaluation_seconds", "environment")
_COSTS = {
    "gradient_evaluations": "gradient evaluations",
    "samples_seen": "samples seen",
    "flops": "FLOPs",
    "seconds": "seconds",
    "evaluation_seconds": "of them measuring",
    "peak_memory_bytes": "peak memory, MB",
}
_TUNING_COSTS = {
    "tuning_gradient_evaluations": "tuning: gradient evaluations",
    "tuning_samples_seen": "tuning: samples seen",
    "tuning_flops": "tuning: FLOPs",
    "tuning_seconds": "tuning: seconds",
}


def aggregate_table(estimates: Estimates, slice_: Slice) -> Table:
    """The metrics at the primary step but those of :func:`variety_table`, the area under the primary curve, and what it cost.

    The data hold every metric.
    """
    study = estimates.study
    step, primary = int(study.primary["adaptation_step"]), str(study.primary["metric"])
    metrics, shown = _measured_at(study, slice_, step), _about_quality(study, slice_, step)
    arms, best = [arm.name for arm in study.arms_of(slice_)], _best(estimates, slice_, shown, step)
    rows, data = [], []
    for arm in arms:
        found = {metric: estimates.at(slice_, arm, metric, step) for metric in metrics}
        area = estimates.area(slice_, arm, primary)
        cells = _cells(study, slice_, arm)
        planned, ok = len(cells), int((cells["status"] == "ok").sum())
        gradients, seconds = _mean(cells["gradient_evaluations"]), _mean(cells["seconds"])
        rows.append(
            (
                Cell(arm, numeric=False),
                _ended_cell(study, slice_, arm),
                *(estimate_cell(found[m], best=best[m] == arm) for m in shown),
                estimate_cell(area),
                Cell(quantity(gradients)),
                Cell(quantity(seconds)),
            )
        )
        record: dict[str, object] = {"slice": slice_.label, "arm": arm, "adaptation_step": step}
        for metric, e in {**found, f"area_{primary}": area}.items():
            record |= {metric: e.value, f"{metric}_low": e.low, f"{metric}_high": e.high, f"{metric}_n_imputed": e.n_imputed}
        data.append(record | {"n_ok": ok, "n_planned": planned, "gradient_evaluations": gradients, "seconds": seconds})
    notes = [
        f"Means at adaptation step {step} over all replicates and tasks, with 95 % two-way intervals. ↓ lower, ↑ higher, → closer to the "
        "value is better. Bold: best, and the interval of its difference to the second excludes 0. Only the primary metric (first of "
        "them) was declared before the run; the others describe.",
        f"Area: mean height of the {study.label(primary)} curve over log(1 + step). n_ok/n_planned counts cells; costs are means per "
        "cell, the warm start included.",
    ]
    if any(arm.endswith(PRIVILEGED) for arm in arms):
        notes.append(
            f"{PRIVILEGED.strip()}: adapts to the very samples that it is judged by; an upper bound to read the others against, not ranked."
        )
    return Table(
        key=f"aggregate-{slug(slice_.label)}",
        caption=f"Results on {slice_.label} after {step} adaptation steps",
        columns=(
            "arm",
            "n_ok/n_planned",
            *(_heading(study, m) for m in shown),
            f"area, {study.label(primary)}",
            "gradient evaluations",
            "seconds",
        ),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(*notes, *_capped_note(rows)),
    )


def variety_table(estimates: Estimates, slice_: Slice) -> Table | None:
    """The metrics that tell of lost modes or variety at the primary step, None where there are none but the primary one."""
    study = estimates.study
    step = int(study.primary["adaptation_step"])
    quality = _about_quality(study, slice_, step)
    metrics = [metric for metric in _measured_at(study, slice_, step) if metric not in quality]
    if not metrics:
        return None
    best = _best(estimates, slice_, metrics, step)
    rows, data = [], []
    for arm in (arm.name for arm in study.arms_of(slice_)):
        found = {metric: estimates.at(slice_, arm, metric, step) for metric in metrics}
        estimated = (estimate_cell(e, best=best[metric] == arm) for metric, e in found.items())
        rows.append((Cell(arm, numeric=False), _ended_cell(study, slice_, arm), *estimated))
        for metric, e in found.items():
            told = {"estimate": e.value, "low": e.low, "high": e.high, "n_imputed": e.n_imputed}
            data.append({"slice": slice_.label, "arm": arm, "metric": metric, "adaptation_step": step, **told})
    return Table(
        key=f"variety-{slug(slice_.label)}",
        caption=f"Variety on {slice_.label} after {step} adaptation steps",
        columns=("arm", "n_ok/n_planned", *(_heading(study, metric) for metric in metrics)),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=_capped_note(rows),
    )


def memorisation_table(estimates: Estimates, slice_: Slice) -> Table | None:
    """Distances to the support beside distances to held-out samples, None where no such metric was measured."""
    study = estimates.study
    metrics = [m for m in study.metrics_of(slice_) if is_memorisation(m)]
    if not metrics:
        return None
    step = int(study.primary["adaptation_step"])
    last = max(s for m in metrics for s in study.steps_of(slice_, m))
    asked = [(m, s) for m in metrics for s in dict.fromkeys((step, last)) if s in study.steps_of(slice_, m)]
    rows, data = [], []
    for arm in study.arms_of(slice_):
        found = [estimates.at(slice_, arm.name, metric, at) for metric, at in asked]
        rows.append((Cell(arm.name, numeric=False), *(estimate_cell(e) for e in found)))
        for (metric, at), e in zip(asked, found, strict=True):
            data.append(
                {
                    "slice": slice_.label, "arm": arm.name, "metric": metric, "adaptation_step": at, "estimate": e.value, "low": e.low,
                    "high": e.high, "n_imputed": e.n_imputed,
                }
            )  # fmt: skip
    ideals = "; ".join(f"{study.label(m)}: {study.ideal(m):g}" for m in metrics if math.isfinite(study.ideal(m)))
    return Table(
        key=f"memorisation-{slug(slice_.label)}",
        caption=f"Memorisation of the support on {slice_.label}",
        columns=("arm", *(f"{study.label(m)}, step {s}" for m, s in asked)),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(f"Values of new samples from the task: {ideals}. Copies of the support lie nearer to it than new samples do.",),
    )


def cost_table(study: Study, slice_: Slice) -> Table:
    """What a cell of each arm cost, mean over the cells that ended, and what tuning the arm cost."""
    tuned = "tuning_seconds" in study.cells and bool(study.cells["tuning_seconds"].notna().any())
    columns = _COSTS | (_TUNING_COSTS if tuned else {})
    rows, data = [], []
    for arm in study.arms_of(slice_):
        cells = _cells(study, slice_, arm.name)
        cells = cells[cells["status"].isin(ENDED)]
        means = {column: _mean(cells[column]) / (1e6 if column == "peak_memory_bytes" else 1) for column in columns}
        rows.append(
            (
                Cell(arm.name, numeric=False),
                Cell(str(len(cells)), link=_trials_anchor(study, slice_, arm.name)),
                *(Cell(quantity(v)) for v in means.values()),
            )
        )
        data.append({"slice": slice_.label, "arm": arm.name, "n_cells": len(cells), **means})
    return Table(
        key=f"costs-{slug(slice_.label)}",
        caption=f"Costs per cell on {slice_.label}",
        columns=("arm", "cells", *columns.values()),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            "Means over the cells that ended; a shared warm start or meta-training is charged to every cell that uses it.",
            *(
                ["Tuning: all configurations of an arm together, once for all its cells and its control, in no other column."]
                if tuned
                else []
            ),
        ),
    )


def status_table(study: Study) -> Table:
    """How many cells ended how; every status that a cell can have is a column."""
    rows, data = [], []
    for arm in study.arms:
        statuses = study.cells.loc[study.cells["arm"] == arm.name, "status"].astype(str)
        counts = {status: int((statuses == status).sum()) for status in STATUSES}
        rows.append((Cell(arm.name, numeric=False), *(Cell(str(n)) for n in counts.values())))
        data.append({"arm": arm.name, **counts})
    return Table("statuses", "Cells by status, all slices", ("arm", *STATUSES), tuple(rows), pd.DataFrame(data))


def trials_table(study: Study) -> Table:
    """The trials behind each row of the other tables, by replicate; CSV has one row per trial, with its whole id and its costs."""
    rows, data = [], []
    for slice_ in study.slices:
        for arm in study.arms_of(slice_):
            cells = _cells(study, slice_, arm.name).sort_values("replicate", kind="stable")
            ok = cells["status"] == "ok"
            troubled = [str(trial_id) for trial_id in cells.loc[~ok, "trial_id"]]
            rows.append(
                (
                    Cell(arm.name, numeric=False, anchor=_trials_anchor(study, slice_, arm.name)),
                    Cell(slice_.label, numeric=False),
                    Cell(_trials(study, cells[ok]), numeric=False),
                    Cell(_trials(study, cells[~ok]), numeric=False, link=_trouble_anchor(troubled[0]) if troubled else ""),
                )
            )
            data.append(cells[[column for column in _TRIAL_KEYS if column in cells]].assign(slice=slice_.label))
    return Table(
        key="trials",
        caption="Trials by arm: replicate and beginning of the trial id",
        columns=("arm", "task distribution", "with numbers of their own", "others, which lead to their errors"),
        rows=tuple(rows),
        data=pd.concat(data) if data else pd.DataFrame(),
        notes=("The folder trials/ has what a trial kept; bench why and bench adapt take the beginning of an id.",),
    )


def _trials(study: Study, cells: pd.DataFrame) -> str:
    told = zip(cells["replicate"], cells["trial_id"].astype(str), strict=True)
    return ", ".join(f"{replicate}: {trial_id[: study.id_length]}" for replicate, trial_id in told) or "none"


def _trials_anchor(study: Study, slice_: Slice, arm: str) -> str:
    """Of the row of :func:`trials_table`; by position, since names that differ may have equal plain spellings."""
    return f"trials-{study.slices.index(slice_)}-{[one.name for one in study.arms_of(slice_)].index(arm)}"


def _trouble_anchor(trial_id: str) -> str:
    return f"trial-{trial_id}"


def trouble_table(study: Study) -> Table:
    """Every cell that is not ok, with its reason; equal reasons of skipped cells are one row."""
    cells = study.cells[study.cells["status"] != "ok"]
    rows, data = [], []
    skipped = cells[cells["status"] == "skipped"]
    for record in cells[cells["status"] != "skipped"].to_dict("records"):
        where = _where(study, record)
        trial_id = str(record["trial_id"])
        told = (where, str(record["replicate"]), trial_id[: study.id_length], str(record["status"]), str(record["reason"]))
        rows.append((Cell(str(record["arm"]), numeric=False, anchor=_trouble_anchor(trial_id)), *text_row(*told)))
        data.append({**{k: record[k] for k in _CELL_KEYS}, "slice": where})
    for reason, group in skipped.groupby("reason", observed=True, sort=False):
        arms, distributions = ([*map(str, group[column].unique())] for column in ("arm", "task_distribution"))
        rows.append(text_row(", ".join(arms), ", ".join(distributions), f"{len(group)} cells", "", "skipped", str(reason)))
        data += [{**{k: r[k] for k in _CELL_KEYS}, "slice": r["task_distribution"]} for r in group.to_dict("records")]
    return Table(
        "not-ok", "Cells that are not ok", ("arm", "task distribution", "replicate", "trial", "status", "reason"),
        tuple(rows), pd.DataFrame(data, columns=["trial_id", "slice", "arm", "replicate", "status", "reason"]),
    )  # fmt: skip


def outcome_counts(study: Study, arm: str, slice_: Slice) -> dict[str, int]:
    """Cells of an arm in a slice by outcome: a status, with the divergence class beside ``diverged``."""
    cells = study.cells_of(slice_)
    cells = cells[cells["arm"] == arm]
    counts: dict[str, int] = {}
    for status, reason in zip(cells["status"].astype(str), cells["reason"].astype(str), strict=True):
        named = _NAMED_CLASS.search(reason) if status == "diverged" else None
        outcome = f"diverged: {named[1]}" if named else status
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


# ------------------------------------------------------------------ parts
def _heading(study: Study, metric: str) -> str:
    arrow = {"lower": "↓", "higher": "↑", "closer": "→"}[study.better(metric)]
    return f"{study.label(metric)} {arrow}" + (f" {study.ideal(metric):g}" if arrow == "→" else "")


def estimate_cell(e: Estimate, *, best: bool = False) -> Cell:
    """An estimate with its interval, marked where caps stand for numbers."""
    value, bracket, ends = interval(e.value, e.low, e.high).partition(" [")
    return Cell(f"{value}{CAPPED_MARK if e.n_imputed else ''}{bracket}{ends}", best=best)


def _measured_at(study: Study, slice_: Slice, step: int) -> list[str]:
    """Metrics of samples taken at a step, the primary first; memorisation has a table of its own."""
    return [m for m in study.metrics_of(slice_) if step in study.steps_of(slice_, m) and not is_memorisation(m)]


def _about_quality(study: Study, slice_: Slice, step: int) -> list[str]:
    """Those of them that do not tell of variety, and the primary one whatever it tells of."""
    return [m for m in _measured_at(study, slice_, step) if m == study.primary["metric"] or not is_collapse(m)]


def _best(estimates: Estimates, slice_: Slice, metrics: Sequence[str], step: int) -> dict[str, str]:
    """The arm that is clearly best by each metric, or ``''``; who sees what it is judged by does not compete."""
    ranked = [arm.name for arm in estimates.study.arms_of(slice_) if not arm.name.endswith(PRIVILEGED)]
    return {metric: _clear_best(estimates, slice_, metric, ranked, step) for metric in metrics}


def _ended_cell(study: Study, slice_: Slice, arm: str) -> Cell:
    """How many of an arm's cells have numbers of their own, of how many that were planned."""
    cells = _cells(study, slice_, arm)
    return Cell(f"{int((cells['status'] == 'ok').sum())}/{len(cells)}", link=_trials_anchor(study, slice_, arm))


def _capped_note(rows: Sequence[Sequence[Cell]]) -> tuple[str, ...]:
    """What the mark means, where a cell has it."""
    if not any(CAPPED_MARK in cell.text for row in rows for cell in row):
        return ()
    return (
        f"{CAPPED_MARK} some cells ended without numbers; they count with the value of a constant generator (the worst value at step 0 "
        "where that is undefined). Nothing is averaged over survivors.",
    )


def _clear_best(estimates: Estimates, slice_: Slice, metric: str, arms: Sequence[str], step: int) -> str:
    """The arm with the best mean, if the interval of its difference to the second excludes 0; else ``''``."""
    study = estimates.study
    values = {arm: estimates.at(slice_, arm, metric, step).value for arm in arms}
    finite = {arm: value for arm, value in values.items() if math.isfinite(value)}
    losses = dict(zip(finite, as_loss([*finite.values()], better=study.better(metric), ideal=study.ideal(metric)), strict=True))
    ranked = sorted(losses, key=lambda arm: losses[arm])
    if len(ranked) < 2:
        return ""
    return ranked[0] if estimates.contrast(slice_, (ranked[0], ranked[1]), metric, step).verdict > 0 else ""


def _cells(study: Study, slice_: Slice, arm: str) -> pd.DataFrame:
    """Cells that were planned to run: skipped ones fit no arm."""
    cells = study.cells_of(slice_)
    return cells[(cells["arm"] == arm) & (cells["status"] != "skipped")]


def _mean(values: pd.Series) -> float:
    finite = values.astype(float).to_numpy()
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else math.nan


def _where(study: Study, record: Mapping[Any, Any]) -> str:
    return Slice(str(record["task_distribution"]), tuple((family, str(record[family])) for family in study.varying)).label
