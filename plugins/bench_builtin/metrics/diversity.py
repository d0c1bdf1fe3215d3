"""Diversity: how much of the held-out query's variety generated samples have.

Shape suffix: T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import Adapted, Kind, Output
from bench.measure import different_bins, duplicate_fraction, pairwise_distance_ratio, precision_recall, vendi_ratio
from bench_builtin.kinds import GENERATIVE


class Recall:
    """Share of real samples within the generated ones' reach, and of generated samples within the real ones'."""

    outputs: ClassVar[Mapping[str, Output]] = {
        "recall": Output("higher", 1.0, "recall", range=(0, 1)),
        "precision": Output("higher", 1.0, "precision", range=(0, 1)),
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
        "coverage": Output("higher", 1.0, "coverage", range=(0, 1)),
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


class Ndb:
    """Share of statistically different bins among all tasks' samples pooled, above what chance makes of it.

    Tasks that are equally frequent among generated and real samples by design make it slightly negative. NaN if any task is.
    """

    outputs: ClassVar[Mapping[str, Output]] = {"ndb": Output("lower", 0.0, "statistically different bins above chance, tasks pooled")}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ("ndb",)
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The share, ()."""
        fake, real = (features.reshape(1, -1, features.shape[2]) for features in (adapted.fake_features, adapted.query_features))
        return {"ndb": different_bins(fake, real).reshape(())}


class Duplicates:
    """Share of generated samples that have another one nearer than real samples are; a perfect sampler has a few hundredths."""

    outputs: ClassVar[Mapping[str, Output]] = {"duplicates": Output("lower", 0.0, "duplicate fraction", range=(0, 1))}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The share, (T,)."""
        return {"duplicates": duplicate_fraction(adapted.fake_features, adapted.query_features)}
