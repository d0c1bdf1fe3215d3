"""Tests over tasks, in a section of their own: they speak of the models that were trained, not of the learners that trained them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from bench.report.blocks import Block, Cell, Gallery, Paragraph, Table
from bench.report.comparison import p_value
from bench.report.estimates import Estimates
from bench.report.intervals import rank_plot
from bench.report.study import Slice
from bench.report.style import Look, Picture
from bench.report.text import number, slug
from bench.stats import RankComparison, compare_ranks, holm, log_rank_test, signed_rank_test

WARNING = (
    "What follows takes tasks for independent repetitions, as most published comparisons do. All tasks were seen by the same few trained "
    "models, so these p-values say nothing about training again: under equal learners they fall below 0.05 in a third to two thirds of all "
    "experiments, more often with more tasks. They answer one question only: do these very models differ on new tasks?"
)
_NOTE = "conditional on these trained models"


def conditional_blocks(estimates: Estimates, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Signed ranks, Friedman with critical difference, and log-rank, slice by slice; nothing where no slice has two arms to compare."""
    blocks: list[Block] = []
    pictures: list[Picture] = []
    for slice_ in estimates.study.slices:
        table, ranks = _table(estimates, slice_)
        if table is None:
            continue
        blocks.append(table)
        if ranks.critical_difference > 0:
            title = f"Mean ranks on {slice_.label}"
            key = f"ranks-{slug(slice_.label)}"
            pictures.append(rank_plot(ranks.mean_ranks, ranks.critical_difference, styles, key=key, title=title, note=_NOTE))
    if not blocks:
        return ()
    reading = Paragraph(
        "Mean ranks: a point per arm, 1 would be best on every task; the ruler is Nemenyi's critical difference at 0.05, and a bar at the "
        "right joins arms that it does not tell apart. A rank depends on which other arms are in the suite."
    )
    return (Paragraph(WARNING, "warning"), *blocks, *((reading, Gallery(tuple(pictures))) if pictures else ()))


def _table(estimates: Estimates, slice_: Slice) -> tuple[Table | None, RankComparison]:
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    baseline = study.baseline_of(slice_)
    losses = {name: estimates.losses(slice_, name, metric, step) for name in study.ranked(slice_)}
    losses = {name: rows for name, rows in losses.items() if not rows.empty}
    if len(losses) < 2 or baseline not in losses:
        return None, RankComparison({}, math.nan, math.nan, math.nan, 0)
    ranks = compare_ranks(losses)
    others = [name for name in losses if name != baseline]
    signed = holm({name: signed_rank_test(losses[name], losses[baseline]).p for name in others})
    last = study.steps_of(slice_, metric)[-1]
    times = {name: estimates.steps_to_target(slice_, name, baseline, metric) for name in losses}
    faster = holm({name: log_rank_test(times[name], times[baseline], budget=last).p for name in others})
    rows, data = [], []
    for name in losses:
        p, speed = signed.get(name, math.nan), faster.get(name, math.nan)
        shown = ["", ""] if name == baseline else [p_value(p), p_value(speed)]
        rows.append((Cell(name, numeric=False), Cell(number(ranks.mean_ranks[name], 2)), *(Cell(text) for text in shown)))
        data.append(
            {
                "slice": slice_.label, "arm": name, "baseline": baseline, "mean_rank": ranks.mean_ranks[name], "signed_rank_p_holm": p,
                "log_rank_p_holm": speed, "n_tasks": ranks.n_tasks,
            }
        )  # fmt: skip
    friedman = (
        f"Friedman's test of all ranks: chi-square {number(ranks.statistic, 1)}, p {p_value(ranks.p)}; critical difference of mean ranks "
        f"{number(ranks.critical_difference, 2)} over {ranks.n_tasks} tasks."
        if math.isfinite(ranks.p)
        else f"No test of ranks: {ranks.reason}."
    )
    return Table(
        key=f"conditional-{slug(slice_.label)}",
        caption=f"Tests over tasks on {slice_.label}, {_NOTE}",
        columns=("arm", "mean rank", f"signed-rank p against {baseline}", f"log-rank p against {baseline}"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            friedman,
            f"Signed-rank: means over replicates of {study.label(metric)} after {step} adaptation steps, task by task. Log-rank: steps to "
            "the target of the convergence table, stratified by task, runs that never reach it censored at the full budget. Both adjusted "
            f"(Holm) for {len(others)} comparisons.",
        ),
    ), ranks
