"""What all extractors share that have to be prepared for the data they measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.contracts import Kind, MetricError, TaskDistribution
from bench_builtin.feature_extractors.samples import Features


@dataclass(frozen=True)
class Prepared:
    """An extractor for samples of one shape: what it computes, its name by content, and evidence of its quality."""

    shape: tuple[int, ...]
    extract: Features
    fingerprint: str
    certificate: Mapping[str, Any]


class PreparedExtractor:
    """Abstract: a subclass says in :meth:`prepare` what to compute, and is final."""

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    name: ClassVar[str]
    _prepared: Prepared | None = None

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        raise NotImplementedError

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(N, *shape) -> (N, F) float64; NaN where a sample has a NaN.

        Raises:
            MetricError: not prepared, or prepared for samples of another shape.
        """
        ready = self._ready()
        if samples.shape[1:] != ready.shape:
            raise MetricError(
                f"{self.name} was prepared for samples of shape {ready.shape}, got {samples.shape[1:]}; "
                "prepare one extractor per task distribution"
            )
        return ready.extract(samples)

    def fingerprint(self) -> str:
        """SHA-256 of weights, architecture, preprocessing and scale.

        Raises:
            MetricError: not prepared.
        """
        return self._ready().fingerprint

    def certificate(self) -> dict[str, Any]:
        """Held-out accuracy, as :func:`bench_builtin.feature_extractors.samples.one_shot_accuracy` returns it.

        Raises:
            MetricError: not prepared.
        """
        return dict(self._ready().certificate)

    def _ready(self) -> Prepared:
        if self._prepared is None:
            raise MetricError(f"{self.name} is not prepared yet; call prepare(tasks, cache) first")
        return self._prepared
