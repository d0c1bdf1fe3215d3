"""Fidelity, diversity, known modes and memorisation: how :mod:`bench.measure` reads adapted samples.

Fidelity and diversity are measured against the held-out query, never against the support: a generator that collapses onto the
support, or memorises it, is then not rewarded, and its memorisation shows in the distance to the support.
Shape suffixes: T tasks, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import Adapted, Kind, MetricError, Modes, Output
from bench.measure import (
    ModeCounts,
    count_modes,
    energy_distance,
    expected_high_quality,
    expected_modes,
    frechet_distance,
    kid,
    nearest_support_ratio,
    pad_centres,
    pairwise_distance_ratio,
    precision_recall,
    reverse_kl,
    support_query_gap,
    vendi_ratio,
)

GENERATIVE: tuple[Kind, ...] = ("image", "points", "signal")


class Energy:
    """Unbiased energy distance to the query (the headline), and to the support as its memorisation companion.

    A distance to the support well below that to the query means memorisation. NaN to a support of one sample.
    """

    outputs: ClassVar[Mapping[str, Output]] = {
        "energy": Output("lower", 0.0, "energy distance"),
        "energy-to-support": Output("closer", 0.0, "energy distance to the support"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both distances, (T,)."""
        to_support_T = (
            energy_distance(adapted.fake_features, adapted.support_features)
            if adapted.support_features.shape[1] > 1
            else _undefined(adapted)
        )
        return {"energy": energy_distance(adapted.fake_features, adapted.query_features), "energy-to-support": to_support_T}


class Kid:
    """Kernel inception distance to the query, unbiased, for comparison with the literature."""

    outputs: ClassVar[Mapping[str, Output]] = {"kid": Output("lower", 0.0, "KID")}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The distance, (T,)."""
        return {"kid": kid(adapted.fake_features, adapted.query_features)}


class Fid:
    """Fréchet distance to the query: per task, biased where samples are fewer than features, and over all tasks' samples pooled.

    The pooled value is NaN if any task is: nothing is pooled over survivors.
    """

    outputs: ClassVar[Mapping[str, Output]] = {
        "fid": Output("lower", 0.0, "Fréchet distance per task (biased: few samples)"),
        "fid-pooled": Output("lower", 0.0, "Fréchet distance, tasks pooled"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ("fid-pooled",)
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The distance per task, (T,), and pooled, ()."""
        fake, real = adapted.fake_features, adapted.query_features
        pooled = frechet_distance(fake.reshape(1, -1, fake.shape[2]), real.reshape(1, -1, real.shape[2]))
        return {"fid": frechet_distance(fake, real), "fid-pooled": pooled.reshape(())}


class Recall:
    """Share of real samples within the generated ones' reach, and of generated samples within the real ones'."""

    outputs: ClassVar[Mapping[str, Output]] = {
        "recall": Output("higher", 1.0, "recall"),
        "precision": Output("higher", 1.0, "precision"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(self, *, neighbours: Annotated[int, Field(ge=1)] = 3) -> None:
        self.neighbours = neighbours

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both shares, (T,)."""
        shares = precision_recall(adapted.fake_features, adapted.query_features, most=self.neighbours)
        return {"recall": shares.recall, "precision": shares.precision}


class Coverage:
    """Share of real samples with a generated one nearby, and the generated samples' density there.

    A perfect sampler covers ``bench.measure.expected_coverage(n_real, n_fake)``, less than 1, and a collapse onto the centre can
    cover 1: read it beside recall.
    """

    outputs: ClassVar[Mapping[str, Output]] = {
        "coverage": Output("higher", 1.0, "coverage"),
        "density": Output("closer", 1.0, "density"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(self, *, neighbours: Annotated[int, Field(ge=1)] = 3) -> None:
        self.neighbours = neighbours

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both values, (T,)."""
        shares = precision_recall(adapted.fake_features, adapted.query_features, most=self.neighbours)
        return {"coverage": shares.coverage, "density": shares.density}


class Vendi:
    """Diversity over that of real samples: of directions (Vendi) and of distances; directions are seen from the support's mean."""

    outputs: ClassVar[Mapping[str, Output]] = {
        "vendi": Output("closer", 1.0, "Vendi score / real"),
        "pairwise-distance": Output("closer", 1.0, "pairwise distance / real"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both ratios, (T,)."""
        fake, real = adapted.fake_features, adapted.query_features
        return {
            "vendi": vendi_ratio(fake, real, adapted.support_features.mean(axis=1)),
            "pairwise-distance": pairwise_distance_ratio(fake, real),
        }


class KnownModes:
    """Modes found over the number that a perfect sampler finds with as many samples, and the imbalance among them.

    Without a high-quality sample the imbalance is that of a single mode, log K, the worst value.
    """

    outputs: ClassVar[Mapping[str, Output]] = {
        "modes": Output("higher", 1.0, "modes found / expected"),
        "reverse-kl": Output("lower", 0.0, "reverse KL over modes"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = ("points",)
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both values, (T,)."""
        counts = _count(adapted)
        expected_T = expected_modes(counts.n_modes_T, counts.n_samples, high_quality=expected_high_quality(adapted.fake.shape[2]))
        none_T = counts.high_quality() == 0
        return {
            "modes": counts.found() / expected_T,
            "reverse-kl": np.where(none_T, np.log(counts.n_modes_T), reverse_kl(counts)),
        }


class HighQuality:
    """Share of samples within three standard deviations of a known mode; 0.989 for a perfect sampler in the plane, not 1."""

    outputs: ClassVar[Mapping[str, Output]] = {"high-quality": Output("higher", expected_high_quality(2), "high-quality samples")}
    kinds: ClassVar[tuple[Kind, ...]] = ("points",)
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The share, (T,)."""
        return {"high-quality": _count(adapted).high_quality()}


class Memorisation:
    """Distance to the nearest support sample over that of real samples (0: copies), and the energy gap between query and support."""

    outputs: ClassVar[Mapping[str, Output]] = {
        "novelty": Output("closer", 1.0, "distance to nearest support / real"),
        "energy-gap": Output("closer", 0.0, "energy to query - energy to support"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both values, (T,); the gap is NaN for a support of one sample."""
        fake, query, support = adapted.fake_features, adapted.query_features, adapted.support_features
        gap_T = support_query_gap(fake, query, support) if support.shape[1] > 1 else _undefined(adapted)
        return {"novelty": nearest_support_ratio(fake, query, support), "energy-gap": gap_T}


def _undefined(adapted: Adapted) -> np.ndarray:
    return np.full(adapted.fake_features.shape[0], np.nan)


def _count(adapted: Adapted) -> ModeCounts:
    modes: Sequence[Modes] | None = adapted.modes
    if modes is None:
        raise MetricError("modes and high-quality need tasks with known modes; leave them out, or name a task distribution with modes")
    return count_modes(adapted.fake, pad_centres([mode.centres for mode in modes]), np.array([mode.scale for mode in modes]))
