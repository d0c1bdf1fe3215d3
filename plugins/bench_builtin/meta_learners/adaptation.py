"""What gradient-based learners share: theta is the networks' initial parameters, phi starts there and takes optimiser steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field

from bench.contracts import Game, Optimiser, Tree, rate_of, tree_map
from bench_builtin.inner_optimisers import Adam

if TYPE_CHECKING:
    from bench.contracts import Draws

Schedule = Literal["constant", "linear", "late-linear"]
Rates = Annotated[float, Field(ge=0)] | dict[str, Annotated[float, Field(ge=0)]]
"""A learning rate, or one per player."""
Steps = Annotated[int, Field(ge=1)] | None

PAPER_GAN_ADAM = Adam(beta1=0.5, beta2=0.99)
"""Outer Adam of GAN training (beta1 = 0.5: Radford et al., 2015)."""


class Adapts:
    """Adaptation by gradient steps from a learned initialisation, every parameter of every player.

    phi_0 = theta; phi_{k+1} = phi_k - inner_lr * direction(dL_p^S/dphi_p). The optimiser's state starts anew for each task.
    """

    def __init__(self, inner_lr: Rates, inner_optimiser: Optimiser) -> None:
        self.inner_lr, self.inner_optimiser = inner_lr, inner_optimiser

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        return {"initial": {player: parameters(module) for player, module in game.modules.items()}}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        theta = meta["initial"]
        return theta, {player: self.inner_optimiser.start(own) for player, own in theta.items()}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        return params

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        direction, inner = self.inner_optimiser.direction(grads, inner, step)
        lr = rate_of(self.inner_lr, player)
        return tree_map(lambda p, d: p - lr * d, params, direction), inner


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A network's own initial parameters, {name: tensor}."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def whole_task(episodes: Mapping[str, Tree]) -> Tree:
    """Support and query of each task as one batch, {"x": (T, S + Q, ...)}."""
    return tree_map(lambda support, query: torch.cat([support, query], 1), episodes["support"], episodes["query"])


class OuterLoop:
    """Settings that ``outer.descend`` reads from a learner."""

    trains: ClassVar[bool] = True

    def set_outer(self, lr: Rates, optimiser: Optimiser, schedule: Schedule) -> None:
        self.outer_lr, self.outer_optimiser, self.outer_schedule = lr, optimiser, schedule
