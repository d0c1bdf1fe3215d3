"""Three handwritten digits in the channels of one image, after Stacked MNIST: a few modes a task, among a thousand.

Sources: Metz et al., 2017, section 3.3.1 (Stacked MNIST), https://arxiv.org/abs/1611.02163; digits as in
:mod:`bench_builtin.task_distributions.digits`. Shape suffixes: N samples, H and W rows and columns.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.digits import SIDE, enlarged, grey_levels
from bench_builtin.task_distributions.finite import check_task, draw_numbers

SUMS: dict[Split, range] = {"meta-train": range(6), "meta-val": range(6, 8), "meta-test": range(8, 10)}
"""Last digit of the sum of a split's triples. Every digit is equally frequent in every channel of every split, so that it is the
combination alone that is new, and a triple's permutations are in its own split."""

IMAGES: dict[Split, slice] = {"meta-train": slice(0, 104), "meta-val": slice(104, 139), "meta-test": slice(139, 174)}
"""Which of a digit's images, 60 / 20 / 20 per cent of the 174 of the rarest digit. They are ordered by writer."""


def triples(split: Split) -> list[tuple[int, int, int]]:
    """The triples of a split, 600 / 200 / 200; the first five, the second five and so on share no digit in any channel."""
    return [
        (step, (start + step) % 10, (total - start - 2 * step) % 10) for total in SUMS[split] for start in range(10) for step in range(10)
    ]


@cache
def pools(split: Split, size: int) -> np.ndarray:
    """(10, N, size, size) float32: a split's images by digit."""
    images, digits = enlarged(size)[:, 0], grey_levels()[1]
    return np.stack([images[digits == digit][IMAGES[split]] for digit in range(10)])


class StackedDigits:
    """A task is a few triples of digits, its modes; a sample (3, size, size) shows one of them, in [-1, 1] with ink +1.

    Each channel is a random image of its digit. The splits share neither images nor triples of digits
    (600 / 200 / 200 triples), and a triple belongs to one task only: 120 / 40 / 40 tasks at the default.

    Args:
        size: side of the images; those beyond 8 pixels are interpolated and hold no more detail.
        combinations: equally likely triples per task; the five of the default differ in every channel.
    """

    kind: ClassVar[Kind] = "image"

    def __init__(
        self, *, size: Annotated[int, Field(ge=SIDE, le=64, multiple_of=4)] = SIDE, combinations: Annotated[int, Field(ge=1, le=100)] = 5
    ) -> None:
        self.side = size
        self.combinations = combinations
        self.sample_spec = SampleSpec("image", (3, size, size), -1.0, 1.0)

    def size(self, split: Split) -> int | None:
        """Number of sets of triples; what is left over is in none."""
        return len(triples(split)) // self.combinations

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Different stacks of images; one image may be in several.

        Raises:
            DataError: the split has no such task, or it has fewer than ``shots + query`` stacks (10 thousand per triple and more).
        """
        check_task(task, len(triples(split)) // self.combinations, split)
        permitted = np.array(triples(split)[task * self.combinations : (task + 1) * self.combinations])
        images = pools(split, self.side)
        each = images.shape[1]
        name = "stack-" + "-".join("".join(map(str, triple)) for triple in permitted[:10].tolist())
        # A stack is a number in mixed radix: its triple, and an image for each channel.
        parts = draw_numbers(name, len(permitted) * each**3, shots=shots, query=query, rng=rng)

        def stacks(numbers: np.ndarray) -> dict[str, np.ndarray]:
            triple, *chosen = np.unravel_index(numbers, (len(permitted), each, each, each))
            return {"x": np.stack([images[permitted[triple, channel], chosen[channel]] for channel in range(3)], axis=1)}

        return Episode(name, stacks(parts[0]), stacks(parts[1]))

    def fingerprint(self) -> str:
        """SHA-256 of images and labels."""
        grey, labels = grey_levels()
        return hashlib.sha256(grey.tobytes() + labels.tobytes()).hexdigest()
