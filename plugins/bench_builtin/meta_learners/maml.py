"""Model-agnostic meta-learning of a game's initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from bench.contracts import Optimiser, Tree
from bench_builtin.inner_optimisers import Adam
from bench_builtin.meta_learners.adaptation import PAPER_GAN_ADAM, Adapts, OuterLoop, Rates, Schedule, Steps

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


class Maml(Adapts, OuterLoop):
    """min_theta mean_i L_p^Q(phi_K) for each player p, phi_K = K adaptation steps from theta on the support.

    Args:
        order: 2 differentiates through adaptation; 1 takes inner gradients as constants (FOMAML).
        cross_player: "full": each player descends its own query loss, also where that acts through the opponent's adaptation,
            dL_p^Q/dtheta_p. "own-path": J^T (dL_p^Q/dphi_p)_p in one pull-back, which drops those terms of a game.
        steps: adaptation steps in meta-training; None: the protocol's.
        inner_lr, inner_optimiser: of adaptation. Adam without momentum is the default since plain SGD diverges on image GANs.
        outer_lr, outer_optimiser, outer_schedule: of the outer loop.

    Source: Finn et al., 2017, https://arxiv.org/abs/1703.03400, eq. 1 and section 5.2 (first order).
    """

    def __init__(
        self,
        *,
        order: Literal[1, 2] = 2,
        cross_player: Literal["full", "own-path"] = "full",
        steps: Steps = None,
        inner_lr: Rates = 0.005,
        inner_optimiser: Optimiser = Adam(),  # noqa: B008 (frozen)
        outer_lr: Rates = 0.001,
        outer_optimiser: Optimiser = PAPER_GAN_ADAM,
        outer_schedule: Schedule = "constant",
    ) -> None:
        Adapts.__init__(self, inner_lr, inner_optimiser)
        self.set_outer(outer_lr, outer_optimiser, outer_schedule)
        self.order, self.cross_player, self.steps = order, cross_player, steps

    def objective(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, torch.Tensor] | torch.Tensor:
        """{player: L_p^Q(phi_K) (T,)}, or one value per task that pulls all players back at once."""
        steps = game.adaptation_steps if self.steps is None else self.steps
        end = game.rollout(meta, chunk, draws, steps=steps, order=self.order)
        if self.cross_player == "own-path":
            return game.own_path(meta, end, chunk["query"], draws.at("query"))
        losses, _ = game.losses(meta, end.params, chunk["query"], end.state, draws.at("query"))
        return losses

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        gradient, log = game.meta_gradient(lambda m, chunk, d: self.objective(game, m, chunk, d), meta, episodes, draws)
        return outer.descend(meta, gradient), log
