"""What meta-learning must beat: no training across tasks at all, and joint training on the pooled tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from bench.contracts import Optimiser, Tree
from bench_builtin.inner_optimisers import Adam
from bench_builtin.meta_learners.adaptation import PAPER_GAN_ADAM, Adapts, OuterLoop, Rates, Schedule, whole_task

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


class Scratch(Adapts):
    """Adapts from the networks' random initialisation; nothing is learned across tasks."""

    trains: ClassVar[bool] = False

    def __init__(self, *, inner_lr: Rates = 0.005, inner_optimiser: Optimiser = Adam()) -> None:  # noqa: B008 (frozen)
        super().__init__(inner_lr, inner_optimiser)

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        return meta, {}


class Finetune(Adapts, OuterLoop):
    """Joint training on the pooled tasks, then plain adaptation: the transfer-learning baseline.

    theta <- theta - outer_lr * direction(d/dtheta mean_i L_i(theta)): MAML with zero adaptation steps, which is one GAN
    step on samples of all tasks of the batch.

    Args:
        uses: the samples of a training task that enter the joint loss: its query, or the whole task.
        inner_lr, inner_optimiser: of adaptation to a held-out task.
        outer_lr, outer_optimiser, outer_schedule: of joint training.
    """

    def __init__(
        self,
        *,
        inner_lr: Rates = 0.005,
        inner_optimiser: Optimiser = Adam(),  # noqa: B008 (frozen)
        uses: Literal["query", "task"] = "task",
        outer_lr: Rates = 0.001,
        outer_optimiser: Optimiser = PAPER_GAN_ADAM,
        outer_schedule: Schedule = "late-linear",
    ) -> None:
        Adapts.__init__(self, inner_lr, inner_optimiser)
        self.set_outer(outer_lr, outer_optimiser, outer_schedule)
        self.uses = uses

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        def objective(meta: Tree, chunk: Tree, draws: Draws) -> dict[str, torch.Tensor]:
            start = game.begin(meta, chunk["support"], draws)
            batch = whole_task(chunk) if self.uses == "task" else chunk["query"]
            losses, _ = game.losses(meta, start.params, batch, start.state, draws.at("joint"))
            return losses

        gradient, log = game.meta_gradient(objective, meta, episodes, draws)
        return outer.descend(meta, gradient), log
