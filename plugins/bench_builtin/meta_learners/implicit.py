"""iMAML for games: the meta-gradient at an equilibrium, without differentiating the steps that led there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.contracts import Factor, Space, Tree, tree_map
from bench_builtin.linear_solvers import LinearSystem, Solver, solve
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop, Steps

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


@dataclass(frozen=True, kw_only=True)
class Imaml(Adapts, OuterLoop):
    """Each player p adapts to where F_p(phi) = dL_p/dphi_p + strength * (phi_p - theta_p) = 0, and learns theta by implicit derivatives.

    There dphi/dtheta = strength (J + strength I)^-1 with the game's Jacobian J = d(dL_p/dphi_p)_p/dphi, so

        dJ_p/dtheta = strength (J + strength I)^-T dL_p^Q/dphi,    of which player p descends the part of its own theta_p.

    J is symmetric for one player only; for a game the paper's conjugate gradients diverge. The equation holds at the equilibrium:
    after too few steps, or with an inner rate that circles around it, the gradient is biased. It also needs one field F for all
    steps, so play the game with ``noise: fixed``; under fresh noise J is that of one draw.

    Args:
        strength: lambda of the pull towards theta, in adaptation to held-out tasks too.
        steps: adaptation steps in meta-training; None: the protocol's.
        solver: of the linear system, see :func:`~bench_builtin.linear_solvers.solve`.
        iterations: of the solver, for each player's right-hand side.

    The paper's strength 2, 16 steps and 5 iterations are the defaults. A GAN's gradients are smaller than a classifier's: a strength of
    about 0.05 leaves it free to move.

    Source: Rajeswaran et al., 2019, https://arxiv.org/abs/1909.04630, lemma 1 and section 4.
    """

    strength: Annotated[float, Field(gt=0)] = 2.0
    steps: Steps = 16
    solver: Solver = "gmres"
    iterations: Annotated[int, Field(ge=1)] = 5

    has_objective: ClassVar[bool] = False
    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4), "strength": Factor(1 / 64, 4)}
    at_test: ClassVar[tuple[str, ...]] = (*Adapts.at_test, "strength")

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        field = tree_map(lambda g, phi, theta: g + self.strength * (phi - theta), grads, params, meta["initial"][player])
        return super().update(meta, player, step, params, field, inner, support)

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        def gradient(chunk: Tree, draws: Draws) -> Tree:
            return {"initial": self.implicit_gradient(game, meta, chunk, draws)}

        return outer.descend(meta, game.mean_over_tasks(gradient, meta, episodes, draws)), {}

    def implicit_gradient(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> Tree:
        """{player: dJ_player/dtheta_player} per task, a tree of [T, ...]."""
        steps = game.adaptation_steps if self.steps is None else self.steps
        end = game.rollout(meta, chunk, draws, steps=steps, order=1)
        where = (meta, end.params, chunk["support"], end.state, draws.at("support", steps - 1, 0))

        def shifted(product: Tree, w: Tree) -> Tree:
            return tree_map(lambda j, own: torch.add(j, own, alpha=self.strength), product, w)

        system = LinearSystem(times=lambda w: shifted(game.vjp(*where, w), w), transposed=lambda w: shifted(game.jvp(*where, w), w))
        pulled = game.query_gradients(meta, end, chunk["query"], draws.at("query"))
        solved = {player: solve(system, right, solver=self.solver, iterations=self.iterations) for player, right in pulled.items()}
        return {player: tree_map(lambda leaf: self.strength * leaf, tree[player]) for player, tree in solved.items()}
