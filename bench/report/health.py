"""Health of the games: whether their players still learn, and what the games say of themselves.

Nothing here ranks arms: what adapts other weights has gradients of other sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from bench.report.blocks import Block, Cell, Gallery, Paragraph, Table
from bench.report.costs import COSTS
from bench.report.curves import adaptation_curve, training_curve
from bench.report.estimates import Estimates
from bench.report.study import Slice, Study
from bench.report.style import Look
from bench.report.tables import estimate_cell
from bench.report.text import slug

_WORDS = (
    "Of the game that adaptation plays, not of its samples, and no ranking: arms that adapt other weights have gradients of other sizes. "
    "Gradient norm: of a player's last step. Vanishing steps: the share of its steps so far whose gradient had at most 1 % of the norm of "
    "the first one.",
    "The other measures are the game's own. A measure that is the same everywhere has no curve. Cells that diverged have no such "
    "numbers: their replicates are left out whole, and the count says so.",
)


def health_blocks(study: Study, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Table, curves over adaptation steps and over outer steps, slice by slice; nothing where no game was measured."""
    estimates = Estimates(replace(study, test=study.health))
    blocks: list[Block] = []
    for slice_ in study.slices:
        metrics = estimates.study.metrics_of(slice_)
        if metrics:
            varying = _varying(estimates.study.test_of(slice_))
            drawn = (adaptation_curve(estimates, slice_, metric, styles) for metric in metrics if metric in varying)
            pictures = tuple(picture for picture in drawn if picture is not None)
            curves = (Gallery(pictures),) if pictures else ()
            blocks += [Paragraph(slice_.label, "heading"), health_table(estimates, slice_), *curves]
    for slice_, name in study.training_slices.items():
        rows = study.training_of(slice_)
        measured = sorted(metric for metric in _varying(rows[rows["split"] == "meta-val"]) if study.about_game(metric))
        along = (training_curve(study, slice_, metric, styles, COSTS["steps"]) for metric in measured)
        pictures = tuple(picture for picture in along if picture is not None)
        if pictures:
            blocks.append(Gallery(pictures, folded=f"By outer step, on meta-val tasks of {name.label}"))
    return (*map(Paragraph, _WORDS), *blocks) if blocks else ()


def health_table(estimates: Estimates, slice_: Slice) -> Table:
    """Every measure of the game at the primary step, or at the last one where it was not taken there."""
    study = estimates.study
    steps = {metric: study.steps_of(slice_, metric) for metric in study.metrics_of(slice_)}
    primary = int(study.primary["adaptation_step"])
    at = {metric: primary if primary in taken else taken[-1] for metric, taken in steps.items()}
    cells = study.cells_of(slice_)
    rows, data = [], []
    for arm in study.arms_of(slice_):
        found = {metric: estimates.at(slice_, arm.name, metric, step) for metric, step in at.items()}
        measured = {metric: e for metric, e in found.items() if math.isfinite(e.value)}
        planned = int(cells.loc[(cells["arm"] == arm.name) & (cells["status"] != "skipped"), "replicate"].nunique())
        counted = min((e.n_replicates for e in measured.values()), default=0)
        rows.append((Cell(arm.name, numeric=False), *(estimate_cell(e) for e in found.values()), Cell(f"{counted} / {planned}")))
        data += [
            {
                "slice": slice_.label, "arm": arm.name, "metric": metric, "adaptation_step": at[metric], "estimate": e.value, "low": e.low,
                "high": e.high, "n_replicates": e.n_replicates, "n_planned": planned,
            }
            for metric, e in found.items()
        ]  # fmt: skip
    return Table(
        key=f"health-{slug(slice_.label)}",
        caption=f"Health of the game on {slice_.label}",
        columns=("arm", *(f"{study.label(metric)}, step {step}" for metric, step in at.items()), "replicates measured / planned"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
    )


def _varying(rows: pd.DataFrame) -> set[str]:
    """The measures with more than one value."""
    counts = rows.groupby("metric", observed=True)["value"].nunique()
    return {str(metric) for metric in counts.index[counts > 1]}
