"""Model-agnostic meta-learning of a game's initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from bench.contracts import ContractError, Factor, Space, Tree
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop, Steps
from bench_builtin.meta_learners.objectives import Objective, judge

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


@dataclass(frozen=True, kw_only=True)
class QueryLearner(Adapts, OuterLoop):
    """Adapts on the support and descends what the end of adaptation is worth on the query: the family of MAML.

    Args:
        order: 2 differentiates through adaptation; 1 takes inner gradients as constants.
        meta_objective: by what a player is judged on the query: "player", its own loss; "zero-sum", the discriminator's loss
            and its negative; "probe", the generator by the energy distance of its samples to the query.
        cross_player: "full": each player descends its own value, also where that acts through the opponent's adaptation,
            dJ_p/dtheta_p. "own-path": J^T (dL_p^Q/dphi_p)_p in one pull-back, which drops those terms of a game.
        steps: adaptation steps in meta-training; None: the protocol's.
        adapts: which parameters adapt, see :func:`~bench_builtin.meta_learners.selection.split_by`; the others are shared by all
            tasks and learned in the outer loop.
    """

    order: Literal[1, 2] = 2
    meta_objective: Objective = "player"
    cross_player: Literal["full", "own-path"] = "full"
    steps: Steps = None
    adapts: tuple[str, ...] = ("*",)

    has_objective: ClassVar[bool] = True
    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4)}

    def __post_init__(self) -> None:
        if self.cross_player == "own-path" and self.meta_objective != "player":
            raise ContractError("cross_player: own-path pulls the players' own losses back; it needs meta_objective: player")
        if self.cross_player == "own-path" and self.adapts != ("*",):
            raise ContractError(
                "cross_player: own-path reaches meta parameters through adaptation alone, but shared ones act directly; use full"
            )

    @property
    def exact_gradient(self) -> bool:
        """Is the meta-gradient the derivative of the objective's value?"""
        return self.order == 2 and not self.crosses_players

    @property
    def crosses_players(self) -> bool:
        """Does a player's loss move the meta parameters of another?"""
        return self.cross_player == "own-path"

    def steps_of(self, game: Engine) -> int:
        """Adaptation steps in meta-training."""
        return game.adaptation_steps if self.steps is None else self.steps

    def objective(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, torch.Tensor] | torch.Tensor:
        """{player: J_p(phi_K) (T,)}, or one value per task that pulls all players back at once."""
        end = game.rollout(meta, chunk, draws, steps=self.steps_of(game), order=self.order)
        return self.judged(game, meta, end, chunk["query"], draws.at("query"))

    def judged(self, game: Engine, meta: Tree, end: Any, query: Tree, draws: Draws) -> dict[str, torch.Tensor] | torch.Tensor:
        """What ``end`` is worth on the query, as :meth:`objective` gives it."""
        if self.cross_player == "own-path":
            return game.own_path(meta, end, query, draws)
        return judge(self.meta_objective, game, meta, end, query, draws)

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        gradient, log = game.meta_gradient(lambda m, chunk, d: self.objective(game, m, chunk, d), meta, episodes, draws)
        return outer.descend(meta, gradient), log


@dataclass(frozen=True, kw_only=True)
class Maml(QueryLearner):
    """min_theta mean_i J_p(phi_K) for each player p, phi_K = K adaptation steps from theta on the support.

    ``order: 1`` is FOMAML. Defaults of the family: see :class:`QueryLearner`.

    Source: Finn et al., 2017, https://arxiv.org/abs/1703.03400, eq. 1 and section 5.2 (first order).
    """


@dataclass(frozen=True, kw_only=True)
class Anil(QueryLearner):
    """Almost no inner loop: only the head adapts, the body is shared: phi = theta - m o inner_lr * direction, m = 1 on the head.

    For a GAN the head is the generator's first layer and the discriminator's last.

    Source: Raghu et al., 2020, https://arxiv.org/abs/1909.09157, section 4.
    """

    adapts: tuple[str, ...] = ("head",)


@dataclass(frozen=True, kw_only=True)
class Boil(QueryLearner):
    """Body only in the inner loop: what ANIL adapts is shared, and the other way round.

    Source: Oh et al., 2021, https://arxiv.org/abs/2008.08882, section 3.
    """

    adapts: tuple[str, ...] = ("body",)
