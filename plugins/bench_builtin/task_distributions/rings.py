"""Mixtures of Gaussians on a ring in the plane: every task is another ring, and its modes are known.

Source: the ring of Srivastava et al., 2017 (VEEGAN), https://arxiv.org/abs/1705.07761, made a distribution over tasks.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import Episode, Kind, Modes, SampleSpec, Split


class GaussianRings:
    """Equally likely isotropic Gaussians, evenly spaced on a circle.

    Per task: radius U(0.6, 1.2), rotation U(0, 2 pi), centre U(-0.5, 0.5) in both coordinates, so that no one mixture fits all
    tasks while a task stays within about two units of the origin. The three splits draw from the same continuum.

    Args:
        modes: Gaussians per ring.
        scale: standard deviation of each, in both coordinates; at the defaults neighbours are at least 8 deviations apart.
    """

    kind: ClassVar[Kind] = "points"
    has_modes: ClassVar[bool] = True
    RADIUS: ClassVar[tuple[float, float]] = (0.6, 1.2)
    CENTRE: ClassVar[tuple[float, float]] = (-0.5, 0.5)

    def __init__(self, *, modes: Annotated[int, Field(ge=1, le=64)] = 5, scale: Annotated[float, Field(gt=0)] = 0.08) -> None:
        self.modes = modes
        self.scale = scale
        self.sample_spec = SampleSpec("points", (2,))

    def size(self, split: Split) -> int | None:
        """None: rings are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a ring, then points (N, 2) from it."""
        radius, centre = rng.uniform(*self.RADIUS), rng.uniform(*self.CENTRE, size=2)
        angles = rng.uniform(0, 2 * math.pi) + 2 * math.pi * np.arange(self.modes) / self.modes
        centres = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

        def points(n: int) -> dict[str, np.ndarray]:
            chosen = rng.integers(self.modes, size=n)
            return {"x": (centres[chosen] + self.scale * rng.standard_normal((n, 2))).astype(np.float32)}

        return Episode(f"ring-{task}", points(shots), points(query), Modes(centres, self.scale))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
