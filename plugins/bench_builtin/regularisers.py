"""Penalties on the discriminator, and regularisers of the outer update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import Tree, leaves, tree_map

if TYPE_CHECKING:
    from bench.contracts import Critic, Draws

Positive = Annotated[float, Field(gt=0)]


class GradientPenalty:
    """weight * mean_b (|grad D(x_b)| - 1)^2 at x = eps real + (1 - eps) fake, norm per sample (Gulrajani et al., 2017, eq. 3).

    Where real and fake differ in number, the shorter one sets the number of mixtures.
    """

    player: ClassVar[str] = "discriminator"
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 10.0) -> None:
        self.weight = weight

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        n = min(len(real), len(fake))
        eps = draws.uniform("eps", (n, *[1] * (real.ndim - 1)))
        gradient = critic.input_gradient(eps * real[:n] + (1 - eps) * fake[:n])
        norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()  # norm() has a NaN second derivative at 0
        return self.weight * (norm - 1).square().mean(), state


class R1:
    """weight / 2 * mean_b |grad D(real_b)|^2 (Mescheder et al., 2018, eq. 9)."""

    player: ClassVar[str] = "discriminator"
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 1.0) -> None:
        self.weight = weight

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight / 2 * critic.input_gradient(real).flatten(1).square().sum(1).mean(), state


class OuterWeightDecay:
    """L2 shrinkage of the meta parameters in the outer loop.

    Coupled: weight * theta joins the meta-gradient. Decoupled: theta shrinks by outer_lr * weight beside the
    optimiser's step (Loshchilov & Hutter, 2019).
    """

    def __init__(self, *, weight: Positive = 1e-4, decoupled: bool = True) -> None:
        self.weight, self.decoupled = weight, decoupled

    def adjust_gradient(self, meta: Tree, gradient: Tree) -> Tree:
        return gradient if self.decoupled else tree_map(lambda g, theta: g + self.weight * theta, gradient, meta)

    def adjust_update(self, meta: Tree, updated: Tree, outer_lr: float) -> Tree:
        return tree_map(lambda new, theta: new - outer_lr * self.weight * theta, updated, meta) if self.decoupled else updated


class OuterClip:
    """Meta-gradient scaled to at most ``norm``, each player's part apart; its direction stays."""

    def __init__(self, *, norm: Positive = 1.0) -> None:
        self.norm = norm

    def adjust_gradient(self, meta: Tree, gradient: Tree) -> Tree:
        return {name: {owner: self._clipped(part) for owner, part in branch.items()} for name, branch in gradient.items()}

    def _clipped(self, part: Tree) -> Tree:
        norm = torch.sqrt(sum(leaf.square().sum() for _, leaf in leaves(part)) + 1e-24)
        scale = (self.norm / norm).clamp(max=1.0)
        return tree_map(lambda leaf: scale * leaf, part)


REGULARISERS = {
    "gradient-penalty": GradientPenalty,
    "r1": R1,
    "outer-weight-decay": OuterWeightDecay,
    "outer-clip": OuterClip,
}
