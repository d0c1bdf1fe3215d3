"""A recurrent network, one for each player and the same for all its coordinates, that says how gradients become steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import Factor, Game, Optimiser, Space, Tree, rebuild, tree_map
from bench_builtin.inner_optimisers import Adam
from bench_builtin.meta_learners.maml import QueryLearner

if TYPE_CHECKING:
    from bench.contracts import Draws

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class LearnedOptimiser(QueryLearner):
    """phi' = phi - inner_lr * direction(g) + output_scale * m(g, memory), m an LSTM that sees one coordinate at a time.

    The inner optimiser is what the LSTM corrects: m's output layer starts at 0, so that the learner starts as MAML with that optimiser.
    The initialisation is learned too. Memory starts at 0 for each task.

    Args:
        order: 1, as published, takes the gradients that the LSTM sees as constants; 2 differentiates through them.
        hidden, layers: units and layers of the LSTM.
        output_scale: of the LSTM's output.
        precision: p, see :func:`seen`.
        output_layer: how it starts: "zero", or "random", which with ``inner_lr: 0`` is the paper's.

    The paper's 2 layers of 20 units and scale 0.1 serve 100 steps from random starts; few steps from a learned start need less.

    Source: Andrychowicz et al., 2016, https://arxiv.org/abs/1606.04474, section 2.1 and appendix A.
    """

    inner_optimiser: Optimiser = Adam(eps=1e-4)
    order: Literal[1, 2] = 1
    hidden: Count = 20
    layers: Literal[1, 2] = 1
    output_scale: Annotated[float, Field(gt=0)] = 0.01
    precision: Annotated[float, Field(gt=0)] = 10.0
    output_layer: Literal["zero", "random"] = "zero"

    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4), "output_scale": Factor(1 / 4, 4)}
    at_test: ClassVar[tuple[str, ...]] = (*QueryLearner.at_test, "output_scale")

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        return {**meta, "optimiser": {player: self._lstm(rng, next(iter(own.values()))) for player, own in meta["initial"].items()}}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        theta, inner = super().begin(meta, support, draws)
        return theta, {player: {"base": inner[player], "memory": self._nothing_seen(own)} for player, own in theta.items()}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        params, base = super().update(meta, player, step, params, grads, inner["base"], support)
        lstm = meta["optimiser"][player]
        flow, memory = seen(coordinates(grads), self.precision), {}
        for layer, before in inner["memory"].items():
            memory[layer] = lstm_step(lstm["layers"][layer], flow, before)
            flow = memory[layer]["hidden"]
        moves = (self.output_scale * (flow @ lstm["output"])).split([leaf.numel() for leaf in _in_order(params)])
        corrections = rebuild(params, (move.reshape(leaf.shape) for move, leaf in zip(moves, _in_order(params), strict=True)))
        return tree_map(torch.add, params, corrections), {"base": base, "memory": memory}

    def _lstm(self, rng: torch.Generator, like: Tensor) -> Tree:
        """Weights of the LSTM, uniform in +-1 / sqrt(hidden) as is usual."""

        def draw(*shape: int) -> Tensor:
            uniform = 2 * torch.rand(shape, generator=rng, dtype=like.dtype) - 1
            return (uniform / math.sqrt(self.hidden)).to(like.device)

        gates = 4 * self.hidden
        layers = {
            str(layer): {"input": draw(self.hidden if layer else 2, gates), "hidden": draw(self.hidden, gates), "bias": draw(gates)}
            for layer in range(self.layers)
        }
        output = draw(self.hidden)
        return {"layers": layers, "output": torch.zeros_like(output) if self.output_layer == "zero" else output}

    def _nothing_seen(self, params: Tree) -> Tree:
        some = next(iter(params.values()))
        rows = some.new_zeros(sum(leaf.numel() for leaf in params.values()), self.hidden)
        return {str(layer): {"hidden": rows, "cell": rows} for layer in range(self.layers)}


def lstm_step(weights: Tree, inputs_NF: Tensor, before: Tree) -> Tree:
    """{"hidden", "cell"} (N, H) after one step of an LSTM on N coordinates (Hochreiter & Schmidhuber, 1997, with forget gates)."""
    gates = inputs_NF @ weights["input"] + before["hidden"] @ weights["hidden"] + weights["bias"]
    let_in, forget, let_out, new = gates.chunk(4, -1)
    cell = forget.sigmoid() * before["cell"] + let_in.sigmoid() * new.tanh()
    return {"hidden": let_out.sigmoid() * cell.tanh(), "cell": cell}


def seen(grads_N: Tensor, precision: float) -> Tensor:
    """(N, 2): (log|g| / p, sign g) where |g| >= e^-p, else (-1, e^p g); continuous, since sizes of gradients span many orders.

    Source: Andrychowicz et al., 2016, appendix A.
    """
    large = grads_N.abs() >= math.exp(-precision)
    size = torch.where(large, grads_N.abs(), 1.0).log() / precision  # where first: the derivative of log 0 would be NaN
    return torch.stack(
        [torch.where(large, size, -1.0), torch.where(large, grads_N.sign(), math.exp(precision) * grads_N)],
        -1,
    )


def coordinates(params: Tree) -> Tensor:
    """(N,): all coordinates of one player, by sorted names."""
    return torch.cat([leaf.flatten() for leaf in _in_order(params)])


def _in_order(params: Tree) -> list[Tensor]:
    return [params[name] for name in sorted(params)]
