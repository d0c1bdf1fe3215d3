"""Penalties on the slope of the discriminator: the gradient of its logits with respect to a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import relu

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
        return self.weight * (slopes(play, mixtures(play, draws)) - 1).square().mean(), state


class OneSidedPenalty:
    """weight * mean_b max(0, |grad D(x_b)| - 1)^2 at x = eps real + (1 - eps) fake: slopes below 1 are free.

    Source: Petzka et al., 2018 (WGAN-LP), https://arxiv.org/abs/1709.08894: the default weight is that of the two-sided penalty.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 10.0) -> None:
        self.weight = weight

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight * relu(slopes(play, mixtures(play, draws)) - 1).square().mean(), state


class R1:
    """weight / 2 * mean_b |grad D(real_b)|^2 (Mescheder et al., 2018, eq. 9).

    The paper's experiments on images have weight 10; the default is 1.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 1.0) -> None:
        self.weight = weight

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight / 2 * squared_slopes(play, play.real).mean(), state


class R2:
    """weight / 2 * mean_b |grad D(fake_b)|^2 (Mescheder et al., 2018, eq. 10): R1 at the generated samples."""

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 1.0) -> None:
        self.weight = weight

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight / 2 * squared_slopes(play, play.fake).mean(), state


class Dragan:
    """weight * mean_b (|grad D(x_b)| - 1)^2 at x = real + spread * std(real) * u, u uniform in [0, 1): slope 1 around the data alone.

    std is one number, over all entries of the batch (divisor B F: 0 where there is one entry).

    Source: Kodali et al., 2017 (DRAGAN), https://arxiv.org/abs/1705.07215: ``weight`` and ``spread`` are those of the authors' code,
    which moves each sample by a random share of this, U(0, 1), of its own; the paper's text has Gaussian noise.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    uses_input_gradient: ClassVar[bool] = True

    def __init__(self, *, weight: Positive = 10.0, spread: Positive = 0.5) -> None:
        self.weight, self.spread = weight, spread

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        near = play.real + self.spread * play.real.std(correction=0) * draws.uniform("near", tuple(play.real.shape))
        return self.weight * (slopes(play, near) - 1).square().mean(), state


def mixtures(play: Play, draws: Draws) -> Tensor:
    """Eps * real + (1 - eps) * fake, one eps per pair; as many as the shorter one has rows."""
    n = min(len(play.real), len(play.fake))
    eps = draws.uniform("eps", (n, *[1] * (play.real.ndim - 1)))
    return eps * play.real[:n] + (1 - eps) * play.fake[:n]


def squared_slopes(play: Play, x_B: Tensor) -> Tensor:
    """|grad D(x_b)|^2, (B,)."""
    return play.input_gradient(x_B).flatten(1).square().sum(1)


def slopes(play: Play, x_B: Tensor) -> Tensor:
    """|grad D(x_b)|, (B,)."""
    return (squared_slopes(play, x_B) + 1e-12).sqrt()  # norm() has a NaN second derivative at 0
