"""Samples that extractors are made from and judged by, and how images reach a network.

Shape suffixes: K ways, S support and Q query samples per way, N samples, C channels, H and W rows and columns, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.contracts import MetricError, SampleSpec, Split, TaskDistribution

Features = Callable[[np.ndarray], np.ndarray]
"""Samples (N, *shape) -> features (N, F) float64."""

SEED = 0
PER_TASK = 6  # samples of a class at a time: no data set worth measuring has fewer
WAYS, ROUNDS, QUERY = 20, 60, 5  # of the certificate


@dataclass(frozen=True)
class Preprocessing:
    """From samples to what an extractor sees: clip, map to [0, 1], round to 8 bits, enlarge what is below ``smallest`` pixels.

    Attributes:
        shape, low, high: of the samples.
        smallest: side from which on samples are seen as they are; below it pixels are repeated.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    smallest: int = 1

    @classmethod
    def of(cls, spec: SampleSpec, smallest: int = 1) -> Preprocessing:
        """For samples of ``spec``; an unknown range counts as [-1, 1]."""
        low, high = -1.0 if spec.low is None else spec.low, 1.0 if spec.high is None else spec.high
        return cls(tuple(spec.shape), low, high, smallest)

    @property
    def factor(self) -> int:
        """Integer by which pixels are repeated."""
        return math.ceil(self.smallest / min(self.shape[1:]))

    def __call__(self, samples: np.ndarray) -> Tensor:
        """(N, C, H, W) -> (N, C, factor H, factor W) float32."""
        unit = (np.clip(np.asarray(samples, dtype=np.float64), self.low, self.high) - self.low) / (self.high - self.low)
        levels = (np.rint(unit * 255) / 255).astype(np.float32)
        return torch.from_numpy(levels.repeat(self.factor, axis=2).repeat(self.factor, axis=3))

    def record(self) -> dict[str, Any]:
        """For the fingerprint."""
        return {"shape": list(self.shape), "clip": [self.low, self.high], "levels": 256, "nearest": self.factor}


def in_batches(embed: Callable[[Tensor], Tensor], pixels_NCHW: Tensor, *, size: int, features: int) -> np.ndarray:
    """``embed`` of all samples, (N, ``features``) float64, the same for a sample in whatever batch it comes.

    Every batch has ``size`` rows, the last one padded: kernels chosen by batch size differ in the last bits.
    """
    embedded = np.empty((len(pixels_NCHW), features), dtype=np.float64)
    with torch.no_grad():
        for start in range(0, len(pixels_NCHW), size):
            batch = pixels_NCHW[start : start + size]
            padding = batch.new_zeros((size - len(batch), *batch.shape[1:]))
            embedded[start : start + size] = embed(torch.cat([batch, padding]))[: len(batch)].numpy()
    return embedded


# ------------------------------------------------------------------ samples of tasks
def draw(
    tasks: TaskDistribution, split: Split, classes: np.ndarray, *, shots: int, query: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Support (K, S, *shape) and query (K, Q, *shape) of these classes."""
    episodes = [tasks.episode(split, int(label), shots=shots, query=query, rng=rng) for label in classes]
    return np.stack([episode.support["x"] for episode in episodes]), np.stack([episode.query["x"] for episode in episodes])


def meta_train_samples(tasks: TaskDistribution, n: int, *, of: str) -> np.ndarray:
    """(n, *shape) samples of meta-train, as equally many of each task as possible; a sample may come again.

    Raises:
        MetricError: there are no meta-train tasks; ``of`` is the extractor that asked.
    """
    rng, size = np.random.default_rng(SEED), tasks.size("meta-train")
    if size == 0:
        raise MetricError(f"{of} is made from meta-train samples, and meta-train has none; use feature_extractor: pixels")
    rounds = math.ceil(n / PER_TASK)
    numbers = np.arange(rounds) if size is None else rng.permutation(size)[np.arange(rounds) % size]
    support, _ = draw(tasks, "meta-train", numbers, shots=PER_TASK, query=0, rng=rng)
    # Ordered by draw before task, so that cutting at n leaves every task in.
    return support.swapaxes(0, 1).reshape(-1, *support.shape[2:])[:n]


def mean_spread(features_NF: np.ndarray) -> float:
    """The frozen scale: mean standard deviation of the features, or 1 where they are constant."""
    return float(features_NF.std(axis=0).mean()) or 1.0


# ------------------------------------------------------------------ evidence
def one_shot_accuracy(features: Features, tasks: TaskDistribution, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Accuracy of the nearest neighbour among one example per class, on classes of meta-val, or of meta-test where that has none.

    Returns:
        ``one_shot_accuracy`` with its ``standard_error`` over ``rounds``, and ``ways`` (20, or all classes where there are fewer).
        Nothing where held-out tasks are no classes, or a single one.
    """
    split: Split = "meta-val" if tasks.size("meta-val") != 0 else "meta-test"
    classes = tasks.size(split) or 0
    if classes < 2:
        return {}
    ways, rng = min(WAYS, classes), np.random.default_rng([SEED, 1])
    accuracy = np.empty(rounds)
    for index in range(rounds):
        chosen = rng.choice(classes, size=ways, replace=False)
        support, query = draw(tasks, split, chosen, shots=1, query=QUERY, rng=rng)
        known, asked = (features(part.reshape(-1, *part.shape[2:])) for part in (support, query))
        nearest = np.square(asked[:, None] - known).sum(axis=2).argmin(axis=1)
        accuracy[index] = np.mean(nearest == np.arange(ways).repeat(QUERY))
    return {
        "one_shot_accuracy": round(float(accuracy.mean()), 4),
        "standard_error": round(float(accuracy.std(ddof=1) / math.sqrt(rounds)), 4),
        "ways": ways,
        "rounds": rounds,
        "split": split,
    }
