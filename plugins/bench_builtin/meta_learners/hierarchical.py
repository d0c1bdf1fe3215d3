"""Hierarchical adaptation: every sub-module of every player has shared and task-specific parameters, and a rate and a decay of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field

from bench.contracts import ContractError, Game, Tree, rate_of, tree_map
from bench_builtin.meta_learners.adaptation import joined
from bench_builtin.meta_learners.maml import QueryLearner
from bench_builtin.meta_learners.selection import layer_of

if TYPE_CHECKING:
    from bench.contracts import Draws


@dataclass(frozen=True, kw_only=True)
class Hierarchical(QueryLearner):
    """Networks run with theta_m + tau_m; tau_m' = (1 - c_m) tau_m - a_m direction_m, log a_m = log inner_lr + u_player + v_m.

    A sub-module m is a layer. Its meta parameters theta_m are shared by all tasks, its task-specific tau_m adapt; each task's tau_m is
    pulled back to 0, and so its weights to theta_m, by a learned share c_m a step. Rates are learned in log space on two levels, so that
    evidence of any sub-module moves the rate of its whole player (u), and what is special to it moves its own (v). With equal rates, no
    decay and a start at zero this is MAML, and ``adapts`` is what ANIL chooses.

    Learned rates change by about ``outer_lr`` a step in log space, which is slow for short budgets; ``outer_lr`` may give them a speed of
    their own, by the name of their part of meta: ``{generator: 0.001, discriminator: 0.001, rates: 0.01}``.

    Args:
        adapts: which parameters have a task-specific part, see :func:`~bench_builtin.meta_learners.selection.split_by`.
        start_at: tau_m of a new task: "zero", or "learned", an offset from theta_m from which the pull leads back.
        decay: c_m at the start, below 1; 0: no pull, and none is learned.

    Meta: ``initial`` theta of what adapts, ``shared`` the other parameters, ``offset`` the learned start, and
    ``rates`` {player: {"player": (), "module": {layer: ()}, "decay": {layer: ()}}}: u, v and the logit of c.

    Source: meta, task-specific parameters and rates by sub-module as articles on meta-learned GANs sketch them; the form is ours.
    """

    start_at: Literal["zero", "learned"] = "zero"
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cross_player == "own-path":
            raise ContractError(
                "cross_player: own-path reaches meta parameters through adaptation alone, but theta acts directly; use full"
            )

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        offset = {"offset": tree_map(torch.zeros_like, meta["initial"])} if self.start_at == "learned" else {}
        return {**meta, **offset, "rates": {player: self.first_rates(theta) for player, theta in meta["initial"].items()}}

    def first_rates(self, theta: Tree) -> Tree:
        """u, v and the logits of c of one player's sub-modules."""
        some = next(iter(theta.values()))

        def of_layers(value: float) -> Tree:
            return {layer_of(name): some.new_tensor(value) for name in theta}

        rates = {"player": some.new_tensor(0.0), "module": of_layers(0.0)}
        return {**rates, "decay": of_layers(math.log(self.decay / (1 - self.decay)))} if self.decay else rates

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        tau = meta["offset"] if self.start_at == "learned" else tree_map(torch.zeros_like, meta["initial"])
        return tau, {player: self.start(own) for player, own in tau.items()}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        return joined(meta.get("shared", {}), tree_map(torch.add, meta["initial"], params))

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        direction, inner = self.direction(grads, inner, step)
        rates, lr = meta["rates"][player], rate_of(self.inner_lr, player)

        def moved(name: str) -> torch.Tensor:
            layer = layer_of(name)
            a = lr * (rates["player"] + rates["module"][layer]).exp()
            kept = 1 - torch.sigmoid(rates["decay"][layer]) if self.decay else 1.0
            after: torch.Tensor = kept * params[name] - a * direction[name]
            return after

        return {name: moved(name) for name in params}, inner
