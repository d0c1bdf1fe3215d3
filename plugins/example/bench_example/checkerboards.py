"""Checkerboards: densities with sharp edges and many components. Suffix: N samples."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from bench.contracts import Episode, Kind, SampleSpec, Split
from pydantic import Field


class Checkerboards:
    """A task is a checkerboard of side 2 in the plane, moved and turned; its samples are uniform on the dark squares.

    A generator that is smooth in its latents has to bridge the gaps. Tasks are a continuum, so the three splits share none.

    Args:
        squares: along a side; an even number has as many dark as light ones.
        shift: a task's middle is U(-shift, shift) in both coordinates.
        rotate: turn each task's board by U(0, pi / 2).

    Source: the checkerboard of FFJORD, Grathwohl et al., 2019, https://arxiv.org/abs/1810.01367, section 4.1.
    """

    kind: ClassVar[Kind] = "points"

    def __init__(
        self, *, squares: Annotated[int, Field(ge=2, le=16)] = 4, shift: Annotated[float, Field(ge=0)] = 0.5, rotate: bool = True
    ) -> None:
        self.squares, self.shift, self.rotate = squares, shift, rotate
        rows, columns = np.divmod(np.arange(squares * squares), squares)
        self._dark = np.stack([columns, rows], axis=1)[(rows + columns) % 2 == 0]
        self.sample_spec = SampleSpec("points", (2,))

    def size(self, split: Split) -> int | None:
        """None: boards are a continuum."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw a board, then points (N, 2) from it."""
        middle, turn = rng.uniform(-self.shift, self.shift, 2), rng.uniform(0, math.pi / 2) * self.rotate
        turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])

        def points(n: int) -> dict[str, np.ndarray]:
            within = self._dark[rng.integers(len(self._dark), size=n)] + rng.uniform(size=(n, 2))
            return {"x": ((2 * within / self.squares - 1) @ turned.T + middle).astype(np.float32)}

        return Episode(f"checkerboard-{task}", points(shots), points(query))

    def fingerprint(self) -> str:
        """Empty: everything is in the code."""
        return ""
