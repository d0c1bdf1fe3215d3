"""A plain function of samples as a feature extractor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from bench.contracts import FeatureExtractor, Kind, MetricError, TaskDistribution

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PlainExtractor:
    """Nothing to prepare and nothing to certify: the function, named by its source and its hyperparameters.

    Attributes:
        name: of the component, for errors.
        function: samples (N, *shape) -> features (N, F).
        content: hash of what can change a feature.
    """

    name: str
    function: Callable[[Array], Array]
    content: str
    kinds: ClassVar[tuple[Kind, ...]] = get_args(Kind)

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Nothing to load."""

    def features(self, samples: Array) -> Array:
        """(N, *shape) -> (N, F) float64.

        Raises:
            MetricError: the function gives something else.
        """
        features = np.asarray(self.function(samples), dtype=np.float64)
        if features.ndim != 2 or len(features) != len(samples):
            raise MetricError(
                f"feature extractor {self.name!r} must give one row per sample, ({len(samples)}, F), got shape {features.shape}; "
                "flatten what it computes for a sample"
            )
        return features

    def fingerprint(self) -> str:
        """SHA-256 of the function's source and the hyperparameters."""
        return self.content

    def certificate(self) -> dict[str, Any]:
        """Empty."""
        return {}


def as_extractor(made: Any, name: str, parameters: Mapping[str, Any], source: str) -> FeatureExtractor:
    """What a factory of feature extractors made, or the plain function that it made, by its name.

    Args:
        made: a :class:`bench.contracts.FeatureExtractor`, or a function of samples.
        name: of the component.
        parameters: its hyperparameters.
        source: hash of the factory's source.
    """
    if hasattr(made, "features") or not callable(made):
        extractor: FeatureExtractor = made
        return extractor
    content = json.dumps([name, parameters, source], sort_keys=True)
    return PlainExtractor(name, made, hashlib.sha256(content.encode()).hexdigest())
