"""Fine-tuning that is drawn back to where it starts, so that a few steps on a few samples forget less of what all tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.contracts import Factor, Game, Space, Tree, tree_map
from bench_builtin.meta_learners.adaptation import joined
from bench_builtin.meta_learners.baselines import Finetune

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer

Strength = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class L2Sp(Finetune):
    """Joint training, then adaptation that minimises L^S(phi) + strength/2 |phi - theta|^2 (SP: starting point).

    strength (phi - theta) is added to a gradient before the inner optimiser sees it; at theta itself it vanishes, so the first step is
    that of plain fine-tuning. Strength 0 is :class:`~bench_builtin.meta_learners.baselines.Finetune`.

    Args:
        strength: the paper chooses it by validation among powers of ten. Inner Adam takes steps of inner_lr whatever the gradient's
            size, so only strength inner_lr against the size of a gradient matters.

    Source: Li et al., 2018, https://arxiv.org/abs/1802.01483, eq. 2 (all parameters have a starting point here).
    """

    strength: Strength = 0.1

    space: ClassVar[Space] = {**Finetune.space, "strength": Factor(1 / 10, 10)}
    at_test: ClassVar[tuple[str, ...]] = (*Finetune.at_test, "strength")

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        pull = self.pull(meta, player, params)
        grads = tree_map(lambda g, own: g + self.strength * own, grads, pull)
        return super().update(meta, player, step, params, grads, inner, support)

    def pull(self, meta: Tree, player: str, params: Tree) -> Tree:
        """Gradient of one player's penalty at strength 1."""
        return tree_map(lambda phi, theta: phi - theta, params, meta["initial"][player])


@dataclass(frozen=True, kw_only=True)
class Ewc(L2Sp):
    """Elastic weight consolidation: adaptation minimises L^S(phi) + strength/2 sum_j F_j (phi_j - theta_j)^2.

    F is the diagonal of the empirical Fisher information of the pooled tasks: the mean over training tasks of the squared gradient
    (dL_i/dtheta)^2 of each player's own loss. Its gradients are those that joint training takes anyway, so F costs none. It lives in
    ``meta["fisher"]``, which the outer optimiser leaves alone, as a mean over outer steps that forgets what lies more than about
    ``window`` steps back: F belongs to the theta that training ends with.

    Args:
        strength: large, since gradients are small numbers and F has their squares; the default suits F of a mean of 5e-5, which small
            GANs on rings end with. It scales with the inverse square of the loss.
        window: outer steps.

    Source: Li et al., 2020, https://arxiv.org/abs/2012.02780; Kirkpatrick et al., 2017, https://arxiv.org/abs/1612.00796, eq. 3.
    """

    strength: Strength = 1000.0
    window: Annotated[int, Field(ge=1)] = 200

    has_objective: ClassVar[bool] = False

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        return {**meta, "fisher": tree_map(torch.zeros_like, meta["initial"])}

    def pull(self, meta: Tree, player: str, params: Tree) -> Tree:
        return tree_map(torch.mul, meta["fisher"][player], super().pull(meta, player, params))

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        """The outer step of joint training from each task's own gradient, of which the mean descends and the mean square is F."""
        learned = {name: part for name, part in meta.items() if name in ("initial", "shared")}
        squares = []

        def gradients(chunk: Tree, draws: Draws) -> Tree:
            start = game.begin(meta, chunk["support"], draws)
            tasks = len(draws.key)
            shared = tree_map(lambda leaf: leaf.expand(tasks, *leaf.shape), meta.get("shared", {}))
            theta = joined(shared, start.params)
            grads, _ = game.gradients(meta, theta, self.joint_batch(chunk), start.state, draws.at("joint"), game.players, 1)
            squares.append(tree_map(lambda _, g: g.square().sum(0), meta["fisher"], grads))
            return {name: tree_map(lambda _, g: g, part, grads) for name, part in learned.items()}

        gradient = game.mean_over_tasks(gradients, meta, episodes, draws)
        fresh = 1 / (min(outer.step + 1, self.window) * len(draws.key))
        keep = 1 - 1 / min(outer.step + 1, self.window)
        fisher = tree_map(lambda F, *squares: keep * F + fresh * sum(squares), meta["fisher"], *squares)
        return {**outer.descend(meta, gradient), "fisher": fisher}, {}
