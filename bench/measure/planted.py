"""Generators whose fault is planted, on tasks whose distribution is known: what a measure must tell apart before it may judge.

A task is a mixture of equally likely Gaussians. A generator sees what its fault needs: the true centres (a perfect sampler, and one
that has lost modes), or only the support (a copier). The units give distances within a mode a quarter of those between modes, and
features small enough for a cubic kernel: those of the table of collapse types in the audit.
No plugins, files or global random state.
Shape suffixes: T tasks, K modes, M generated samples, N samples, S support samples, Q query samples, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.errors import MetricError
from bench.measure.sets import Array

CENTRE_SCALE, MODE_SCALE = 0.32, 0.08
"""Standard deviations, a feature, of the centres and of the samples about their centre."""
SHRINKAGE, OVERDISPERSION = 0.6, 1.25
"""Deviations from the mean over true ones, of the shrunken generator and of the one that offers noise."""


@dataclass(frozen=True)
class MixtureTasks:
    """Tasks with known modes.

    Attributes:
        centres_TKF: of the modes.
        support_TSF: independent samples, which a generator may have adapted to.
        query_TQF: independent samples, held out.
    """

    centres_TKF: Array
    support_TSF: Array
    query_TQF: Array


class Planted(Protocol):
    """``generator(rng, tasks, samples=M) -> (T, M, F)``."""

    def __call__(self, rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
        """``samples`` generated samples for each task."""


def mixture_tasks(
    rng: np.random.Generator, *, tasks: int = 200, modes: int = 8, features: int = 64, support: int = 20, query: int = 20
) -> MixtureTasks:
    """Tasks whose modes have random centres.

    Raises:
        MetricError: fewer than 2 modes, of which half could be lost.
    """
    if modes < 2:
        raise MetricError(f"planted tasks need 2 or more modes, of which some can be lost, got {modes}")
    centres_TKF = CENTRE_SCALE * rng.normal(size=(tasks, modes, features))
    return MixtureTasks(centres_TKF, _draw(rng, centres_TKF, support), _draw(rng, centres_TKF, query))


def _draw(rng: np.random.Generator, centres_TKF: Array, n: int) -> Array:
    tasks, modes, features = centres_TKF.shape
    which_TN = rng.integers(modes, size=(tasks, n))
    return np.take_along_axis(centres_TKF, which_TN[:, :, None], axis=1) + MODE_SCALE * rng.normal(size=(tasks, n, features))


def ideal(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Samples the true distribution."""
    return _draw(rng, tasks.centres_TKF, samples)


def half_the_modes(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Samples the first half of the modes."""
    return _draw(rng, tasks.centres_TKF[:, : tasks.centres_TKF.shape[1] // 2], samples)


def one_mode(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Samples the first mode."""
    return _draw(rng, tasks.centres_TKF[:, :1], samples)


def mean(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Always offers the mean of the support."""
    return np.repeat(tasks.support_TSF.mean(axis=1, keepdims=True), samples, axis=1)


def copies(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Always offers the same support sample."""
    return np.repeat(tasks.support_TSF[:, :1], samples, axis=1)


def shrunken(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Finds all modes, too near to their mean."""
    middle_T1F = tasks.centres_TKF.mean(axis=1, keepdims=True)
    return np.asarray(middle_T1F + SHRINKAGE * (_draw(rng, tasks.centres_TKF, samples) - middle_T1F), dtype=np.float64)


def memorised_support(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Offers support samples at random."""
    which_TM = rng.integers(tasks.support_TSF.shape[1], size=(tasks.support_TSF.shape[0], samples))
    return np.take_along_axis(tasks.support_TSF, which_TM[:, :, None], axis=1)


def noise(rng: np.random.Generator, tasks: MixtureTasks, *, samples: int) -> Array:
    """Offers one Gaussian about the mean, wider than the whole mixture."""
    middle_T1F = tasks.centres_TKF.mean(axis=1, keepdims=True)
    spread = OVERDISPERSION * np.hypot(CENTRE_SCALE, MODE_SCALE)
    offsets_TMF = spread * rng.normal(size=(tasks.centres_TKF.shape[0], samples, tasks.centres_TKF.shape[2]))
    return np.asarray(middle_T1F + offsets_TMF, dtype=np.float64)


GENERATORS: Mapping[str, Planted] = {
    "ideal": ideal,
    "half-the-modes": half_the_modes,
    "one-mode": one_mode,
    "mean": mean,
    "copies": copies,
    "shrunken": shrunken,
    "memorised-support": memorised_support,
    "noise": noise,
}
"""Every planted generator by name; ``ideal`` has no fault."""
