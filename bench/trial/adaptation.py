"""Adaptation of a trained start to a chunk of tasks, step by step: the same for what is measured and for a user's own samples.

Shape suffixes: T tasks, S support samples, n samples drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.game.draws import Draws
from bench.game.engine import Engine, Rollout
from bench.trees import Tree, tree_map

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Adaptation:
    """Tasks after some adaptation steps; never changed, :meth:`further` gives another one.

    Attributes:
        engine: adapts, with test-time hyperparameters.
        meta: where adaptation starts.
        batch: ``{"support": {"x": (T, S, ...)}, "query": ...}``.
        draws: the tasks' noise.
        end: what adaptation has made so far.
        zero: steps of ``end`` that count as step 0, a privileged learner's head start.
        norms: of the players' gradients [T] at each step since step 0.
    """

    engine: Engine
    meta: Tree
    batch: Tree
    draws: Draws
    end: Rollout
    zero: int
    norms: tuple[Mapping[str, Tensor], ...] = ()

    @property
    def steps(self) -> int:
        """Adaptation steps done."""
        return self.end.steps - self.zero

    def further(self, steps: int) -> Adaptation:
        """The same tasks after ``steps`` more adaptation steps."""
        norms: list[dict[str, Tensor]] = []
        self.engine.norms = norms
        try:
            end = self.engine.rollout(self.meta, self.batch, self.draws, steps=steps, order=1, start=self.end)
        finally:
            self.engine.norms = None
        return replace(self, end=end, norms=(*self.norms, *norms))

    def samples(self, n: int, inputs: Tree) -> Array:
        """(T, n, ...) samples from one noise per task, whatever the step; of a game that predicts, what it says at ``inputs["x"]``."""
        with torch.no_grad():
            drawn = self.engine.sample(self.meta, self.end, n, self.draws.at("evaluation"), inputs)
        samples: Array = drawn.cpu().numpy()
        return samples


def begin(engine: Engine, meta: Tree, batch: Tree, draws: Draws) -> Adaptation:
    """Step 0 of the tasks in ``batch``: a privileged learner sees their query too, and has its head start behind it."""
    if getattr(engine.learner, "privileged", False):
        everything = tree_map(lambda support, query: torch.cat([support, query], 1), batch["support"], batch["query"])
        batch = {**batch, "support": everything}
    end = engine.begin(meta, batch["support"], draws)
    for _ in range(getattr(engine.learner, "head_start", 0)):  # one at a time: a rollout remembers its path
        end = engine.rollout(meta, batch, draws, steps=1, order=1, start=end)
    return Adaptation(engine, meta, batch, draws, end, zero=end.steps)
