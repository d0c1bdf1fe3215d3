"""Principal components of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import MetricError, TaskDistribution
from bench_builtin.feature_extractors import artefact
from bench_builtin.feature_extractors.prepared import Prepared, PreparedExtractor
from bench_builtin.feature_extractors.samples import (
    PER_TASK,
    Features,
    Preprocessing,
    in_batches,
    mean_spread,
    meta_train_samples,
    one_shot_accuracy,
)

SAMPLES = 1024  # at least: the components of 64 are steady, and colour images of 64 pixels take seconds
PER_COMPONENT = 4
BATCH = 64


@dataclass(frozen=True)
class Basis:
    """Directions of largest variance, with everything else that can change a feature.

    Attributes:
        mean: of the preprocessed pixels, (D,) float64.
        axes: orthonormal columns (D, F) float64, largest variance first; the largest entry of each is positive.
        scale: what features are divided by: their mean standard deviation over meta-train.
        certificate: evidence of quality; not part of the fingerprint.
    """

    mean: Tensor
    axes: Tensor
    preprocessing: Preprocessing
    scale: float = 1.0
    certificate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is kept."""
        return {"mean": self.mean, "axes": self.axes}

    def fingerprint(self) -> str:
        """SHA-256 of mean, axes, preprocessing and scale."""
        content = {"basis": artefact.tensors_hash(self.tensors), "preprocessing": self.preprocessing.record(), "scale": self.scale}
        return artefact.canonical_hash(content)

    def extractor(self) -> Features:
        """The map (N, *shape) -> (N, F)."""

        def project(pixels_NCHW: Tensor) -> Tensor:
            return (pixels_NCHW.flatten(1).double() - self.mean) @ self.axes / self.scale

        def features(samples: np.ndarray) -> np.ndarray:
            return in_batches(project, self.preprocessing(samples), size=BATCH, features=self.axes.shape[1])

        return features


class Pca(PreparedExtractor):
    """Principal components of meta-train images, not whitened: distances are those of pixels without their finest noise.

    Args:
        components: features.
    """

    name: ClassVar[str] = "pca"

    def __init__(self, *, components: Annotated[int, Field(ge=1)] = 64) -> None:
        self.components = components

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Load the cached components of ``tasks``, or fit them on meta-train; any number of processes may do so at once.

        Raises:
            MetricError: samples have fewer numbers than components are asked for, meta-train is empty, or a file is damaged.
        """
        seen = Preprocessing.of(tasks.sample_spec)
        making = {"extractor": self.name, "version": 1, "components": self.components, "samples": SAMPLES, "preprocessing": seen.record()}
        name = f"{self.name}-{artefact.recipe(tasks, making, shots=PER_TASK, query=0)[:16]}"
        pointer = Path(cache) / f"{name}.json"
        if not pointer.exists():
            basis = fit(tasks, self.components)
            record = {"fingerprint": basis.fingerprint(), "scale": basis.scale, "certificate": dict(basis.certificate)}
            artefact.save(Path(cache), name, kind=self.name, tensors=basis.tensors, record={**record, "data": tasks.fingerprint()})
        basis = artefact.load(pointer, partial(_basis, seen))
        self._prepared = Prepared(seen.shape, basis.extractor(), basis.fingerprint(), basis.certificate)


def _basis(seen: Preprocessing, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Basis:
    return Basis(tensors["mean"], tensors["axes"], seen, record["scale"], record["certificate"])


def fit(tasks: TaskDistribution, components: int) -> Basis:
    """The leading principal components of meta-train samples, with their scale and what they are worth on held-out classes.

    Raises:
        MetricError: samples have fewer numbers than components are asked for, or meta-train is empty.
    """
    seen = Preprocessing.of(tasks.sample_spec)
    numbers = int(np.prod(seen.shape))
    if components > numbers:
        raise MetricError(
            f"pca: {components} components are asked for, but samples of shape {seen.shape} have {numbers} numbers; "
            f"set components to {numbers} or less"
        )
    samples = meta_train_samples(tasks, max(SAMPLES, PER_COMPONENT * components), of=Pca.name)
    pixels_ND = seen(samples).flatten(1).double()
    mean = pixels_ND.mean(0)
    axes = torch.linalg.svd(pixels_ND - mean, full_matrices=False).Vh[:components].T
    # A direction is one up to its sign; with the largest entry positive there is one basis.
    axes = (axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()).contiguous()
    scale = mean_spread(Basis(mean, axes, seen).extractor()(samples))
    return Basis(mean, axes, seen, scale, one_shot_accuracy(Basis(mean, axes, seen, scale).extractor(), tasks))
