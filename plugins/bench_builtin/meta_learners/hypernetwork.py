"""A network that reads the support and emits updates of the players' parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import ContractError, Factor, Game, Space, Tree, tree_map
from bench_builtin.meta_learners.adaptation import whole_task
from bench_builtin.meta_learners.maml import QueryLearner

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine, Outer

Count = Annotated[int, Field(ge=1)]
SUMMARY = 2
"""Numbers that a repeated emission sees beside the code, see :func:`progress_of`."""


@dataclass(frozen=True, kw_only=True)
class Hypernetwork(QueryLearner):
    """phi = theta + Delta(S), Delta_l = emission_scale * U_l(c) V_l for each layer l, c = mean over the support of an encoder e(x).

    U_l is linear in the code c and starts at 0, so that the learner starts as MAML; V_l (rank x inputs) is the layer's own. The mean
    makes Delta blind to the order of the support. Each player has an encoder, since each learns from its own objective.

    Args:
        emission: "one-shot": Delta is emitted once, then ordinary gradient steps follow (``inner_lr: 0``: none do); "repeated":
            phi' = phi - inner_lr * direction(g) + Delta(c, k, size of g) at each step k.
        training: "query": emission and theta descend the query's judgement at the end of adaptation. "two-stage": theta is trained
            jointly on whole tasks for ``joint_share`` of the budget, then it stays, and Delta is fitted to where base models go that
            train on each task alone: mean over coordinates of (Delta - (phi_T - theta))^2, phi_T = ``base_steps`` steps from theta on
            its support. Two-stage fits a one-shot emission.
        encoder: "mlp": linear, tanh, linear; or "linear".
        code: numbers in c.
        width: hidden units of the encoder.
        rank: of Delta_l.
        emission_scale: of Delta.
        joint_share: of the budget; 0 where a warm start has trained the networks.
        base_steps: T.
        sample_size: numbers in one support sample, targets included; None: read off the game's networks.

    Source: Ha et al., 2016, https://arxiv.org/abs/1609.09106, for networks that emit weights; a meta-generator that emits the updates of
    trained base models, in two stages, follows the literature on generating parameter updates for generative models.
    """

    order: Literal[1, 2] = 1
    emission: Literal["one-shot", "repeated"] = "one-shot"
    training: Literal["query", "two-stage"] = "query"
    encoder: Literal["mlp", "linear"] = "mlp"
    code: Count = 32
    width: Count = 64
    rank: Count = 4
    emission_scale: Annotated[float, Field(gt=0)] = 0.1
    joint_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    base_steps: Count = 25
    sample_size: Count | None = None

    space: ClassVar[Space] = {"inner_lr": Factor(1 / 4, 4), "outer_lr": Factor(1 / 4, 4), "emission_scale": Factor(1 / 4, 4)}
    at_test: ClassVar[tuple[str, ...]] = (*QueryLearner.at_test, "emission_scale")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training == "two-stage" and self.emission == "repeated":
            raise ContractError("training: two-stage fits one displacement per task, got emission: repeated; use emission: one-shot")

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        meta = super().init(rng, game)
        size = sample_size(game) if self.sample_size is None else self.sample_size
        heads = {player: {name: self._head(rng, leaf) for name, leaf in own.items()} for player, own in meta["initial"].items()}
        encoders = {player: self._encoder(rng, size, next(iter(own.values()))) for player, own in meta["initial"].items()}
        return {**meta, "encoder": encoders, "heads": heads}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        theta, inner = super().begin(meta, support, draws)
        codes = {player: code_of(meta["encoder"][player], support) for player in theta}
        if self.emission == "repeated":
            return theta, {player: {"base": inner[player], "code": codes[player]} for player in theta}
        return {player: tree_map(torch.add, own, self.emitted(meta, player, codes[player])) for player, own in theta.items()}, inner

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        if self.emission == "one-shot":
            return super().update(meta, player, step, params, grads, inner, support)
        params, base = super().update(meta, player, step, params, grads, inner["base"], support)
        delta = self.emitted(meta, player, torch.cat([inner["code"], progress_of(step, grads)]))
        return tree_map(torch.add, params, delta), {"base": base, "code": inner["code"]}

    def emitted(self, meta: Tree, player: str, code_C: Tensor) -> Tree:
        """Delta of one player, {name: tensor}."""

        def one(head: Tree, like: Tensor) -> Tensor:
            spread = (code_C @ head["spread"]).reshape(-1, len(head["basis"]))
            delta: Tensor = self.emission_scale * (spread @ head["basis"])
            return delta.reshape(like.shape)

        return {name: one(meta["heads"][player][name], leaf) for name, leaf in meta["initial"][player].items()}

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        if self.training == "query":
            return super().meta_update(meta, game, episodes, outer, draws)
        joint = outer.progress < self.joint_share
        stage, kept = (self.joint_loss, ("encoder", "heads")) if joint else (self.misfit, ("initial", "shared"))
        gradient, log = game.meta_gradient(
            lambda m, chunk, d: stage(game, m, chunk, d),
            meta,
            episodes,
            draws,
            wrt=lambda path: None if path[0] in kept else game.owner(path),
        )
        moved = outer.descend(meta, gradient)
        return {name: meta[name] if name in kept else part for name, part in moved.items()}, log

    def joint_loss(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, Tensor]:
        """{player: L_p(theta) (T,)} on support and query: the first stage, in which Delta is still 0."""
        start = game.begin(meta, chunk["support"], draws)
        losses, state = game.losses(meta, start.params, whole_task(chunk), start.state, draws.at("joint"))
        game.carry(replace(start, state=state))
        return losses

    def misfit(self, game: Engine, meta: Tree, chunk: Tree, draws: Draws) -> dict[str, Tensor]:
        """{player: (T,)}, mean square of Delta - (phi_T - theta): the second stage."""
        start = game.begin(meta, chunk["support"], draws)
        theta = tree_map(lambda own, like: own.detach().expand_as(like), meta["initial"], start.params)
        base = game.rollout(meta, chunk, draws, steps=self.base_steps, order=1, start=replace(start, params=theta, path=[theta]))
        offsets = tree_map(lambda emitted, trained: (emitted - trained.detach()).flatten(1), start.params, base.params)
        return {player: torch.cat(list(own.values()), 1).square().mean(1) for player, own in offsets.items()}

    def _head(self, rng: torch.Generator, like: Tensor) -> Tree:
        """``spread`` (code, outputs * rank), 0, and ``basis`` (rank, inputs), of signs: none of them starts too small to be learned."""
        outputs = like.shape[0] if like.ndim else 1
        rank = min(self.rank, outputs, like.numel() // outputs)
        seen = self.code + (SUMMARY if self.emission == "repeated" else 0)
        signs = 2 * torch.randint(2, (rank, like.numel() // outputs), generator=rng) - 1
        return {"spread": like.new_zeros(seen, outputs * rank), "basis": (signs / math.sqrt(rank)).to(like)}

    def _encoder(self, rng: torch.Generator, size: int, like: Tensor) -> Tree:
        """{layer: {"weight" (inputs, outputs), "bias"}}, normal with variance 1 / inputs."""

        def layer(inputs: int, outputs: int) -> Tree:
            weight = torch.randn((inputs, outputs), generator=rng, dtype=like.dtype) / math.sqrt(inputs)
            return {"weight": weight.to(like.device), "bias": like.new_zeros(outputs)}

        if self.encoder == "linear":
            return {"output": layer(size, self.code)}
        return {"hidden": layer(size, self.width), "output": layer(self.width, self.code)}


def code_of(encoder: Tree, support: Tree) -> Tensor:
    """Mean over the support of what the encoder makes of a sample: its inputs and, where there are any, its targets."""
    samples_SF = torch.cat([support[name].flatten(1) for name in ("x", "y") if name in support], 1)
    if "hidden" in encoder:
        samples_SF = torch.tanh(_affine(encoder["hidden"], samples_SF))
    return _affine(encoder["output"], samples_SF.mean(0))


def progress_of(step: int, grads: Tree) -> Tensor:
    """(2,): 1 / (1 + k), and a tenth of the logarithm of the gradient's root mean square: what tells the steps of a task apart."""
    flat = torch.cat([leaf.flatten() for _, leaf in sorted(grads.items())])
    size = 0.05 * (flat.square().mean() + 1e-20).log()  # 1e-20: a gradient of exactly 0 has a logarithm, and a derivative
    return torch.stack([torch.full_like(size, 1 / (1 + step)), size])


def sample_size(game: Game) -> int:
    """Numbers in one support sample: as the game says, or else what the generator makes, or what the only network reads and says.

    Raises:
        ContractError: the networks don't tell.
    """
    spec = getattr(game, "spec", None)
    if spec is not None:
        return math.prod(spec.shape) + (math.prod(spec.targets) if spec.targets else 0) + spec.classes
    generator = game.modules.get("generator")
    if generator is not None and isinstance(latent := getattr(generator, "latent", None), int):
        some = next(generator.parameters())
        with torch.no_grad():
            return int(generator(some.new_zeros(1, latent)).numel())
    linear = [layer for module in game.modules.values() for layer in module.modules() if isinstance(layer, nn.Linear)]
    if len(game.modules) == 1 and linear:
        return linear[0].in_features + linear[-1].out_features
    raise ContractError(
        "hypernetwork can't tell the size of a support sample from these networks; give sample_size (numbers in one sample)"
    )


def _affine(layer: Tree, rows: Tensor) -> Tensor:
    result: Tensor = rows @ layer["weight"] + layer["bias"]
    return result
