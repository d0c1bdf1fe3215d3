"""Mixtures of equally likely Gaussians in the plane: every task is another ring or another grid, and its modes are known.

Sources: the ring and the grid of Srivastava et al., 2017 (VEEGAN), https://arxiv.org/abs/1705.07761, made distributions over tasks;
the fixed ones of Lin et al., 2018 (PacGAN), section 4.1, https://arxiv.org/abs/1712.04086.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import ContractError, Episode, Kind, Modes, SampleSpec, Split

Positive = Annotated[float, Field(gt=0)]
Interval = tuple[Positive, Positive]


def check_interval(name: str, interval: tuple[float, float]) -> tuple[float, float]:
    """The interval itself.

    Raises:
        ContractError: its ends are in the wrong order.
    """
    low, high = interval
    if low > high:
        raise ContractError(
            f"{name} is [lowest, highest], got [{low:g}, {high:g}]; write [{high:g}, {low:g}], or [{low:g}, {low:g}] to fix it"
        )
    return low, high


def draw_mixture(task_id: str, modes: Modes, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
    """Points (N, 2) of a mixture, support first."""

    def points(n: int) -> dict[str, np.ndarray]:
        chosen = rng.integers(len(modes.centres), size=n)
        return {"x": (modes.centres[chosen] + modes.scale * rng.standard_normal((n, 2))).astype(np.float32)}

    return Episode(task_id, points(shots), points(query), modes)


class GaussianRings:
    """Equally likely isotropic Gaussians, evenly spaced on a circle.

    At the defaults no one mixture fits all tasks while a task stays within about two units of the origin, and neighbours are at
    least 8 deviations apart. The three splits draw from the same continuum.

    PacGAN's ring, the same for all tasks: ``{modes: 8, scale: 0.01, radius: [1, 1], shift: 0, rotate: false}``.

    Args:
        modes: Gaussians per ring.
        scale: standard deviation of each, in both coordinates.
        radius: interval from which a task's radius is drawn, uniformly.
        shift: a task's centre is U(-shift, shift) in both coordinates.
        rotate: turn each task's ring by U(0, 2 pi); otherwise a mode lies to the right of the centre.
    """

    kind: ClassVar[Kind] = "points"
    has_modes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        modes: Annotated[int, Field(ge=1, le=64)] = 5,
        scale: Positive = 0.08,
        radius: Interval = (0.6, 1.2),
        shift: Annotated[float, Field(ge=0)] = 0.5,
        rotate: bool = True,
    ) -> None:
        self.modes = modes
        self.scale = scale
        self.radius = check_interval("radius", radius)
        self.shift = shift
        self.rotate = rotate
        self.sample_spec = SampleSpec("points", (2,))

    def size(self, split: Split) -> int | None:
        """None: rings are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a ring, then points (N, 2) from it."""
        radius, centre = rng.uniform(*self.radius), rng.uniform(-self.shift, self.shift, size=2)
        turn = rng.uniform(0, 2 * math.pi) if self.rotate else 0.0
        angles = turn + 2 * math.pi * np.arange(self.modes) / self.modes
        centres = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return draw_mixture(f"ring-{task}", Modes(centres, self.scale), shots=shots, query=query, rng=rng)

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""


class GaussianGrid:
    """Equally likely isotropic Gaussians on a square grid: 25 of them at the defaults.

    At the defaults neighbours are at least 30 deviations apart. The three splits draw from the same continuum.

    PacGAN's grid {-4, -2, 0, 2, 4}^2, the same for all tasks: ``{zoom: [1, 1], shift: 0, rotate: false}``.

    Args:
        side: Gaussians along an axis.
        spacing: distance of neighbours before zooming.
        scale: standard deviation of each, in both coordinates, whatever the zoom.
        zoom: interval from which the factor on a task's distances is drawn, uniformly.
        shift: a task's centre is U(-shift, shift) in both coordinates.
        rotate: turn each task's grid by U(0, pi / 2), after which it would repeat itself.
    """

    kind: ClassVar[Kind] = "points"
    has_modes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        side: Annotated[int, Field(ge=1, le=16)] = 5,
        spacing: Positive = 2.0,
        scale: Positive = 0.05,
        zoom: Interval = (0.75, 1.25),
        shift: Annotated[float, Field(ge=0)] = 1.0,
        rotate: bool = True,
    ) -> None:
        self.scale = scale
        self.zoom = check_interval("zoom", zoom)
        self.shift = shift
        self.rotate = rotate
        along = spacing * (np.arange(side) - (side - 1) / 2)
        self.grid = np.stack(np.meshgrid(along, along, indexing="ij"), axis=2).reshape(-1, 2)
        self.sample_spec = SampleSpec("points", (2,))

    def size(self, split: Split) -> int | None:
        """None: grids are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a grid, then points (N, 2) from it."""
        zoom, centre = rng.uniform(*self.zoom), rng.uniform(-self.shift, self.shift, size=2)
        turn = rng.uniform(0, math.pi / 2) if self.rotate else 0.0
        x, y = zoom * self.grid.T
        turned = np.stack([math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y], axis=1)
        return draw_mixture(f"grid-{task}", Modes(centre + turned, self.scale), shots=shots, query=query, rng=rng)

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
