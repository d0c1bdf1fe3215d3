"""Which tasks a trial sees, in which order, with which noise.

Crossed by construction: meta-test and meta-val tasks, their samples and their noise depend on (suite seed, task
distribution) only; meta-train tasks on the replicate as well; nothing depends on the learner.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bench import seeds
from bench.contracts import Episode, Split, TaskDistribution
from bench.errors import DataError
from bench.game.draws import Draws
from bench.trees import Tree

SIZES = {"meta-val": "meta_val", "meta-test": "meta_test"}


class TaskStream:
    """Episodes of one task distribution under one suite seed.

    Args:
        tasks: the distribution.
        name: what identifies it in random streams: component name and hyperparameters.
        seed: the suite's seed.
        protocol: the protocol of a cell. Where it says ``drawn``, a support is the first ``shots`` of so many samples, so that cells
            with other numbers of shots have the same tasks and query. Where it says ``train_shots``, meta-train tasks have so many.
            Of labelled tasks, all these count samples per class.
        shuffled: meta-train on pseudo-tasks whose every sample comes from a task of its own (the shuffled-tasks control); of labelled
            tasks, whose every label stands for other classes at each of its samples.
        scarce: whether the distribution may have fewer held-out tasks than the protocol asks for; then all of them are taken.
    """

    def __init__(
        self,
        tasks: TaskDistribution,
        name: Any,
        *,
        seed: int,
        protocol: dict[str, Any],
        shuffled: bool = False,
        scarce: bool = False,
        device: str = "cpu",
    ) -> None:
        self.tasks, self.seed, self.protocol, self.device = tasks, seed, protocol, device
        self.shuffled, self.scarce = shuffled, scarce
        self.name = json.dumps(name, sort_keys=True)
        self.shots: int = protocol["shots"]
        self.train_shots: int = protocol.get("train_shots", self.shots)
        self.drawn: int = protocol.get("drawn", self.shots)
        self.rows = max(1, tasks.sample_spec.classes)  # of a support, for each shot

    def training(self, replicate: int, step: int) -> tuple[Tree, Draws]:
        """The stacked episodes of an outer step, {"support": {"x": (T, S, ...)}, "query": ...}, and their random numbers."""
        numbers = range(self.protocol["task_batch"])
        episodes = [self._shuffled(replicate, step, i) if self.shuffled else self._train(replicate, step, i) for i in numbers]
        keys = [seeds.key("training-noise", self.seed, replicate, step, i) for i in numbers]
        return self.stack(episodes), self.draws(keys)

    def meta_train(self, replicate: int, count: int) -> list[Episode]:
        """The first ``count`` meta-train tasks that a replicate sees."""
        return [self._train(replicate, *divmod(number, self.protocol["task_batch"])) for number in range(count)]

    def held_out(self, split: Split) -> tuple[list[Episode], list[int]]:
        """The fixed tasks of a split, and the key of each one's noise.

        Raises:
            DataError: the distribution has fewer tasks than the protocol asks for.
        """
        wanted = self.protocol["tasks"][SIZES[split]]
        size = self.tasks.size(split)
        if size is not None and wanted > size and not self.scarce:
            raise DataError(
                f"protocol.tasks.{SIZES[split]} asks for {wanted} {split} tasks, but the task distribution has {size}; lower it to {size}"
            )
        order = np.arange(wanted) if size is None else seeds.stream("held-out", self.seed, self.name, split).permutation(size)[:wanted]
        episodes = [
            self._episode(split, int(task), self.protocol["reference"], seeds.stream("episode", self.seed, self.name, split, int(task)))
            for task in order
        ]
        return episodes, [seeds.key("evaluation-noise", self.seed, self.name, split, int(task)) for task in order]

    def draws(self, keys: Sequence[int]) -> Draws:
        """Random numbers of tasks with these keys."""
        return Draws(torch.tensor(list(keys), dtype=torch.int64), torch.float32, device=self.device)

    def stack(self, episodes: Sequence[Episode]) -> Tree:
        """Episodes -> one tree with a leading task axis."""
        return {
            part: {
                name: torch.from_numpy(np.stack([np.asarray(getattr(episode, part)[name]) for episode in episodes])).to(self.device)
                for name in getattr(episodes[0], part)
            }
            for part in ("support", "query")
        }

    def _train(self, replicate: int, step: int, i: int) -> Episode:
        rng = seeds.stream("meta-train", self.seed, self.name, replicate, step, i)
        return self._episode("meta-train", self._class(rng), self.protocol["query"], rng)

    def _episode(self, split: Split, task: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw the largest support whatever the number of shots: how a distribution uses ``rng`` may depend on what it is asked for."""
        shots = self.train_shots if split == "meta-train" else self.shots
        drawn = max(self.drawn, shots)
        episode = self.tasks.episode(split, task, shots=drawn, query=query, rng=rng)
        support = {name: values[: shots * self.rows] for name, values in episode.support.items()}
        return episode if drawn == shots else replace(episode, support=support)

    def _shuffled(self, replicate: int, step: int, i: int) -> Episode:
        """Every sample from a task of its own, support and query alike: tasks without structure."""
        rng = seeds.stream("shuffled", self.seed, self.name, replicate, step, i)
        drawn = max(self.drawn, self.train_shots)
        singles = [
            self.tasks.episode("meta-train", self._class(rng), shots=1, query=0, rng=rng).support
            for _ in range(drawn + self.protocol["query"])
        ]
        mixed = {name: np.concatenate([single[name] for single in singles]) for name in singles[0]}
        parts = (slice(self.train_shots * self.rows), slice(drawn * self.rows, None))
        support, query = ({name: values[part] for name, values in mixed.items()} for part in parts)
        return Episode(f"shuffled-{step}-{i}", support, query)

    def _class(self, rng: np.random.Generator) -> int:
        size = self.tasks.size("meta-train")
        return int(rng.integers(size if size is not None else 2**31))
