"""What gradient-based learners share: theta is the networks' initial parameters, phi starts there and takes optimiser steps.

Learners are frozen dataclasses: a field is a hyperparameter, and a subclass inherits its parent's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field

from bench.contracts import ContractError, Factor, Game, Optimiser, Space, Tree, rate_of, tree_map
from bench_builtin.inner_optimisers import Adam
from bench_builtin.meta_learners.selection import split_by

if TYPE_CHECKING:
    from bench.contracts import Draws

Schedule = Literal["constant", "linear", "late-linear", "cosine"]
Rates = Annotated[float, Field(ge=0)] | dict[str, Annotated[float, Field(ge=0)]]
"""A learning rate, or one per player."""
Steps = Annotated[int, Field(ge=1)] | None
"""Adaptation steps in meta-training; None: the protocol's."""

PAPER_GAN_ADAM = Adam(beta1=0.5, beta2=0.99)
"""Outer Adam of GAN training (beta1 = 0.5: Radford et al., 2015)."""


@dataclass(frozen=True, kw_only=True)
class Adapts:
    """Adaptation by gradient steps from a learned initialisation.

    phi_0 = theta; phi_{k+1} = phi_k - inner_lr * direction(dL_p^S/dphi_p). Meta parameters: ``initial``, where adaptation
    starts, and ``shared``, which every task uses as it is; by default all are adapted and none is shared.

    Args:
        inner_lr, inner_optimiser: of adaptation. Adam without momentum is the default, since plain SGD diverges on image GANs.
        inner_state: the optimiser's state starts anew for each task, or is carried from outer step to outer step as the mean
            over tasks.
    """

    inner_lr: Rates = 0.005
    inner_optimiser: Optimiser = Adam()
    inner_state: Literal["reset", "carried"] = "reset"

    trains: ClassVar[bool] = True
    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4)}
    at_test: ClassVar[tuple[str, ...]] = ("inner_lr", "inner_optimiser")
    adapts: ClassVar[tuple[str, ...]] = ("*",)

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        strange = set(self.inner_lr) - set(game.modules) if isinstance(self.inner_lr, Mapping) else set()
        if strange:
            raise ContractError(f"inner_lr: {min(strange)!r} is no player of this game: {', '.join(game.modules)}")
        initial, shared = split_by(self.adapts, {player: parameters(module) for player, module in game.modules.items()})
        return {"initial": initial, "shared": shared} if shared else {"initial": initial}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        theta = meta["initial"]
        return theta, {player: self.start(own) for player, own in theta.items()}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        return joined(meta.get("shared", {}), params)

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        direction, inner = self.direction(grads, inner, step)
        lr = rate_of(self.inner_lr, player)
        return tree_map(lambda p, d: p - lr * d, params, direction), inner

    def start(self, params: Tree) -> Tree:
        """One player's inner state before its first step: the optimiser's, and how often it has moved where that is carried on."""
        state = self.inner_optimiser.start(params)
        if self.inner_state == "reset":
            return state
        some = next(iter(params.values()))
        return {"optimiser": state, "moves": some.new_zeros(())}

    def direction(self, grads: Tree, inner: Tree, step: int) -> tuple[Tree, Tree]:
        """The inner optimiser's direction, and the inner state after it."""
        if self.inner_state == "reset":
            return self.inner_optimiser.direction(grads, inner, step)
        direction, state = self.inner_optimiser.direction(grads, inner["optimiser"], inner["moves"])
        return direction, {"optimiser": state, "moves": inner["moves"] + 1}


@dataclass(frozen=True, kw_only=True)
class OuterLoop:
    """Settings that ``outer.descend`` reads from a learner.

    Args:
        outer_lr, outer_optimiser, outer_schedule: of the outer loop. The rate is one number, or one for each player; a name of a
            part of meta (``rates``, ``warp``) beside the players gives that part a rate of its own.
    """

    outer_lr: Rates = 0.001
    outer_optimiser: Optimiser = PAPER_GAN_ADAM
    outer_schedule: Schedule = "constant"


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A network's own initial parameters, {name: tensor}, in the order of its layers."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def joined(shared: Tree, params: Tree) -> Tree:
    """{player: {name: tensor}} of both trees; adapted parameters win."""
    return {player: {**shared.get(player, {}), **params.get(player, {})} for player in {**shared, **params}}


def whole_task(episodes: Mapping[str, Tree]) -> Tree:
    """Support and query of each task as one batch, {"x": (T, S + Q, ...)}."""
    return tree_map(lambda support, query: torch.cat([support, query], 1), episodes["support"], episodes["query"])
