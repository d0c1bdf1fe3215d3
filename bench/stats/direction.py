"""Which of two values is the better one, whatever a metric's direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.contracts import Output
from bench.errors import MetricError

Better = Literal["lower", "higher", "closer"]
Outputs = Mapping[str, Output]
"""How each metric name reads; a name that is not in it reads as lower-is-better."""


def as_loss(values: npt.ArrayLike, *, better: Better = "lower", ideal: float = 0.0) -> npt.NDArray[np.float64]:
    """Values turned so that lower is better: themselves, their negatives, or their distances to ``ideal``.

    Raises:
        MetricError: ``better`` is another word.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if better == "lower":
        return numbers
    if better == "higher":
        return -numbers
    if better == "closer":
        return np.abs(numbers - ideal)
    raise MetricError(f"a metric is better 'lower', 'higher' or 'closer', got {better!r}")


def reading(metric: str, outputs: Outputs | None) -> Output:
    """How ``metric`` reads."""
    return (outputs or {}).get(metric, Output("lower", 0.0, metric))
