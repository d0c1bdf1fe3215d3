"""One-dimensional signals: a task is a class of waveforms, as one instrument is.

Shape suffixes: N samples, H harmonics, L time steps.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import Episode, Kind, SampleSpec, Split

HARMONICS = 6


@cache
def fourier() -> np.ndarray:
    """Sine coefficients (4, 6) of sine, square, saw and triangle waves of amplitude 1, fundamental first."""
    n = np.arange(1, HARMONICS + 1)
    odd = n % 2 == 1
    square = np.where(odd, 4 / (math.pi * n), 0.0)
    saw = -2 / (math.pi * n) * (-1.0) ** n
    triangle = np.where(odd, 8 / (math.pi * n) ** 2 * (-1.0) ** ((n - 1) // 2), 0.0)
    return np.stack([np.where(n == 1, 1.0, 0.0), square, saw, triangle])


class Waveforms:
    """A task is a spectrum, a band of pitches and an envelope; its samples (1, L) differ in pitch, phase, loudness and noise.

    A sample is ``amplitude * envelope(t) * wave(pitch * t + phase) + noise`` at L times t in [0, 1).

    - wave: sine, square, saw and triangle mixed with Dirichlet(1, 1, 1, 1) weights, cut after 1 to 6 harmonics so that nothing lies
      beyond the highest frequency that 64 steps hold, then scaled to mean square 1. It is the task's own.
    - pitch, in periods per signal: U(low, 1.2 low) per sample, with low from U(1, 4) per task.
    - envelope: ``1 - depth * sin(pi (t - peak))^2``, with depth and peak from U(0, 1) per task.
    - phase U(0, 1), amplitude U(0.5, 1) and noise N(0, noise^2) per sample.

    As phases are uniform, the mean is 0 and the variance at time t is ``7/12 * envelope(t)^2 + noise^2``. The three splits draw from
    the same continuum.

    Args:
        length: time steps L.
        noise: standard deviation.
    """

    kind: ClassVar[Kind] = "signal"
    PITCH: ClassVar[tuple[float, float]] = (1.0, 4.0)
    BAND: ClassVar[float] = 1.2
    AMPLITUDE: ClassVar[tuple[float, float]] = (0.5, 1.0)

    def __init__(
        self, *, length: Annotated[int, Field(ge=64, le=4096, multiple_of=4)] = 64, noise: Annotated[float, Field(ge=0)] = 0.05
    ) -> None:
        self.length = length
        self.noise = noise
        self.sample_spec = SampleSpec("signal", (1, length))

    def size(self, split: Split) -> int | None:
        """None: waveforms are a continuum."""
        return None

    def draw_task(self, rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray]:
        """Spectrum (6,) of mean square 1, lowest pitch, and envelope (L,): what an episode draws first from ``rng``."""
        spectrum = rng.dirichlet(np.ones(4)) @ fourier()
        spectrum[rng.integers(1, HARMONICS + 1) :] = 0  # at least the fundamental is left
        lowest, (depth, peak) = rng.uniform(*self.PITCH), rng.random(2)
        envelope = 1 - depth * np.sin(math.pi * (self.times - peak)) ** 2
        # Parseval: a sine of amplitude c has the mean square c^2 / 2.
        return spectrum / math.sqrt(np.square(spectrum).sum() / 2), lowest, envelope

    @property
    def times(self) -> np.ndarray:
        """(L,) in [0, 1)."""
        return np.arange(self.length) / self.length

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a class of waveforms, then signals (N, 1, L) from it."""
        spectrum, lowest, envelope = self.draw_task(rng)

        def signals(n: int) -> dict[str, np.ndarray]:
            pitch, phase = rng.uniform(lowest, self.BAND * lowest, size=(n, 1)), rng.random((n, 1))
            angle_NL = 2 * math.pi * (pitch * self.times + phase)
            wave_NL = sum(amount * np.sin(number * angle_NL) for number, amount in enumerate(spectrum, start=1))
            loud_NL = rng.uniform(*self.AMPLITUDE, size=(n, 1)) * envelope * wave_NL
            return {"x": (loud_NL + self.noise * rng.standard_normal((n, self.length))).astype(np.float32)[:, None]}

        return Episode(f"waveform-{task}", signals(shots), signals(query))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
