"""Sinusoid regression: the task of the MAML paper, where a published curve can be checked.

Source: Finn, Abbeel and Levine, 2017, section 5.1, https://arxiv.org/abs/1703.03400.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from bench.contracts import Episode, Kind, SampleSpec, Split


class Sinusoids:
    """Inputs U(-5, 5) and targets ``amplitude * sin(x + phase)``, with amplitude U(0.1, 5) and phase U(0, pi) per task.

    The three splits draw from the same continuum.
    """

    kind: ClassVar[Kind] = "regression"
    AMPLITUDE: ClassVar[tuple[float, float]] = (0.1, 5.0)
    PHASE: ClassVar[tuple[float, float]] = (0.0, math.pi)
    INPUT: ClassVar[tuple[float, float]] = (-5.0, 5.0)

    def __init__(self) -> None:
        self.sample_spec = SampleSpec("regression", (1,), targets=(1,))

    def size(self, split: Split) -> int | None:
        """None: sinusoids are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw amplitude and phase, then inputs ``x`` (N, 1) and targets ``y`` (N, 1)."""
        amplitude, phase = rng.uniform(*self.AMPLITUDE), rng.uniform(*self.PHASE)

        def pairs(n: int) -> dict[str, np.ndarray]:
            x = rng.uniform(*self.INPUT, size=(n, 1))
            return {"x": x.astype(np.float32), "y": (amplitude * np.sin(x + phase)).astype(np.float32)}

        return Episode(f"sinusoid-{task}", pairs(shots), pairs(query))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
