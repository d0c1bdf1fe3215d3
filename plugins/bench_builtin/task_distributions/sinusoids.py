"""Sinusoid regression, where published numbers can be checked: tasks that only the support tells apart, or that the input names.

Sources: Finn, Abbeel and Levine, 2017, section 5.1, https://arxiv.org/abs/1703.03400;
Yin et al., 2020, section 6.1, https://arxiv.org/abs/1912.03820.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task


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


class IdentifiedSinusoids:
    """Sinusoids whose input names the task in meta-training, so that a learner may memorise them and never use the support.

    A sample is ``(x, code)``: x from U(-5, 5), and a one-hot code of length 20. Its target is ``amplitude * sin(x)`` with
    Gaussian noise of standard deviation 0.1, in support and query.

    - meta-train: 16 tasks. Task i has code i and the i-th of 20 amplitudes evenly spaced on [0.1, 4].
    - meta-val, meta-test: a continuum. The amplitude is U(0.1, 4) and the code one of the 16, whatever the amplitude: the code
      misleads whoever memorised, and the support alone tells. Query inputs are U(-4.5, 4.5), where the published errors are
      measured; the noise adds 0.01 to a squared error.

    Source: Yin et al., 2020, section 6.1 (non-mutually-exclusive tasks), https://arxiv.org/abs/1912.03820; that four of the 20
    codes never occur and the interval of the query are from the authors' program.
    """

    kind: ClassVar[Kind] = "regression"
    AMPLITUDE: ClassVar[tuple[float, float]] = (0.1, 4.0)
    INPUT: ClassVar[tuple[float, float]] = (-5.0, 5.0)
    MEASURED: ClassVar[tuple[float, float]] = (-4.5, 4.5)
    CODES: ClassVar[int] = 20
    TASKS: ClassVar[int] = 16
    NOISE: ClassVar[float] = 0.1

    def __init__(self) -> None:
        self.sample_spec = SampleSpec("regression", (1 + self.CODES,), targets=(1,))

    def size(self, split: Split) -> int | None:
        """16 tasks in meta-train; None elsewhere, a continuum."""
        return self.TASKS if split == "meta-train" else None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Inputs ``x`` (N, 21) and targets ``y`` (N, 1).

        Raises:
            DataError: meta-train has no such task.
        """
        if split == "meta-train":
            check_task(task, self.TASKS, split)
            code, amplitude, measured = task, np.linspace(*self.AMPLITUDE, self.CODES)[task], self.INPUT
        else:
            code, amplitude, measured = int(rng.integers(self.TASKS)), rng.uniform(*self.AMPLITUDE), self.MEASURED

        def pairs(n: int, interval: tuple[float, float]) -> dict[str, np.ndarray]:
            x, noise = rng.uniform(*interval, size=(n, 1)), self.NOISE * rng.standard_normal((n, 1))
            codes = np.tile(np.arange(self.CODES) == code, (n, 1))
            return {
                "x": np.concatenate([x, codes], axis=1).astype(np.float32),
                "y": (amplitude * np.sin(x) + noise).astype(np.float32),
            }

        return Episode(f"identified-sinusoid-{task}", pairs(shots, self.INPUT), pairs(query, measured))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
