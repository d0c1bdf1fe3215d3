"""Adaptation of a context alone: a few numbers per task, which enter networks that all tasks share.

A context enters through the weights that a network runs with, so any network of linear layers and convolutions takes one as it is.
Axes: D context numbers, O outputs of a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import ContractError, Game, Optimiser, Tree, rate_of, tree_map
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners.adaptation import Rates, joined
from bench_builtin.meta_learners.maml import QueryLearner
from bench_builtin.meta_learners.rates import scaled_step

if TYPE_CHECKING:
    from bench.contracts import Draws

Layer = nn.Linear | nn.modules.conv._ConvNd
CONTEXT = "context"
"""Name of a player's context among its parameters."""


@dataclass(frozen=True, kw_only=True)
class Cavia(QueryLearner):
    """a_0 = 0, a_{k+1} = a_k - inner_lr * direction(dL_p^S/da_p): only a player's context a (D,) adapts; theta is shared.

    The network's parameters theta and the maps by which a enters are learned in the outer loop:

    - ``concatenated``: a stands beside the input of the first layer, whose bias becomes b + W a. For a convolution these are constant
      channels, which padding goes on with beyond the border.
    - ``film``: outputs of each linear layer and convolution are scaled by 1 + S a and shifted by B a, before any norm that follows; a
      layer without bias is only scaled.
    - ``low-rank``: each such layer runs with W + U diag(a) V, outputs as rows.

    Args:
        form: how the context enters.
        context: D, numbers in a player's context. 0 leaves nothing to adapt: joint training.
        players: patterns of the players' names that get a context.
        adapts: parameters that adapt besides, see :func:`~bench_builtin.meta_learners.selection.split_by`:
            ``players: [generator], adapts: ["discriminator.*"]`` lets an ordinary discriminator play against a context.
        learned_rates: learn a factor on ``inner_lr`` per adapted number, as :class:`~bench_builtin.meta_learners.rates.MetaSgd` does.
        inner_lr: plain SGD with a large rate is the paper's way too: 1.0, 5 context numbers, 1 step on sinusoids.

    Meta: ``shared`` (and ``initial``, of what ``adapts``), ``context`` {player: {layer: {"scale", "shift", "left", "right"}}}, and
    ``rates`` where they are learned.

    Source: Zintgraf et al., 2019, https://arxiv.org/abs/1810.03642, algorithm 1 and section 3.2; FiLM: Perez et al., 2018,
    https://arxiv.org/abs/1709.07871, eq. 2; low rank: after Hu et al., 2022, https://arxiv.org/abs/2106.09685, eq. 3.
    """

    form: Literal["concatenated", "film", "low-rank"] = "film"
    context: Annotated[int, Field(ge=0)] = 16
    players: tuple[str, ...] = ("*",)
    adapts: tuple[str, ...] = ()
    learned_rates: bool = False
    inner_lr: Rates = 1.0
    inner_optimiser: Optimiser = Sgd()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cross_player == "own-path":
            raise ContractError(
                "cross_player: own-path reaches meta parameters through adaptation alone, but theta acts directly; use full"
            )

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        chosen = [player for player in game.modules if any(fnmatch(player, pattern) for pattern in self.players)]
        if not chosen:
            raise ContractError(f"players: {', '.join(self.players)} matches none of this game's players: {', '.join(game.modules)}")
        theta = {part: own for part, own in super().init(rng, game).items() if own}  # adapts may leave nothing in ``initial``
        meta = {**theta, "context": {player: self.maps(player, game.modules[player], rng) for player in chosen}}
        return {**meta, "rates": tree_map(torch.ones_like, _start(meta))} if self.learned_rates else meta

    def maps(self, player: str, module: nn.Module, rng: torch.Generator) -> Tree:
        """{layer: {"scale", "shift", "left", "right"}}: how a context enters one network; forms differ in which of these there are.

        Raises:
            ContractError: the network has no layer that can take a context in this form.
        """
        layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, Layer)]
        if self.form == "concatenated":
            layers = layers[:1]
        if not layers or (self.form == "concatenated" and layers[0][1].bias is None):
            raise ContractError(
                f"{player}: form {self.form!r} needs a linear layer or a convolution{' with a bias' if layers else ''}, "
                "this network has none where the context enters; choose another form, or other players"
            )
        return {name: self.entry(f"{player}.{name}", layer, rng) for name, layer in layers}

    def entry(self, name: str, layer: Layer, rng: torch.Generator) -> dict[str, Tensor]:
        """How a context enters one layer; maps have D first and broadcast with the weight from there on."""
        weight, bias, axis = layer.weight.detach(), layer.bias, 0
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            axis = 1  # of the outputs: its weight is (in, out, ...)
            if layer.groups > 1:
                raise ContractError(f"{name}: a context can't enter a transposed convolution with groups ({layer.groups}); use groups=1")
        outputs = [size if i == axis else 1 for i, size in enumerate(weight.shape)]
        inputs = [1 if i == axis else size for i, size in enumerate(weight.shape)]
        fan_in = math.prod(inputs)

        def uniform(reach: float, *shape: int) -> Tensor:
            return (reach * (2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1)).to(weight)

        size = self.context
        if self.form == "concatenated":
            return {"shift": uniform(1 / math.sqrt(fan_in + size), size, weight.shape[axis])}
        if self.form == "low-rank":
            return {"left": uniform(1.0, size, *outputs), "right": uniform(1 / math.sqrt(fan_in), size, *inputs)}
        reach = 1 / math.sqrt(max(size, 1))
        shift = {} if bias is None else {"shift": uniform(reach, size, len(bias))}
        return {"scale": uniform(reach, size, *outputs), **shift}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        start = _start(meta)
        return start, {player: self.start(own) for player, own in start.items()}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        if not self.learned_rates:
            return super().update(meta, player, step, params, grads, inner, support)
        direction, inner = self.direction(grads, inner, step)
        return scaled_step(rate_of(self.inner_lr, player), meta["rates"][player], params, direction), inner

    def weights(self, meta: Tree, params: Tree) -> Tree:
        together = joined(meta.get("shared", {}), params)
        return {
            player: conditioned(own, own[CONTEXT], meta["context"][player]) if player in meta["context"] else own
            for player, own in together.items()
        }


def conditioned(theta: Tree, context: Tensor, maps: Tree) -> Tree:
    """One network's weights under a context (D,)."""
    weights = {name: w for name, w in theta.items() if name != CONTEXT}
    for layer, entry in maps.items():
        weight, bias = f"{layer}.weight".lstrip("."), f"{layer}.bias".lstrip(".")
        if "scale" in entry:
            scale = 1 + torch.tensordot(context, entry["scale"], 1)
            weights[weight] = scale * weights[weight]
            if bias in weights:
                weights[bias] = scale.flatten() * weights[bias]
        if "left" in entry:
            left = context.view(len(context), *[1] * (entry["left"].ndim - 1)) * entry["left"]
            weights[weight] = weights[weight] + (left * entry["right"]).sum(0)
        if "shift" in entry:
            weights[bias] = weights[bias] + context @ entry["shift"]
    return weights


def _start(meta: Tree) -> Tree:
    """What adapts, as a task begins: contexts of zeros beside ordinary parameters."""
    contexts = {player: {CONTEXT: _some(maps).new_zeros(len(_some(maps)))} for player, maps in meta["context"].items()}
    return joined(meta.get("initial", {}), contexts)


def _some(maps: Tree) -> Tensor:
    """Any of a player's maps: D long, with the dtype and device of its weights."""
    tensor: Tensor = next(iter(next(iter(maps.values())).values()))
    return tensor
