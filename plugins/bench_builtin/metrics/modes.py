"""Known modes: how many a generator finds, how evenly, and how well it hits them. Shape suffix: T tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from bench.contracts import Adapted, Kind, MetricError, Modes, Output
from bench.measure import ModeCounts, count_modes, expected_high_quality, expected_modes, pad_centres, reverse_kl


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

    outputs: ClassVar[Mapping[str, Output]] = {
        "high-quality": Output("higher", expected_high_quality(2), "high-quality samples", range=(0, 1))
    }
    kinds: ClassVar[tuple[Kind, ...]] = ("points",)
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The share, (T,)."""
        return {"high-quality": _count(adapted).high_quality()}


def _count(adapted: Adapted) -> ModeCounts:
    modes: Sequence[Modes] | None = adapted.modes
    if modes is None:
        raise MetricError("modes and high-quality need tasks with known modes; leave them out, or name a task distribution with modes")
    return count_modes(adapted.fake, pad_centres([mode.centres for mode in modes]), np.array([mode.scale for mode in modes]))
