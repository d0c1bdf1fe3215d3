"""The 8 x 8 handwritten digits that scikit-learn ships: real data for smoke tests and for transfer, with very few classes.

Source: Alpaydin and Kaynak, 1998, https://archive.ics.uci.edu/dataset/80 (test part, as in ``sklearn.datasets.load_digits``).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task, draw_episode

SIDE = 8
DARKEST = 16  # grey level of full ink
CLASSES: dict[str, dict[Split, tuple[int, ...]]] = {
    "8-9": {"meta-train": (0, 1, 2, 3, 4, 5), "meta-val": (6, 7), "meta-test": (8, 9)},
    "all": {"meta-train": (), "meta-val": (), "meta-test": tuple(range(10))},
}


@cache
def grey_levels() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels (1797, 8, 8) from 0 to 16, and digits (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.uint8)


@cache
def enlarged(size: int) -> np.ndarray:
    """Images (1797, 1, size, size) float32 in [-1, 1], ink +1; enlarged ones in 255 grey steps, the same on every machine."""
    import torch

    ink = torch.from_numpy(grey_levels()[0][:, None].astype(np.float32) / DARKEST)
    if size != SIDE:
        ink = torch.nn.functional.interpolate(ink, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        ink = (ink * 255).round() / 255
    return (2 * ink - 1).numpy()


class Digits:
    """One digit is one task of 174 to 183 images (1, size, size), in [-1, 1] with ink +1: 0-5 meta-train, 6-7 meta-val, 8-9 meta-test.

    Args:
        size: side of the images; those beyond 8 pixels are interpolated and hold no more detail.
        meta_test: ``all`` makes meta-test tasks of all ten digits, for learners that are meta-trained elsewhere: none is left to train on.
    """

    kind: ClassVar[Kind] = "image"

    def __init__(self, *, size: Annotated[int, Field(ge=SIDE, le=64)] = SIDE, meta_test: Literal["8-9", "all"] = "8-9") -> None:
        self.side = size
        self.classes = CLASSES[meta_test]
        self.sample_spec = SampleSpec("image", (1, size, size), -1.0, 1.0)

    def size(self, split: Split) -> int | None:
        """Number of digits in the split."""
        return len(self.classes[split])

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Different images of one digit.

        Raises:
            DataError: the digit has fewer than ``shots + query`` images, or the split has no such task.
        """
        check_task(task, len(self.classes[split]), split)
        digit = self.classes[split][task]
        samples = enlarged(self.side)[grey_levels()[1] == digit]
        return draw_episode(f"digit-{digit}", samples, shots=shots, query=query, rng=rng)

    def fingerprint(self) -> str:
        """SHA-256 of images and labels."""
        grey, labels = grey_levels()
        return hashlib.sha256(grey.tobytes() + labels.tobytes()).hexdigest()
