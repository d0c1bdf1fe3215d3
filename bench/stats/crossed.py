"""Replicate x task table of one cell, from a tidy frame with named columns.

One meta-trained replicate is evaluated on all tasks, so both are crossed and both are sources of variance.
Shape suffixes: R replicates, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.errors import MetricError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Crossed:
    """Values of one arm.

    Attributes:
        values_RT: mean over the rows of a replicate and task; NaN where undefined.
        replicates, tasks: labels of the axes, sorted.
        dropped: replicates left out because they lack rows that others have.
    """

    values_RT: Array
    replicates: tuple[Any, ...]
    tasks: tuple[Any, ...]
    dropped: tuple[Any, ...] = ()

    def problem(self) -> str:
        """Why there is no estimate, or an empty string."""
        if self.values_RT.size == 0:
            return "no complete replicate" if self.dropped else "no values"
        undefined = int((~np.isfinite(self.values_RT)).sum())
        return f"{undefined} of {self.values_RT.size} values are undefined" if undefined else ""

    def of_tasks(self, tasks: list[Any]) -> Array:
        """Values of some tasks, in the order asked for, (R, tasks)."""
        place = {task: column for column, task in enumerate(self.tasks)}
        return self.values_RT[:, [place[task] for task in tasks]]

    def note(self) -> str:
        """What a reader must know about the table, or an empty string."""
        return f"incomplete replicates left out: {', '.join(map(str, self.dropped))}" if self.dropped else ""


def require(frame: pd.DataFrame, columns: Iterable[str], *, what: str) -> None:
    """Check that ``frame`` has ``columns``.

    Raises:
        MetricError: one is missing.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise MetricError(f"{what} needs the columns {', '.join(missing)}; the frame has {', '.join(map(str, frame.columns))}")


def cross(frame: pd.DataFrame) -> Crossed:
    """Arrange ``frame`` (columns replicate, task_id, value; optionally task_distribution) by replicate and task.

    Tasks of different distributions stay apart. Several rows of one replicate and task (cells that share them) are averaged; a
    replicate that lacks rows which another has is left out whole, never averaged over what is there.

    Raises:
        MetricError: a column is missing, or a row has no replicate.
    """
    require(frame, ("replicate", "task_id", "value"), what="a replicate x task table")
    values = pd.to_numeric(frame["value"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    replicate_codes, replicates = pd.factorize(frame["replicate"], sort=True)
    if (replicate_codes < 0).any():
        raise MetricError("a replicate x task table needs a replicate in every row; leave out rows without one")
    task_codes, tasks = _tasks(frame)
    cells = replicate_codes * len(tasks) + task_codes
    shape = len(replicates), len(tasks)
    totals, counts = (np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape) for weights in (values, None))
    complete = (counts == counts.max(axis=0, initial=0)).all(axis=1)
    labels = [label.item() if isinstance(label, np.generic) else label for label in replicates]
    return Crossed(
        values_RT=totals[complete] / counts[complete],
        replicates=tuple(label for label, keep in zip(labels, complete, strict=True) if keep),
        tasks=tuple(tasks),
        dropped=tuple(label for label, keep in zip(labels, complete, strict=True) if not keep),
    )


def common_tasks(a: Crossed, b: Crossed) -> tuple[Array, Array, list[Any]]:
    """Values of two arms on the tasks that both have, and these tasks."""
    there = set(b.tasks)
    tasks = [task for task in a.tasks if task in there]
    return a.of_tasks(tasks), b.of_tasks(tasks), tasks


def _tasks(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Code of each row's task, and the tasks in order: with their distributions, where the frame has these."""
    codes, tasks = _factorize(frame["task_id"])
    if "task_distribution" not in frame.columns:
        return codes, tasks
    place_codes, places = _factorize(frame["task_distribution"])
    pairs, codes = np.unique(place_codes * len(tasks) + codes, return_inverse=True)
    return codes, [(places[pair // len(tasks)], tasks[pair % len(tasks)]) for pair in pairs]


def _factorize(labels: pd.Series) -> tuple[npt.NDArray[np.int64], list[Any]]:
    codes, found = pd.factorize(labels, use_na_sentinel=False)
    values = found.tolist()
    order = sorted(range(len(values)), key=values.__getitem__)
    return np.argsort(order)[codes], [values[place] for place in order]
