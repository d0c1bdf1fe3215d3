"""Sinusoid regression, where published numbers can be checked: tasks that only the support tells apart, or that the input names.

Sources: Finn, Abbeel and Levine, 2017, section 5.1, https://arxiv.org/abs/1703.03400;
Yin et al., 2020, section 6.1, https://arxiv.org/abs/1912.03820.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

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

    Args:
        meta_test: the continuum above, or the 100 tasks of the published numbers, which their authors' program draws anew from NumPy's
            legacy generator with seeds 0 to 99: query inputs are evenly spaced on [-4.5, 4.5], the support has noise twice, and its
            first input is a function of the amplitude (the generator is seeded again). Learners find them easier than the continuum.

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

    PUBLISHED: ClassVar[int] = 100

    def __init__(self, *, meta_test: Literal["continuum", "published"] = "continuum") -> None:
        self.meta_test = meta_test
        self.sample_spec = SampleSpec("regression", (1 + self.CODES,), targets=(1,))

    def size(self, split: Split) -> int | None:
        """16 tasks in meta-train, 100 published ones in meta-test; None for a continuum."""
        if split == "meta-train":
            return self.TASKS
        return self.PUBLISHED if split == "meta-test" and self.meta_test == "published" else None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Inputs ``x`` (N, 21) and targets ``y`` (N, 1).

        Raises:
            DataError: the split has no such task.
        """
        if split == "meta-test" and self.meta_test == "published":
            return self._published(task, shots, query, int(rng.integers(self.TASKS)))
        if split == "meta-train":
            check_task(task, self.TASKS, split)
            code, amplitude, measured = task, np.linspace(*self.AMPLITUDE, self.CODES)[task], self.INPUT
        else:
            code, amplitude, measured = int(rng.integers(self.TASKS)), rng.uniform(*self.AMPLITUDE), self.MEASURED

        def pairs(n: int, interval: tuple[float, float]) -> dict[str, np.ndarray]:
            x, noise = rng.uniform(*interval, size=(n, 1)), self.NOISE * rng.standard_normal((n, 1))
            return self._coded(code, x, amplitude * np.sin(x) + noise)

        return Episode(f"identified-sinusoid-{task}", pairs(shots, self.INPUT), pairs(query, measured))

    def _published(self, seed: int, shots: int, query: int, code: int) -> Episode:
        check_task(seed, self.PUBLISHED, "meta-test")
        amplitude = np.random.RandomState(seed).uniform(*self.AMPLITUDE)
        rng = np.random.RandomState(seed)
        x = rng.uniform(*self.INPUT, size=(shots, 1))
        y = amplitude * np.sin(x) + rng.normal(scale=self.NOISE, size=(shots, 1)) + rng.normal(scale=self.NOISE, size=(shots, 1))
        measured = np.linspace(*self.MEASURED, query)[:, None]
        targets = amplitude * np.sin(measured) + rng.normal(scale=self.NOISE, size=(query, 1))
        return Episode(f"published-sinusoid-{seed}", self._coded(code, x, y), self._coded(code, measured, targets))

    def _coded(self, code: int, x_N1: np.ndarray, y_N1: np.ndarray) -> dict[str, np.ndarray]:
        codes = np.tile(np.arange(self.CODES) == code, (len(x_N1), 1))
        return {"x": np.concatenate([x_N1, codes], axis=1).astype(np.float32), "y": y_N1.astype(np.float32)}

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
