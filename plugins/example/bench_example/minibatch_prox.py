"""Minibatch proximal update: adaptation is tied to its start, and the start moves to where adaptation ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from bench.contracts import Factor, Game, Optimiser, Space, Tree, tree_map
from pydantic import Field

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer

Positive = Annotated[float, Field(gt=0)]


class Descent:
    """The outer optimiser: the step is the pseudo-gradient itself."""

    def start(self, params: Tree) -> Tree:
        """No state."""
        return {}

    def direction(self, grads: Tree, state: Tree, step: int) -> tuple[Tree, Tree]:
        """The gradient."""
        return grads, state


@dataclass(frozen=True, kw_only=True)
class MinibatchProx:
    """Each task solves min_phi L^S(phi) + strength/2 |phi - theta|^2; theta <- theta - outer_lr strength mean_i (theta - phi_i).

    K gradient steps from theta stand for the minimum, player by player: phi' = phi - inner_lr (dL^S/dphi + strength (phi - theta)).
    strength (theta - phi_i) is the gradient of the task's optimal value with respect to theta, so no derivative goes through
    adaptation. Reptile without the tie.

    Args:
        inner_lr: of adaptation.
        strength: of the tie, lambda in the paper.
        outer_lr: of the start; falls linearly to 0 over the budget.

    Source: Zhou et al., 2019, Efficient Meta Learning via Minibatch Proximal Update, NeurIPS, algorithm 1.
    """

    inner_lr: Positive = 0.02
    strength: Positive = 1.0
    outer_lr: Positive = 0.5

    outer_optimiser: ClassVar[Optimiser] = Descent()
    outer_schedule: ClassVar[str] = "linear"
    trains: ClassVar[bool] = True
    has_objective: ClassVar[bool] = False
    space: ClassVar[Space] = {name: Factor(1 / 4, 4) for name in ("inner_lr", "strength", "outer_lr")}
    at_test: ClassVar[tuple[str, ...]] = ("inner_lr", "strength")

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        """The networks' own initialisation."""
        return {"initial": {p: {n: w.detach().clone() for n, w in m.named_parameters()} for p, m in game.modules.items()}}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        """Start at theta, remember nothing."""
        return meta["initial"], {player: {} for player in meta["initial"]}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        """Everything adapts."""
        return params

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        """One gradient step of the tied objective."""
        theta = meta["initial"][player]
        return tree_map(lambda phi, g, start: phi - self.inner_lr * (g + self.strength * (phi - start)), params, grads, theta), inner

    def deploy(self, meta: Tree, params: Tree, inner: Tree) -> Tree:
        """Samples come from where adaptation is."""
        return params

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        """Move theta towards the mean of the tasks' solutions."""

        def pulled(chunk: Tree, draws: Draws) -> Tree:
            end = game.rollout(meta, chunk, draws, steps=game.adaptation_steps, order=1)
            return {"initial": tree_map(lambda theta, phi: self.strength * (theta - phi), meta["initial"], end.params)}

        return outer.descend(meta, game.mean_over_tasks(pulled, meta, episodes, draws)), {}
