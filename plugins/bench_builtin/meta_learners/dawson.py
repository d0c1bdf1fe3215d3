"""DAWSON: the generator learns from a critic of the support and is judged by a critic of the query."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field

from bench.contracts import ContractError, Factor, Game, Space, Tree
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Dawson(Adapts, OuterLoop):
    """Two critics from one start d: d_S adapted on the support, d_Q on the query; g' is g adapted against d_S.

        J_G = L_G^Q(g', d_Q),    J_D = L_D^Q(d_S, g),    each descended by its own player only.

    A GAN gives no likelihood of the query, so a critic that has seen the query says what the generator's adaptation is worth; no
    critic judges the samples it was fooled by. Held-out tasks are adapted to by the game's ordinary play.

    Args:
        order: 1, as published, takes inner gradients as constants; 2 differentiates through them.
        critic_steps: rounds that d_S and d_Q adapt for in meta-training.
        generator_steps: steps from g to g'.

    The paper's settings are plain inner rates and an outer Adam of 1e-3, one task per outer step.

    Source: Liang et al., 2020, https://arxiv.org/abs/2001.00576, algorithm 1.
    """

    order: Literal[1, 2] = 1
    critic_steps: Count = 3
    generator_steps: Count = 1

    has_objective: ClassVar[bool] = True
    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4)}

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        if set(game.players) != {"generator", "discriminator"}:
            raise ContractError(f"dawson needs a generator and a discriminator, this game has {', '.join(game.players)}; use maml")
        return super().init(rng, game)

    def objective(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, torch.Tensor]:
        """{player: J_p (T,)}."""
        generator, critic, query = ("generator",), ("discriminator",), chunk["query"]
        on_support = game.rollout(meta, chunk, draws, steps=self.critic_steps, order=self.order, players=critic)
        on_query = game.rollout(meta, chunk, draws, steps=self.critic_steps, order=self.order, players=critic, part="query")
        first = replace(on_support, steps=0)  # the generator's own first step, for optimisers that count them
        moved = game.rollout(meta, chunk, draws, steps=self.generator_steps, order=self.order, players=generator, start=first)
        judged = {**moved.params, "discriminator": on_query.params["discriminator"]}
        judge = draws.at("judge")
        of_generator, _ = game.losses(meta, judged, query, on_query.state, judge, generator)
        of_critic, _ = game.losses(meta, on_support.params, query, on_support.state, judge, critic)
        return {**of_generator, **of_critic}

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        gradient, log = game.meta_gradient(lambda m, chunk, d: self.objective(game, m, chunk, d), meta, episodes, draws)
        return outer.descend(meta, gradient), log
