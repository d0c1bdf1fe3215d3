"""Penalties on the discriminator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from bench.contracts import Play, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Positive = Annotated[float, Field(gt=0)]


class GradientPenalty:
    """weight * mean_b (|grad D(x_b)| - 1)^2 at x = eps real + (1 - eps) fake, norm per sample (Gulrajani et al., 2017, eq. 3).

    Where real and fake differ in number, the shorter one sets the number of mixtures.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 10.0) -> None:
        self.weight = weight

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        real, fake = play.real, play.fake
        n = min(len(real), len(fake))
        eps = draws.uniform("eps", (n, *[1] * (real.ndim - 1)))
        gradient = play.input_gradient(eps * real[:n] + (1 - eps) * fake[:n])
        norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()  # norm() has a NaN second derivative at 0
        return self.weight * (norm - 1).square().mean(), state


class R1:
    """weight / 2 * mean_b |grad D(real_b)|^2 (Mescheder et al., 2018, eq. 9)."""

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 1.0) -> None:
        self.weight = weight

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight / 2 * play.input_gradient(play.real).flatten(1).square().sum(1).mean(), state
