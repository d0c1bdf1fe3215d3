"""WarpGrad: linear layers between the adapted ones, learned across tasks, that precondition adaptation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import Factor, Game, Optimiser, Space, Tree, tree_map
from bench_builtin.inner_optimisers import Adam
from bench_builtin.meta_learners.adaptation import Adapts, OuterLoop, Steps

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer

_FORWARD = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True)
class WarpGrad(Adapts, OuterLoop):
    """A layer runs with Omega W and Omega b: W and b adapt, the warp Omega (outputs x outputs) is learned and shared by all tasks.

    A plain step on W moves what the layer runs with by -inner_lr * Omega Omega^T * gradient: a learned preconditioner that is
    positive semi-definite. Omega starts at I. It descends what single steps from the points of adaptation are worth on the query,

        mean_k L_p^Q(phi_k - inner_lr * direction(dL_p^S/dphi_p(phi_k; Omega)); Omega),    phi_k held fixed,

    so no derivative runs through more than one step. The initialisation follows Reptile's pseudo-gradient theta - phi_K in the same
    outer step (the paper leaves its objective open and uses Leap, of which this is the form without step lengths).

    Args:
        steps: adaptation steps in meta-training; None: the protocol's.
        largest: layers of more outputs are not warped: Omega has outputs^2 entries. Norms and grouped convolutions never are.

    The paper warps with convolutions as well; on a convolution's channels ours are their 1 x 1 case.

    Source: Flennerhag et al., 2020, https://arxiv.org/abs/1909.00025, section 2 and algorithm 1 (online).
    """

    inner_optimiser: Optimiser = Adam(eps=1e-4)
    steps: Steps = None
    largest: Annotated[int, Field(ge=0)] = 256

    has_objective: ClassVar[bool] = True
    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4)}

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        warps = {player: _identities(module, self.largest) for player, module in game.modules.items()}
        return {**super().init(rng, game), "warp": {player: own for player, own in warps.items() if own}}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        return {player: _warped(meta.get("warp", {}).get(player, {}), own) for player, own in super().weights(meta, params).items()}

    def objective(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, Tensor]:
        """{player: (T,)}: the mean query loss along the path, whose gradient for theta is Reptile's."""
        steps = game.adaptation_steps if self.steps is None else self.steps
        here = game.begin(meta, chunk["support"], draws)
        values: list[dict[str, Tensor]] = []
        for _ in range(steps):
            here = game.rollout(meta, chunk, draws, steps=1, order=2, start=_constant(here))
            values.append(game.losses(meta, here.params, chunk["query"], here.state, draws.at("query"))[0])
        return {
            player: torch.stack([value[player] for value in values]).mean(0) + _pull(meta["initial"][player], phi)
            for player, phi in here.params.items()
        }

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        gradient, log = game.meta_gradient(lambda m, chunk, d: self.objective(game, m, chunk, d), meta, episodes, draws)
        return outer.descend(meta, gradient), log


def _identities(module: nn.Module, largest: int) -> Tree:
    """{"forward" or "transposed": {layer: I}}: the axis of a weight that Omega acts on is the first, or the second."""
    kinds: dict[str, dict[str, Tensor]] = {"forward": {}, "transposed": {}}
    for name, layer in module.named_modules():
        transposed = isinstance(layer, _TRANSPOSED)
        if not (transposed or isinstance(layer, _FORWARD)) or getattr(layer, "groups", 1) > 1:
            continue  # the outputs of different groups see different inputs: no weight mixes them
        outputs = layer.weight.shape[1 if transposed else 0]
        if outputs <= largest:
            like = layer.weight.detach()
            kinds["transposed" if transposed else "forward"][name] = torch.eye(outputs, dtype=like.dtype, device=like.device)
    return {kind: warps for kind, warps in kinds.items() if warps}


def _warped(warps: Tree, weights: Tree) -> Tree:
    """One player's {name: tensor} with Omega applied to the outputs of each warped layer."""
    result = dict(weights)
    for axis, kind in enumerate(("forward", "transposed")):
        for layer, omega in warps.get(kind, {}).items():
            weight, bias = f"{layer}.weight", f"{layer}.bias"
            result[weight] = torch.tensordot(omega, weights[weight], dims=([1], [axis])).movedim(0, axis)
            if bias in weights:
                result[bias] = omega @ weights[bias]
    return result


def _constant(point: Any) -> Any:
    """A rollout that starts here, whatever led here."""
    params, inner, state = (tree_map(torch.detach, tree) for tree in (point.params, point.inner, point.state))
    return replace(point, params=params, inner=inner, state=state, path=[params])


def _pull(theta: Tree, phi: Tree) -> Tensor:
    """0 per task, with derivative theta - phi with respect to theta."""
    square = sum((own - end.detach()).square().flatten(1).sum(1) for own, end in ((theta[name], phi[name]) for name in theta))
    half: Tensor = 0.5 * square
    return half - half.detach()
