"""The 8 x 8 handwritten digits that scikit-learn ships: real data for smoke tests, with very few classes.

Source: Alpaydin and Kaynak, 1998, https://archive.ics.uci.edu/dataset/80 (test part, as in ``sklearn.datasets.load_digits``).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import ClassVar

import numpy as np

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task, draw_episode

CLASSES: dict[Split, tuple[int, ...]] = {"meta-train": (0, 1, 2, 3, 4, 5), "meta-val": (6, 7), "meta-test": (8, 9)}


@cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels (1797, 8, 8) from 0 to 16, and digits (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.uint8)


class Digits:
    """One digit is one task: 0-5 meta-train, 6-7 meta-val, 8-9 meta-test; 174 to 183 images (1, 8, 8) each, in [-1, 1], ink +1."""

    kind: ClassVar[Kind] = "image"

    def __init__(self) -> None:
        self.sample_spec = SampleSpec("image", (1, 8, 8), -1.0, 1.0)

    def size(self, split: Split) -> int | None:
        """Number of digits in the split."""
        return len(CLASSES[split])

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Different images of one digit.

        Raises:
            DataError: the digit has fewer than ``shots + query`` images, or the split has no such task.
        """
        check_task(task, len(CLASSES[split]), split)
        digit = CLASSES[split][task]
        grey, labels = _images()
        samples = grey[labels == digit][:, None].astype(np.float32) / 8 - 1
        return draw_episode(f"digit-{digit}", samples, shots=shots, query=query, rng=rng)

    def fingerprint(self) -> str:
        """SHA-256 of images and labels."""
        grey, labels = _images()
        return hashlib.sha256(grey.tobytes() + labels.tobytes()).hexdigest()
