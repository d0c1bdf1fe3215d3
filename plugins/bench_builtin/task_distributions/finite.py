"""Drawing an episode from a class with finitely many samples."""

from __future__ import annotations

import numpy as np

from bench.contracts import DataError, Episode


def check_task(task: int, size: int, split: str) -> None:
    """Refuse a task number outside a split.

    Raises:
        DataError: ``task`` is not in ``range(size)``.
    """
    if not 0 <= task < size:
        raise DataError(f"{split} has {size} tasks, numbered from 0: there is no task {task}")


def draw_episode(task_id: str, samples: np.ndarray, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
    """An episode of different ``samples`` (N, ...), support first.

    Raises:
        DataError: ``shots + query`` exceeds N.
    """
    if shots + query > len(samples):
        raise DataError(
            f"task {task_id} has {len(samples)} samples, but shots + query = {shots} + {query} were asked for; "
            "lower shots, query or reference in the suite's protocol"
        )
    # A permutation of all samples, so that the support does not depend on how many queries follow.
    chosen = samples[rng.permutation(len(samples))[: shots + query]]
    return Episode(task_id, {"x": chosen[:shots]}, {"x": chosen[shots:]})
