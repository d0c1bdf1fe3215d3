"""Simulated crossed designs: meta-trained replicates evaluated on all tasks, with effects of known size.

Shape suffixes: A arms, R replicates, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.stats.aggregate import Variance, total_variance
from bench.stats.crossed import Array


@dataclass(frozen=True)
class Design:
    """A crossed design of normal effects. All true means over new replicates and new tasks are 0.

    Attributes:
        replicates, tasks: of each arm.
        sd_replicate: of an arm's replicates, shared by all tasks: initialisation and order of meta-training.
        sd_task: of tasks, shared by all arms.
        sd_arm_task: of tasks, an arm's own: what suits one learner and not another.
        sd_residual: of single values.
    """

    replicates: int
    tasks: int
    sd_replicate: float = 0.3
    sd_task: float = 1.0
    sd_arm_task: float = 0.3
    sd_residual: float = 1.0

    @property
    def label(self) -> str:
        """``5 x 50``: replicates x tasks."""
        return f"{self.replicates} x {self.tasks}"

    def draw(self, rng: np.random.Generator, arms: int) -> tuple[Array, Array]:
        """Values (A, R, T), and each arm's true mean on the very tasks drawn (A,)."""
        shape = (arms, self.replicates, self.tasks)
        task_AT = self.sd_task * rng.normal(size=(1, self.tasks)) + self.sd_arm_task * rng.normal(size=(arms, self.tasks))
        replicate_AR1 = self.sd_replicate * rng.normal(size=(arms, self.replicates, 1))
        return task_AT[:, None, :] + replicate_AR1 + self.sd_residual * rng.normal(size=shape), task_AT.mean(axis=1)

    def spread_of_difference(self) -> tuple[float, float]:
        """True standard deviations (between replicates, between tasks) of the difference of two arms, as power takes them."""
        between_replicates = 2 * (self.sd_replicate**2 + self.sd_residual**2 / self.tasks)
        between_tasks = 2 * (self.sd_arm_task**2 + self.sd_residual**2 / self.replicates)
        return float(np.sqrt(between_replicates)), float(np.sqrt(between_tasks))

    def error_of_difference(self) -> float:
        """True standard error of the difference of two arms' means, as the two-way interval estimates it."""
        spread_R, spread_T = self.spread_of_difference()
        parts = [Variance(spread_R**2 / self.replicates, self.replicates - 1), Variance(spread_T**2 / self.tasks, self.tasks - 1)]
        return float(np.sqrt(total_variance(parts)[0]))


REPLICATES, TASKS = (3, 5, 10), (50, 200)
DESIGNS = tuple(Design(replicates, tasks) for replicates in REPLICATES for tasks in TASKS)
"""Numbers of replicates that papers have, few and many tasks; replicates differ by a third of what tasks and single values do."""


def frame_of(values_RT: Array) -> pd.DataFrame:
    """Tidy rows (replicate, task_id, value) of one arm, as the rules take them."""
    replicate_N, task_N = _labels(values_RT.shape)
    return pd.DataFrame({"replicate": replicate_N, "task_id": task_N, "value": values_RT.ravel()}, copy=False)


@lru_cache(maxsize=64)
def _labels(shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    replicates, tasks = np.indices(shape)
    return replicates.ravel(), tasks.ravel()
