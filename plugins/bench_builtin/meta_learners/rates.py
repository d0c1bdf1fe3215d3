"""Learned update strategies: what is subtracted in an adaptation step is itself learned in the outer loop.

Three ways to learn it: a rate per parameter, a rate per layer and step, or a network that makes rate, decay and clipping from the
state of adaptation. A layer is a parameter tensor here, as in the papers: weight and bias of a module count twice.

What is learned are factors on the settings that adaptation starts with, such as ``inner_lr``: rates are much smaller than weights, and
an outer Adam moves every number by about ``outer_lr`` a step, so rates themselves would be lost in its noise. Where budgets are short,
``outer_lr`` may give the factors a speed of their own by the name of their part of meta, beside the players:
``{generator: 0.0003, discriminator: 0.0003, rates: 0.01}``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import Game, Tree, rate_of, tree_map
from bench_builtin.meta_learners.adaptation import Schedule
from bench_builtin.meta_learners.maml import QueryLearner

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer

Share = Annotated[float, Field(ge=0, le=1)]
"""Of the budget of meta-training."""
Count = Annotated[int, Field(ge=1)]
Learned = Literal["rate", "decay", "clipping"]


@dataclass(frozen=True, kw_only=True)
class MetaSgd(QueryLearner):
    """phi_{k+1} = phi_k - alpha o direction: alpha, one rate per parameter, is learned together with theta and may turn negative.

    alpha = inner_lr * rates, and rates start at 1. The paper learns alpha itself, drawn from [0.005, 0.1] at the start, with
    ``inner_optimiser: sgd``, ``steps: 1`` and an outer Adam of 0.001.

    Meta: ``rates`` {player: {name: shape of the parameter}}.

    Source: Li et al., 2017, https://arxiv.org/abs/1707.09835, eq. 1 and algorithm 1.
    """

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        return {**meta, "rates": tree_map(torch.ones_like, meta["initial"])}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        direction, inner = self.direction(grads, inner, step)
        return scaled_step(rate_of(self.inner_lr, player), meta["rates"][player], params, direction), inner


def scaled_step(lr: float, factors: Tree, params: Tree, direction: Tree) -> Tree:
    """Params after a step of phi - lr * factor o direction, with a factor per parameter."""
    return tree_map(lambda p, d, factor: p - lr * factor * d, params, direction, factors)


@dataclass(frozen=True, kw_only=True)
class MamlPlusPlus(QueryLearner):
    """phi_{k+1} = phi_k - alpha_{l,k} direction_l; J_p = sum_k w_k(progress) L_p^Q(phi_k): MAML made stable by four measures.

    1. A learned rate for each layer l and step k, alpha = inner_lr * rates with rates of 1 at the start (the paper learns alpha itself).
       Adaptation longer than in meta-training goes on with the last step's rate.
    2. The query judges every step k = 1..K. All weights start at 1/K; those before the last step fall to 0.03/K, linearly in the
       progress of the budget, and the last step gets the rest. State of the game's components is that at the end of adaptation.
    3. First order in the first part of the budget, ``order`` afterwards.
    4. Cosine schedule of the outer rate.

    Its fifth measure, batch norm statistics per step, has no place here: no network of the harness has running statistics, which leak
    between tasks.

    Args:
        steps: adaptation steps in meta-training, for each of which there is a rate.
        learned_rates: (1); False: ``inner_lr`` throughout.
        multi_step_loss: (2); False: the last step alone is judged.
        loss_annealing: share of the budget after which the early weights have nearly gone: 1/10 (15 of 150 epochs) in the authors' code.
        first_order: share of the budget in which inner gradients are constants: 1/3 (50 of 150 epochs) in the paper; 0 turns (3) off.

    The paper's settings: inner SGD of 0.1 (Omniglot) or 0.01, 5 steps, outer Adam of 0.001.

    Meta: ``rates`` {player: {name: (steps,)}}.

    Source: Antoniou et al., 2019, https://arxiv.org/abs/1810.09502, section 4.
    """

    steps: Count = 5
    learned_rates: bool = True
    multi_step_loss: bool = True
    loss_annealing: Share = 0.1
    first_order: Share = 1 / 3
    outer_schedule: Schedule = "cosine"

    @property
    def exact_gradient(self) -> bool:
        """False where training begins with the first order."""
        return super().exact_gradient and not self.first_order

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        if not self.learned_rates:
            return meta
        return {**meta, "rates": tree_map(lambda w: w.new_ones(self.steps), meta["initial"])}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        if not self.learned_rates:
            return super().update(meta, player, step, params, grads, inner, support)
        k, lr = min(step, self.steps - 1), rate_of(self.inner_lr, player)
        direction, inner = self.direction(grads, inner, step)
        return tree_map(lambda p, d, factor: p - lr * factor[k] * d, params, direction, meta["rates"][player]), inner

    def objective(
        self, game: Engine, meta: Tree, chunk: Tree, draws: Draws, progress: float = 0.0
    ) -> dict[str, torch.Tensor] | torch.Tensor:
        """As of :class:`QueryLearner`, at this ``progress`` of the budget."""
        end = game.rollout(meta, chunk, draws, steps=self.steps, order=self.order_at(progress))
        if not self.multi_step_loss:
            return self.judged(game, meta, end, chunk["query"], draws.at("query"))
        judged = [self.judged(game, meta, replace(end, params=phi), chunk["query"], draws.at("query")) for phi in end.path[1:]]
        weights = self.loss_weights(progress)
        value: dict[str, Tensor] | Tensor = tree_map(
            lambda *values: sum(weight * value for weight, value in zip(weights, values, strict=True)), *judged
        )
        return value

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        progress = outer.progress
        gradient, log = game.meta_gradient(lambda m, chunk, d: self.objective(game, m, chunk, d, progress), meta, episodes, draws)
        return outer.descend(meta, gradient), log

    def order_at(self, progress: float) -> Literal[1, 2]:
        """Order of the inner gradients at this share of the budget."""
        return 1 if progress < self.first_order else self.order

    def loss_weights(self, progress: float) -> list[float]:
        """Weights of the K judged steps at this share of the budget; they sum to 1."""
        floor = 0.03 / self.steps
        left = 1 - progress / self.loss_annealing if progress < self.loss_annealing else 0.0
        early = max(left / self.steps, floor)
        return [early] * (self.steps - 1) + [1 - early * (self.steps - 1)]


@dataclass(frozen=True, kw_only=True)
class Alfa(QueryLearner):
    """phi_l' = (1 - decay_l) phi_l - rate_l clip(direction_l, c_l): a network makes rate, decay and threshold c at every step.

    (rate, decay, c)_l = start o exp(f_{l,k}) o 2 sigmoid(h_l(tau)), where tau holds the means of gradient and of weights of every layer l
    of the player, h is a perceptron with one hidden layer as wide as tau, one for each player, and f is learned for each layer and step.
    clip scales a layer's direction down to a root mean square of c.

    h and f start at 0, so meta-learning sets out from MAML with constant decay and clipping. In the paper, which has no clipping, h is
    unbounded and starts at random, and factors are learned as they are; here what is generated stays between 0 and twice its learned
    factor, whatever the state of a GAN's adaptation. Adaptation longer than in meta-training goes on with the last step's factors.

    Args:
        steps: adaptation steps in meta-training, for each of which there are factors.
        learned: what is generated; a rate that is not is ``inner_lr``, decay and clipping that are not do not happen.
        decay: decay of weights per step in units of the rate, at the start (authors' code: 0.0005).
        clip: threshold c at the start. Adam's directions have a root mean square of about 1.

    Meta: ``strategy`` {player: {"network": {...}, "log_factors": {what: {name: (steps,)}}}}.

    Source: Baik et al., 2020, https://arxiv.org/abs/2011.00209, section 3.2.
    """

    steps: Count = 5
    learned: tuple[Learned, ...] = ("rate", "decay", "clipping")
    decay: Annotated[float, Field(ge=0)] = 0.0005
    clip: Annotated[float, Field(gt=0)] = 1.0

    at_test: ClassVar[tuple[str, ...]] = (*QueryLearner.at_test, "decay", "clip")

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        if not self.learned:
            return meta

        def strategy(theta: Tree) -> Tree:
            log_factors = {what: tree_map(lambda w: w.new_zeros(self.steps), theta) for what in self.learned}
            some = next(iter(theta.values()))
            return {"network": perceptron(2 * len(theta), len(self.learned) * len(theta), some, rng), "log_factors": log_factors}

        return {**meta, "strategy": {player: strategy(theta) for player, theta in meta["initial"].items()}}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        if not self.learned:
            return super().update(meta, player, step, params, grads, inner, support)
        direction, inner = self.direction(grads, inner, step)
        generated = self.generated(meta["strategy"][player], params, grads, step)
        lr = rate_of(self.inner_lr, player)
        rate = tree_map(lambda factor: lr * factor, generated["rate"]) if "rate" in generated else dict.fromkeys(params, lr)
        if "clipping" in generated:
            direction = tree_map(lambda d, factor: clipped(d, self.clip * factor), direction, generated["clipping"])
        if "decay" in generated:
            params = tree_map(lambda p, factor: (1 - lr * self.decay * factor) * p, params, generated["decay"])
        return tree_map(lambda p, d, a: p - a * d, params, direction, rate), inner

    def generated(self, strategy: Tree, params: Tree, grads: Tree, step: int) -> Tree:
        """{what: {name: factor ()}} on the start values of one player's update, between 0 and twice the learned factor."""
        k, names = min(step, self.steps - 1), sorted(params)
        state = torch.stack([tree[name].mean() for tree in (grads, params) for name in names])
        raw = (2 * torch.sigmoid(run(strategy["network"], state))).view(len(self.learned), len(names))
        return {
            what: {name: strategy["log_factors"][what][name][k].exp() * raw[row, column] for column, name in enumerate(names)}
            for row, what in enumerate(self.learned)
        }


# ------------------------------------------------------------------ parts
def perceptron(inputs: int, outputs: int, like: Tensor, rng: torch.Generator) -> Tree:
    """Weights of inputs -> inputs -> outputs: hidden layer uniform in +-1/sqrt(inputs), output layer 0."""

    def uniform(*shape: int) -> Tensor:
        return ((2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1) / math.sqrt(inputs)).to(like)

    return {
        "hidden": {"weight": uniform(inputs, inputs), "bias": uniform(inputs)},
        "output": {"weight": like.new_zeros(outputs, inputs), "bias": like.new_zeros(outputs)},
    }


def run(network: Tree, x: Tensor) -> Tensor:
    """Output of a :func:`perceptron`, with rectified hidden units."""
    hidden, output = network["hidden"], network["output"]
    y: Tensor = output["weight"] @ torch.relu(hidden["weight"] @ x + hidden["bias"]) + output["bias"]
    return y


def clipped(direction: Tensor, threshold: Tensor) -> Tensor:
    """``direction`` with a root mean square of at most ``threshold``; differentiable, also at 0."""
    rms = (direction.square().mean() + 1e-12).sqrt()
    return direction * (threshold / rms).clamp(max=1)
