"""Labelled tasks: several classes of another task distribution at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import ContractError, DataError, Episode, Split, TaskDistribution


class NWay:
    """A task is ``ways`` random classes of a split in random order, with ``shots`` support and ``query`` query samples of each.

    Row i of support and query is of class i modulo ``ways``, so the first rows of a support are a smaller one with all classes. A class
    is a task of ``tasks``; the splits are those of ``tasks``, so meta-test classes are new ones. Every outer step may meet a class under
    another label: only the support tells what a label means.

    Source: Vinyals et al., 2016, https://arxiv.org/abs/1606.04080, section 4 (N-way K-shot).

    Args:
        tasks: the task distribution whose tasks are the classes.
        ways: classes of a task.
    """

    labelled: ClassVar[bool] = True

    def __init__(self, *, tasks: TaskDistribution, ways: Annotated[int, Field(ge=2, le=256)] = 5) -> None:
        if tasks.sample_spec.kind == "regression" or tasks.sample_spec.classes:
            raise ContractError("n-way needs tasks that are one class each: images, points or signals without labels")
        self.single_class = tasks
        self.ways = ways
        self.sample_spec = replace(tasks.sample_spec, classes=ways)

    def size(self, split: Split) -> int | None:
        """None: choices of classes, with their labels, are too many to number."""
        return None

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw classes, then their samples; labels ``y`` are one-hot.

        Raises:
            DataError: the split has fewer classes than ``ways``, or a class fewer than ``shots + query`` samples.
        """
        classes = self._classes(split, rng)
        # A generator per class: what one of them uses does not change the next.
        generators = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=self.ways)]
        drawn = [
            self.single_class.episode(split, label, shots=shots, query=query, rng=own)
            for label, own in zip(classes, generators, strict=True)
        ]
        support, query_set = (self._interleaved([getattr(one, part)["x"] for one in drawn]) for part in ("support", "query"))
        return Episode(f"{self.ways}-way-{task}", support, query_set)

    def fingerprint(self) -> str:
        """That of the classes."""
        return self.single_class.fingerprint()

    def _classes(self, split: Split, rng: np.random.Generator) -> list[int]:
        size = self.single_class.size(split)
        if size is None:
            return rng.integers(2**31, size=self.ways).tolist()
        if size < self.ways:
            raise DataError(f"{self.ways}-way tasks need {self.ways} classes, and {split} has {size}; lower ways to {size} at most")
        return rng.permutation(size)[: self.ways].tolist()

    def _interleaved(self, by_class: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """``by_class[c]`` (N, *shape) -> rows (N * ways, *shape) and one-hot labels."""
        x = np.stack(by_class, axis=1)
        return {"x": x.reshape(-1, *x.shape[2:]), "y": np.tile(np.eye(self.ways, dtype=np.float32), (len(x), 1))}
