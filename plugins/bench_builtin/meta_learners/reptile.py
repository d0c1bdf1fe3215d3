"""Reptile: move the initialisation towards where adaptation ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from bench.contracts import Optimiser, Tree, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop, Rates, Schedule, Steps, whole_task

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


class Reptile(Adapts, OuterLoop):
    """theta <- theta + outer_lr * mean_i(phi_K^i - theta), as an outer step along the pseudo-gradient theta - phi_K.

    Outer SGD is the paper's interpolation; an outer Adam is FIGR's variant. No derivative of adaptation is taken.

    Args:
        uses: what adaptation sees in meta-training: the support, or the whole task (Reptile needs no query).
        steps: adaptation steps in meta-training; None: the protocol's.
        inner_lr, inner_optimiser: of adaptation; Adam without momentum as in the paper's code.
        outer_lr: the interpolation's epsilon.
        outer_optimiser, outer_schedule: of the outer loop; the paper decays epsilon linearly to 0.

    Source: Nichol et al., 2018, https://arxiv.org/abs/1803.02999, algorithm 1.
    """

    def __init__(
        self,
        *,
        uses: Literal["support", "task"] = "task",
        steps: Steps = None,
        inner_lr: Rates = 0.005,
        inner_optimiser: Optimiser = Adam(),  # noqa: B008 (frozen)
        outer_lr: Rates = 0.5,
        outer_optimiser: Optimiser = Sgd(),  # noqa: B008 (frozen)
        outer_schedule: Schedule = "linear",
    ) -> None:
        Adapts.__init__(self, inner_lr, inner_optimiser)
        self.set_outer(outer_lr, outer_optimiser, outer_schedule)
        self.uses, self.steps = uses, steps

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        """The mean runs over all tasks of the step, chunk by chunk."""
        if self.uses == "task":
            episodes = {**episodes, "support": whole_task(episodes)}
        steps = game.adaptation_steps if self.steps is None else self.steps
        tasks = len(draws.key)
        moved = tree_map(torch.zeros_like, meta["initial"])
        for rows in torch.arange(tasks).split(game.task_chunk or tasks):
            chunk = tree_map(lambda leaf, rows=rows: leaf[rows], episodes)
            end = game.rollout(meta, chunk, draws.of(draws.key[rows]), steps=steps, order=1)
            moved = tree_map(lambda total, theta, phi: total + (theta - phi).sum(0) / tasks, moved, meta["initial"], end.params)
        return outer.descend(meta, {"initial": moved}), {}
