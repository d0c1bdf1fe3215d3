"""Task-normalised scores: 0 is a generator that knows nothing of its task, 1 is the ideal, higher is better, on one scale for all metrics.

Source of the normalisation: Agarwal et al., 2021, https://arxiv.org/abs/2108.13264, with a constant generator in the place of random play.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.errors import MetricError
from bench.stats.crossed import require
from bench.stats.direction import Better, as_loss

BASES = {"ceiling": "a constant generator", "start": "the mean of all arms at adaptation step 0"}
"""What a score of 0 stands for, in the order in which they are tried."""


@dataclass(frozen=True)
class Scale:
    """How values of one metric become scores: (base of the task - loss) / span.

    Attributes:
        base: loss of score 0 by task_id.
        span: mean over tasks of base minus the ideal's loss. One for all tasks: a small denominator of a single task would make that
            task outweigh the others.
        meaning: what scores 0.
    """

    base: pd.Series
    span: float
    meaning: str
    better: Better
    ideal: float

    def scores(self, rows: pd.DataFrame) -> pd.DataFrame:
        """``rows`` (task_id, value) with their scores as ``value``; NaN for a task that the scale does not know."""
        loss = as_loss(rows["value"], better=self.better, ideal=self.ideal)
        base = self.base.reindex(rows["task_id"]).to_numpy(dtype=np.float64)
        return rows.assign(value=(base - loss) / self.span)


def score_scale(frame: pd.DataFrame, *, better: Better = "lower", ideal: float = 0.0) -> Scale:
    """The scale of one metric on one task distribution.

    Args:
        frame: rows of all arms and adaptation steps: task_id, adaptation_step, value, ceiling (what a constant generator scores, NaN
            where undefined).
        better: which values are better.
        ideal: the value that scores 1.

    Returns:
        The scale whose base is a constant generator or, where that is undefined or already ideal, what all arms have in the mean before
        they adapt.

    Raises:
        MetricError: a column is missing, the metric has no ideal value, or neither base is worse than the ideal.
    """
    require(frame, ("task_id", "adaptation_step", "value", "ceiling"), what="a scale of scores")
    if not np.isfinite(ideal):
        raise MetricError("scores need a metric with an ideal value, which scores 1; this one has none")
    floor = float(as_loss([ideal], better=better, ideal=ideal)[0])
    start = frame[(frame["adaptation_step"] == 0).fillna(False).astype(bool)]
    bases = {
        "ceiling": _losses(frame, "ceiling", better, ideal).groupby(level=0).max(),
        "start": _losses(start, "value", better, ideal).groupby(level=0).mean(),
    }
    tasks = pd.unique(frame["task_id"])
    for name, base in bases.items():
        known = base.reindex(tasks)
        span = float(known.mean() - floor)
        if np.isfinite(known.to_numpy()).all() and span > 0:
            return Scale(known, span, BASES[name], better, ideal)
    raise MetricError(
        f"scores need a base that is worse than the ideal value {ideal:g}: neither {' nor '.join(BASES.values())} is, on every task"
    )


def _losses(rows: pd.DataFrame, column: str, better: Better, ideal: float) -> pd.Series:
    return pd.Series(as_loss(rows[column], better=better, ideal=ideal), index=pd.Index(rows["task_id"]))
