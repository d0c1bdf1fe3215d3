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
    _check_number(task_id, len(samples), shots, query)
    # A permutation of all samples, so that the support does not depend on how many queries follow.
    chosen = samples[rng.permutation(len(samples))[: shots + query]]
    return Episode(task_id, {"x": chosen[:shots]}, {"x": chosen[shots:]})


def draw_numbers(task_id: str, available: int, *, shots: int, query: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Different numbers below ``available``, (S,) and (Q,): for samples too many to permute, or made only once they are chosen.

    As in :func:`draw_episode`, the support does not depend on how many queries follow.

    Raises:
        DataError: ``shots + query`` exceeds ``available``.
    """
    _check_number(task_id, available, shots, query)
    support = rng.choice(available, size=shots, replace=False)
    ranks = rng.choice(available - shots, size=query, replace=False)  # among the numbers that the support leaves
    left_below = np.sort(support) - np.arange(shots)
    return support, ranks + np.searchsorted(left_below, ranks, side="right")


def _check_number(task_id: str, available: int, shots: int, query: int) -> None:
    if shots + query > available:
        raise DataError(
            f"task {task_id} has {available} samples, but shots + query = {shots} + {query} were asked for; "
            "lower shots, query or reference in the suite's protocol"
        )
