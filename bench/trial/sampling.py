"""A learner without a game behind the interface of an engine, so that a trial runs it like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import seeds
from bench.contracts import Episode
from bench.episodes import TaskStream
from bench.game.draws import Draws
from bench.game.engine import Engine, Order, Rollout
from bench.trees import Tree, tree_map


class SamplingEngine(Engine):
    """Fits a :class:`bench.contracts.SamplingLearner` where a meta-learner is initialised, and adapts by keeping the support.

    It takes no gradients. Samples depend on the task's noise alone, so they are the same at every adaptation step. Each class of a
    labelled task is a task to the learner.

    Args:
        game: the trial's, which it does not play.
        learner: draws the samples.
        stream: where the meta-train tasks come from that it fits to.
        replicate: which of them.
    """

    def __init__(self, game: Any, learner: Any, stream: TaskStream, replicate: int) -> None:
        super().__init__(game, learner)
        self._stream, self._replicate = stream, replicate

    def init(self, rng: torch.Generator) -> Tree:
        """What the learner fits to meta-train tasks."""
        episodes = self._stream.meta_train(self._replicate, self.learner.episodes)
        self.samples_seen += sum(len(part["x"]) for episode in episodes for part in (episode.support, episode.query))
        ways = self._stream.rows
        # Copies, since what a distribution hands out may be its data, which later trials see, too.
        episodes = [replace(one, **tree_map(np.array, {"support": one.support, "query": one.query})) for one in episodes]
        classes = [
            Episode(episode.task_id, {"x": episode.support["x"][label::ways]}, {"x": episode.query["x"][label::ways]})
            for episode in episodes
            for label in range(ways)
        ]
        return {name: torch.as_tensor(values) for name, values in self.learner.fit(classes if ways > 1 else episodes).items()}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> Rollout:
        """The support itself is all that adaptation knows."""
        return Rollout(params=support, inner={}, state={}, path=[support], steps=0)

    def rollout(
        self,
        meta: Tree,
        episodes: Tree,
        draws: Draws,
        *,
        steps: int,
        order: Order,
        players: tuple[str, ...] | None = None,
        part: str = "support",
        start: Rollout | None = None,
    ) -> Rollout:
        """Nothing changes by steps."""
        end = start or self.begin(meta, episodes[part], draws)
        return Rollout(end.params, {}, {}, end.path, end.steps + steps)

    def health(self, meta: Tree, end: Rollout, episodes: Tree, draws: Draws) -> dict[str, Tensor]:
        """No game is played."""
        return {}

    def sample(self, meta: Tree, end: Rollout, n: int, draws: Draws, batch: Tree) -> Tensor:
        """Samples of every task (T, n, ...)."""
        fitted = {name: np.asarray(values.cpu()) for name, values in meta.items()}
        supports = end.params["x"].cpu().numpy()
        drawn = np.empty((len(supports), n, *supports.shape[2:]), supports.dtype)
        for samples, support, key in zip(drawn, supports, draws.key.tolist(), strict=True):
            rng, ways = seeds.stream("sampling", key, *draws.path), self._stream.rows
            for label in range(ways):  # of support and samples alike, row i is of class i modulo ways
                own = samples[label::ways]
                own[:] = self.learner.sample(fitted, support[label::ways], len(own), rng)
        return torch.from_numpy(drawn)
