"""Point clouds that theory knows: a single point, a single Gaussian, and spirals. Tasks are a continuum, the same in every split."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.mixtures import Interval, check_interval

Features = Annotated[int, Field(ge=1, le=1024)]


class Dirac:
    """A task is one point c, drawn from U(-reach, reach) in each coordinate, and every sample is c.

    Where gradient play circles, and what a penalty does about it, can be computed by hand here. Support and query are equal, not
    disjoint, since there is nothing else to draw.

    Source: Mescheder, Geiger and Nowozin, 2018, section 2 (there with c = 0 and one coordinate), https://arxiv.org/abs/1801.04406.

    Args:
        features: coordinates of a point.
        reach: largest distance of a coordinate from 0.
    """

    kind: ClassVar[Kind] = "points"

    def __init__(self, *, features: Features = 1, reach: Annotated[float, Field(ge=0)] = 1.0) -> None:
        self.reach = reach
        self.sample_spec = SampleSpec("points", (features,))

    def size(self, split: Split) -> int | None:
        """None: points are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a point, then repeat it."""
        point = rng.uniform(-self.reach, self.reach, size=self.sample_spec.shape).astype(np.float32)
        return Episode(f"dirac-{task}", {"x": np.tile(point, (shots, 1))}, {"x": np.tile(point, (query, 1))})

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""


class Gaussians:
    """A task is one Gaussian, whose mean and covariance are known: Fréchet and 2-Wasserstein distances have closed forms.

    The mean is U(-reach, reach) in each coordinate; the standard deviations along the axes are log-uniform in ``scale``; the axes are
    those of the space, or turned by a uniformly random orthogonal matrix.

    Args:
        features: coordinates of a point.
        reach: largest distance of a coordinate of the mean from 0.
        scale: interval of the standard deviations.
        covariance: ``full`` turns the axes, ``diagonal`` does not, ``isotropic`` has one standard deviation for all of them.
    """

    kind: ClassVar[Kind] = "points"

    def __init__(
        self,
        *,
        features: Features = 2,
        reach: Annotated[float, Field(ge=0)] = 1.0,
        scale: Interval = (0.1, 0.5),
        covariance: Literal["full", "diagonal", "isotropic"] = "full",
    ) -> None:
        self.features = features
        self.reach = reach
        self.scale = check_interval("scale", scale)
        self.covariance = covariance
        self.sample_spec = SampleSpec("points", (features,))

    def size(self, split: Split) -> int | None:
        """None: Gaussians are a continuum."""
        return None

    def draw_task(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mean (F,), and a root (F, F) of the covariance ``root @ root.T``: what an episode draws first from ``rng``."""
        mean = rng.uniform(-self.reach, self.reach, size=self.features)
        low, high = np.log(self.scale)
        logarithms = rng.uniform(low, high, size=1 if self.covariance == "isotropic" else self.features)
        deviations = np.broadcast_to(np.exp(logarithms), self.features)
        if self.covariance != "full":
            return mean, np.diag(deviations)
        axes, triangle = np.linalg.qr(rng.standard_normal((self.features, self.features)))
        # QR leaves the signs of the columns to the algorithm; these make the matrix uniform (Mezzadri, 2007).
        return mean, axes * np.sign(np.diag(triangle)) * deviations

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a Gaussian, then points (N, F) from it."""
        mean, root = self.draw_task(rng)

        def points(n: int) -> dict[str, np.ndarray]:
            return {"x": (mean + rng.standard_normal((n, self.features)) @ root.T).astype(np.float32)}

        return Episode(f"gaussian-{task}", points(shots), points(query))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""


class Spirals:
    """Points on the arms of an Archimedean spiral: radius t and angle 2 pi turns t, with t from U(0, 1), and Gaussian noise.

    Per task: the number of turns U(low, high), the sense of winding, and a rotation U(0, 2 pi). With two arms or more the mean is 0,
    and the mean squared distance from it is 1/3 + 2 noise^2, whatever the task.

    Args:
        arms: equally likely arms, evenly spaced.
        turns: interval of the number of turns of an arm.
        noise: standard deviation in both coordinates.
    """

    kind: ClassVar[Kind] = "points"

    def __init__(
        self,
        *,
        arms: Annotated[int, Field(ge=1, le=16)] = 2,
        turns: Interval = (0.5, 1.5),
        noise: Annotated[float, Field(ge=0)] = 0.02,
    ) -> None:
        self.arms = arms
        self.turns = check_interval("turns", turns)
        self.noise = noise
        self.sample_spec = SampleSpec("points", (2,))

    def size(self, split: Split) -> int | None:
        """None: spirals are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a spiral, then points (N, 2) from it."""
        winding = rng.uniform(*self.turns) * rng.choice([-1, 1])
        rotation = rng.uniform(0, 2 * math.pi)

        def points(n: int) -> dict[str, np.ndarray]:
            arm, along = rng.integers(self.arms, size=n), rng.random(n)
            angle = rotation + 2 * math.pi * (arm / self.arms + winding * along)
            spiral = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            return {"x": (spiral + self.noise * rng.standard_normal((n, 2))).astype(np.float32)}

        return Episode(f"spiral-{task}", points(shots), points(query))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
