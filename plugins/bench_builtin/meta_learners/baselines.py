"""What meta-learning must beat: no training across tasks at all, and joint training on the pooled tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from bench.contracts import Choice, Factor, Game, Space, Tree, tree_map
from bench_builtin.inner_optimisers import Decay
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop, Schedule, parameters, whole_task

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


@dataclass(frozen=True, kw_only=True)
class Scratch(Adapts):
    """Adapts from the networks' random initialisation; nothing is learned across tasks."""

    trains: ClassVar[bool] = False

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        return meta, {}


@dataclass(frozen=True, kw_only=True)
class Joint(OuterLoop):
    """Joint training on the pooled tasks: theta <- theta - outer_lr * direction(d/dtheta mean_i L_i(theta)).

    That is MAML with zero adaptation steps: one step of the game on samples of all tasks of the batch.

    Args:
        uses: the samples of a training task that enter the joint loss: its query, or the whole task.
    """

    uses: Literal["query", "task"] = "task"
    outer_schedule: Schedule = "late-linear"

    trains: ClassVar[bool] = True
    has_objective: ClassVar[bool] = True
    space: ClassVar[Space] = {"outer_lr": Factor(1 / 4, 4)}

    def joint_batch(self, chunk: Tree) -> Tree:
        """What the joint loss of each task is taken on."""
        return whole_task(chunk) if self.uses == "task" else chunk["query"]

    def objective(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, torch.Tensor]:
        """{player: L_p(theta) (T,)}."""
        start = game.begin(meta, chunk["support"], draws)
        losses, state = game.losses(meta, start.params, self.joint_batch(chunk), start.state, draws.at("joint"))
        game.carry(replace(start, state=state))
        return losses

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        gradient, log = game.meta_gradient(lambda m, chunk, d: self.objective(game, m, chunk, d), meta, episodes, draws)
        return outer.descend(meta, gradient), log


@dataclass(frozen=True, kw_only=True)
class NoAdapt(Joint):
    """Joint training and no adaptation: samples come from theta at every adaptation step.

    What adaptation of :class:`Finetune` gains or loses stands out against it.
    """

    at_test: ClassVar[tuple[str, ...]] = ()

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        return {"initial": {player: parameters(module) for player, module in game.modules.items()}}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        return meta["initial"], {}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        return params

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        return params, inner


@dataclass(frozen=True, kw_only=True)
class Finetune(Adapts, Joint):
    """Joint training, see :class:`Joint`, then plain adaptation: the transfer-learning baseline.

    Args:
        adapts: which parameters adapt to a held-out task, see :func:`~bench_builtin.meta_learners.selection.split_by`; all are
            trained jointly.
    """

    adapts: tuple[str, ...] = ("*",)

    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4)}


@dataclass(frozen=True, kw_only=True)
class EmaFinetune(Finetune):
    """Fine-tuning whose samples come from an average of the adaptation path, which damps the players' circling.

    e_0 = theta; e_k = decay e_{k-1} + (1 - decay) phi_k; samples at step k come from e_k, adaptation goes on from phi_k. The average
    starts at theta, a point of the path, so it needs no correction of a bias.

    Args:
        decay: of the average. GAN training over 1e5 steps uses 0.999 to 0.9999; adaptation has 10 to 25 steps, of which 0.8 remembers
            about 5.

    Source: Yazici et al., 2019, https://arxiv.org/abs/1806.04498.
    """

    decay: Decay = 0.8

    space: ClassVar[Space] = {**Finetune.space, "decay": Choice((0.5, 0.8, 0.9))}
    at_test: ClassVar[tuple[str, ...]] = (*Finetune.at_test, "decay")

    def start(self, params: Tree) -> Tree:
        return {"moving": super().start(params), "average": params}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        params, moving = super().update(meta, player, step, params, grads, inner["moving"], support)
        average = tree_map(lambda e, phi: self.decay * e + (1 - self.decay) * phi, inner["average"], params)
        return params, {"moving": moving, "average": average}

    def deploy(self, meta: Tree, params: Tree, inner: Tree) -> Tree:
        return {player: inner[player]["average"] for player in params}
