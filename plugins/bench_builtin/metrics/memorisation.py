"""Memorisation: how near to the support generated samples are, beside held-out real ones. Shape suffix: T tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bench.contracts import Adapted, Kind, Output
from bench.measure import data_copying, nearest_support_ratio, support_query_gap
from bench_builtin.kinds import GENERATIVE


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
        gap_T = support_query_gap(fake, query, support) if support.shape[1] > 1 else np.full(fake.shape[0], np.nan)
        return {"novelty": nearest_support_ratio(fake, query, support), "energy-gap": gap_T}


class DataCopying:
    """Data-copying test: z of the distances to the nearest support sample, generated against held-out real samples.

    About -2 and below means copies, about 2 and above samples that stay away from real data; it grows with the number of samples.
    """

    outputs: ClassVar[Mapping[str, Output]] = {"data-copying": Output("closer", 0.0, "data-copying z (below 0: copies)")}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The z value, (T,)."""
        return {"data-copying": data_copying(adapted.fake_features, adapted.query_features, adapted.support_features)}
