"""Features that are the samples themselves."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.contracts import Kind, TaskDistribution


class Identity:
    """Samples flattened to (N, F) float64: right wherever distances between samples already mean something."""

    kinds: ClassVar[tuple[Kind, ...]] = ("points", "signal", "regression")

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Nothing to load."""

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(N, *shape) -> (N, F) float64."""
        return np.asarray(samples, dtype=np.float64).reshape(len(samples), math.prod(samples.shape[1:]))

    def fingerprint(self) -> str:
        """A constant: no weights and no preprocessing."""
        return hashlib.sha256(b"flat float64").hexdigest()

    def certificate(self) -> dict[str, Any]:
        """Empty."""
        return {}


class Pixels:
    """Images flattened to (N, F) float64. For smoke tests: pixel distances call a blurred image better than a real one."""

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    prepare = Identity.prepare
    features = Identity.features
    fingerprint = Identity.fingerprint
    certificate = Identity.certificate
