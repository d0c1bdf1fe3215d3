"""How much less data: the primary metric against the number of shots, and how many shots other arms need for the same.

Tasks, reference samples and noise are the same at every number of shots, and smaller supports are parts of larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bench import seeds
from bench.report.blocks import Block, Cell, Gallery, Paragraph, Table
from bench.report.curves import shots_curve
from bench.report.estimates import Estimates
from bench.report.study import Arm, Slice
from bench.report.style import Look
from bench.report.text import listing, number, slug
from bench.stats import as_loss
from bench.stats.crossed import Array, Crossed, cross
from bench.stats.reach import Reach, reach_interval

INTRODUCTION = (
    "Tasks, reference samples and noise are the same at every number of shots, and smaller supports are parts of larger ones. One line per "
    "arm: mean over replicates and tasks; band: 95 % two-way interval, left out for arms with a *, whose intervals fill the axes."
)


def shots_blocks(estimates: Estimates, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Figure, sentence and table for each set of slices that differ in nothing but the number of shots."""
    blocks: list[Block] = []
    for axis in estimates.study.shots_axes:
        picture = shots_curve(estimates, axis, styles)
        if picture is None:
            continue
        blocks += [Paragraph(axis[0].without_shots.label, "heading"), Gallery((picture,))]
        compared = estimates.study.compared(axis[0])
        if compared:
            blocks += _needed(estimates, axis, compared[0])
    return (Paragraph(INTRODUCTION), *blocks) if blocks else ()


def _needed(estimates: Estimates, axis: Sequence[Slice], pair: tuple[Arm, Arm]) -> list[Block]:
    """How many shots the other arms need to reach what the first of the primary comparison reaches with each number of them."""
    study = estimates.study
    first, second = pair
    metric, step = str(study.primary["metric"]), study.primary["adaptation_step"]
    shots = [slice_.shots for slice_ in axis]
    rows, data = [], []
    of_second: list[Reach] = []
    for arm in study.arms_of(axis[0]):
        if arm.name == first.name:
            continue
        found = _reaches(estimates, axis, arm.name, first.name)
        of_second = found if arm.name == second.name else of_second
        rows.append((Cell(arm.name, numeric=False), *(Cell(_spelled(reach, shots)) for reach in found)))
        for at, reach in zip(shots, found, strict=True):
            data.append(
                {
                    "slice": axis[0].without_shots.label, "arm": arm.name, "reference": first.name, "reference_shots": at,
                    "shots_needed": reach.estimate, "low": reach.low, "high": reach.high,
                }
            )  # fmt: skip
    label = axis[0].without_shots.label
    table = Table(
        key=f"shots-{slug(label)}",
        caption=f"Shots that an arm needs for what {first.name} reaches on {label}, {study.label(metric)} after {step} adaptation steps",
        columns=("arm", *(f"{first.name}, {_counted(at)}" for at in shots)),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            "Where the arm's mean curve first reaches the level, on straight lines over the logarithm of the shots. "
            f"> {shots[-1]}: not with any number of shots measured; ≤ {shots[0]}: with the fewest already. In brackets: 95 % interval, "
            "pigeonhole bootstrap over replicates and tasks. An arm is meta-trained with the number of shots that it is measured at.",
        ),
    )
    if not of_second or all(math.isnan(reach.estimate) for reach in of_second):
        return [table]
    needed = [_bounded(reach.estimate, shots).replace(">", "more than").replace("≤", "at most") for reach in of_second]
    takes = f"{listing(needed)} shots" if len(set(needed)) > 1 else f"{needed[0]} shots each"
    counts = listing([str(at) for at in shots])
    sentence = f"On {label}, what {first.name} reaches with {counts} shots after {step} adaptation steps takes {second.name} {takes}."
    return [Paragraph(f"{sentence} Intervals are in the table.", "answer"), table]


def _reaches(estimates: Estimates, axis: Sequence[Slice], arm: str, reference: str) -> list[Reach]:
    """Shots that ``arm`` needs for what ``reference`` reaches at each number of them; undefined without common replicates and tasks."""
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    tables = [[cross(estimates.rows(slice_, name, metric, step)) for slice_ in axis] for name in (arm, reference)]
    common = _common([table for side in tables for table in side])
    if common is None:
        return [Reach(math.nan, math.nan, math.nan)] * len(axis)
    ours_KRT, theirs_KRT = (
        np.stack([as_loss(_part(table, *common), better=study.better(metric), ideal=study.ideal(metric)) for table in side])
        for side in tables
    )
    shots = [slice_.shots for slice_ in axis]
    rng = [seeds.stream("report-shots", axis[0].without_shots.label, arm, at) for at in shots]
    return [reach_interval(shots, ours_KRT, target_RT, one) for target_RT, one in zip(theirs_KRT, rng, strict=True)]


def _common(tables: Sequence[Crossed]) -> tuple[list[object], list[object]] | None:
    """Replicates and tasks that all tables have."""
    replicates = [label for label in tables[0].replicates if all(label in table.replicates for table in tables)]
    tasks = [label for label in tables[0].tasks if all(label in table.tasks for table in tables)]
    return (replicates, tasks) if replicates and tasks else None


def _part(table: Crossed, replicates: Sequence[object], tasks: Sequence[object]) -> Array:
    rows, columns = [table.replicates.index(label) for label in replicates], [table.tasks.index(label) for label in tasks]
    return table.values_RT[np.ix_(rows, columns)]


def _spelled(reach: Reach, shots: Sequence[int]) -> str:
    if math.isnan(reach.low):
        return _bounded(reach.estimate, shots)
    return f"{_bounded(reach.estimate, shots)} [{_bounded(reach.low, shots)}, {_bounded(reach.high, shots)}]"


def _bounded(needed: float, shots: Sequence[int]) -> str:
    """A number of shots within the axis, or the bound that it lies beyond."""
    if math.isinf(needed):
        return f"> {shots[-1]}"
    return f"≤ {shots[0]}" if needed <= shots[0] else number(needed, 1)


def _counted(shots: int) -> str:
    return f"{shots} shot{'s' if shots > 1 else ''}"
