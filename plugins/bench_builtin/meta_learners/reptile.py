"""Reptile: move the initialisation towards where adaptation ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.contracts import Factor, Optimiser, Space, Tree, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop, Rates, Schedule, Steps, whole_task

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer


@dataclass(frozen=True, kw_only=True)
class Reptile(Adapts, OuterLoop):
    """theta <- theta + outer_lr * mean_i(phi_K^i - theta), as an outer step along the pseudo-gradient theta - phi_K.

    Outer SGD is the paper's interpolation. No derivative of adaptation is taken.

    Args:
        uses: what adaptation sees in meta-training: the support, or the whole task (Reptile needs no query).
        steps: adaptation steps in meta-training; None: the protocol's.
        outer_lr: the interpolation's epsilon, which the paper decays linearly to 0.

    Source: Nichol et al., 2018, https://arxiv.org/abs/1803.02999, algorithm 1.
    """

    uses: Literal["support", "task"] = "task"
    steps: Steps = None
    outer_lr: Rates = 0.5
    outer_optimiser: Optimiser = Sgd()
    outer_schedule: Schedule = "linear"

    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 2)}

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        """The mean runs over all tasks of the step, chunk by chunk."""
        if self.uses == "task":
            episodes = {**episodes, "support": whole_task(episodes)}
        steps = game.adaptation_steps if self.steps is None else self.steps

        def moved(chunk: Tree, draws: Draws) -> Tree:
            end = game.rollout(meta, chunk, draws, steps=steps, order=1)
            return {"initial": tree_map(lambda theta, phi: theta - phi, meta["initial"], end.params)}

        return outer.descend(meta, game.mean_over_tasks(moved, meta, episodes, draws)), {}


@dataclass(frozen=True, kw_only=True)
class Figr(Reptile):
    """Reptile's pseudo-gradient theta - phi_K given to an outer Adam, with plain SGD inside, on the support alone.

    Defaults are those of the authors' code: inner rate 1e-3, outer Adam 1e-4, 10 adaptation steps, one task per outer step (the
    protocol's ``task_batch`` decides here). Their game is Wasserstein with gradient penalty.

    Source: Clouatre & Demers, 2019, https://arxiv.org/abs/1901.02199, algorithm 1.
    """

    inner_lr: Rates = 0.001
    inner_optimiser: Optimiser = Sgd()
    uses: Literal["support", "task"] = "support"
    outer_lr: Rates = 0.0001
    outer_optimiser: Optimiser = Adam(beta1=0.9, beta2=0.999)
    outer_schedule: Schedule = "constant"

    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4)}
