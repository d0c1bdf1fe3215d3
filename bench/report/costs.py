"""What can stand on a cost axis: the budget in its several currencies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.errors import UsageError, did_you_mean
from bench.report.study import ENDED, Slice, Study
from bench.report.text import quantity


@dataclass(frozen=True)
class Cost:
    """One currency.

    Attributes:
        column: of the ledger.
        label: how it reads.
    """

    column: str
    label: str

    def of(self, study: Study, slice_: Slice, arm: str) -> float:
        """Mean over the cells of an arm that ended, evaluation left out of seconds; NaN where it was not recorded."""
        cells = study.cells_of(slice_)
        cells = cells[(cells["arm"] == arm) & cells["status"].isin(ENDED)]
        if self.column not in cells:
            return math.nan
        spent = cells[self.column].astype(float).to_numpy()
        if self.column == "seconds":
            spent = spent - np.nan_to_num(cells["evaluation_seconds"].astype(float).to_numpy())
        spent = spent[np.isfinite(spent)]
        return float(spent.mean()) if spent.size else math.nan


COSTS: Mapping[str, Cost] = {
    "steps": Cost("outer_steps", "outer steps"),
    "gradients": Cost("gradient_evaluations", "gradient evaluations"),
    "samples": Cost("samples_seen", "real samples seen"),
    "flops": Cost("flops", "FLOPs"),
    "seconds": Cost("seconds", "seconds of training"),
}
"""By the word that ``bench report --x`` takes. A warm start is part of each but of the outer steps."""
TOLERANCE = 0.02
"""Relative; an outer step is whole, so arms end some evaluations apart."""
CURRENCIES = ("gradients", "samples", "flops", "seconds")
"""Drawn where none is asked for: outer steps of different learners are no common currency."""


def costs_for(x: str | None) -> tuple[Cost, ...]:
    """The costs to draw: the one that was asked for, or all of :data:`CURRENCIES`.

    Raises:
        UsageError: ``x`` is another word.
    """
    if x is None:
        return tuple(COSTS[word] for word in CURRENCIES)
    if x not in COSTS:
        raise UsageError(f"unknown x axis {x!r}.{did_you_mean(x, COSTS)} Known: {', '.join(COSTS)}")
    return (COSTS[x],)


def unequal_spending(study: Study) -> list[str]:
    """A sentence for each slice whose arms that meta-trained did not spend the same budget: what was measured, not what was planned."""
    told = []
    gradients = COSTS["gradients"]
    for slice_ in study.slices:
        spent = {arm.name: gradients.of(study, slice_, arm.name) for arm in study.arms_of(slice_)}
        spent = {name: value for name, value in spent.items() if value > 0}
        if spent and max(spent.values()) > (1 + TOLERANCE) * min(spent.values()):
            most, least = max(spent, key=lambda name: spent[name]), min(spent, key=lambda name: spent[name])
            told.append(
                f"spent on {slice_.label}: {most} {quantity(spent[most])} {gradients.label} a cell, {least} {quantity(spent[least])}; read "
                "quality beside cost"
            )
    return told
