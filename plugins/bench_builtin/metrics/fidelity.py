"""Fidelity: distances between generated samples and the held-out query.

Measured against the query, never against the support: a generator that collapses onto the support, or memorises it, is then not
rewarded, and its memorisation shows in the distance to the support.
Shape suffixes: T tasks, F features.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import Adapted, Kind, Output
from bench.measure import (
    FrechetReference,
    energy_distance,
    fid_infinity,
    fid_infinity_needs,
    frechet_distance,
    kid,
    sliced_wasserstein,
)
from bench_builtin.kinds import GENERATIVE

logger = logging.getLogger(__name__)


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
            else np.full(adapted.fake_features.shape[0], np.nan)
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

    def __init__(self) -> None:
        self._known: tuple[np.ndarray, FrechetReference, FrechetReference] | None = None

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The distance per task, (T,), and pooled, ()."""
        fake, real = adapted.fake_features, adapted.query_features
        if self._known is None or self._known[0] is not real:  # the same array at every adaptation step
            self._known = real, FrechetReference(real), FrechetReference(_pooled(real))
        _, each, pooled = self._known
        return {"fid": frechet_distance(fake, each), "fid-pooled": frechet_distance(_pooled(fake), pooled).reshape(())}


class FidInfinity:
    """Fréchet distance to the query over all tasks' samples pooled, extrapolated to unlimited samples.

    NaN where that is not possible without bias (below ``bench.measure.fid_infinity_needs(F)`` pooled samples), with a warning in the log,
    and if any task is.
    """

    outputs: ClassVar[Mapping[str, Output]] = {"fid-infinity": Output("lower", 0.0, "FID-infinity, tasks pooled")}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ("fid-infinity",)
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The distance, ()."""
        fake, real = _pooled(adapted.fake_features), _pooled(adapted.query_features)
        least = fid_infinity_needs(fake.shape[2])
        if min(fake.shape[1], real.shape[1]) < least:
            _warn_once(fake.shape[1], real.shape[1], least)
            return {"fid-infinity": np.array(np.nan)}
        return {"fid-infinity": fid_infinity(fake, real).reshape(())}


@cache
def _warn_once(generated: int, real: int, least: int) -> None:
    logger.warning(
        "fid-infinity is undefined for %d generated and %d real samples of all tasks, it needs %d of each; "
        "raise tasks.meta_test, samples or reference",
        generated,
        real,
        least,
    )


class SlicedWasserstein:
    """Sliced Wasserstein distance to the query: like a Fréchet distance, but not blind to shape, and less biased at few samples."""

    outputs: ClassVar[Mapping[str, Output]] = {"sliced-wasserstein": Output("lower", 0.0, "sliced Wasserstein distance (biased)")}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(self, *, directions: Annotated[int, Field(ge=1)] = 256) -> None:
        self.directions = directions

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The distance, (T,)."""
        return {"sliced-wasserstein": sliced_wasserstein(adapted.fake_features, adapted.query_features, directions=self.directions)}


def _pooled(features: np.ndarray) -> np.ndarray:
    """All tasks' samples as one task's, (1, T * N, F)."""
    return features.reshape(1, -1, features.shape[2])
