"""Penalties that keep a generator from giving the same sample again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from bench.contracts import Play, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Positive = Annotated[float, Field(gt=0)]


class FeatureMatching:
    """weight * |mean_b f(real_b) - mean_b f(fake_b)|^2 joins the generator's loss; f are the inputs of the discriminator's last layer.

    The paper minimises this instead of the game's loss; it is an addition here, as users of it have come to do.

    Source: Salimans et al., 2016, https://arxiv.org/abs/1606.03498, section 3.1.
    """

    players: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, *, weight: Positive = 1.0) -> None:
        self.weight = weight

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight * (play.features(play.real).mean(0) - play.features(play.fake).mean(0)).square().sum(), state


class ModeSeeking:
    """weight / (mean |G(z) - G(z')| / mean |z - z'| + eps) joins the generator's loss: other latents shall give other samples.

    z are the latents of the fakes, z' fresh ones; |.| is per entry, and means are over entries and samples.

    Args:
        weight: of the penalty, 1 in the paper.
        eps: what a generator that has collapsed completely pays is weight / eps; the authors' value.

    Source: Mao et al., 2019 (MSGAN), https://arxiv.org/abs/1903.05628, minimised as in the authors' code.
    """

    players: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, *, weight: Positive = 1.0, eps: Positive = 1e-5) -> None:
        self.weight, self.eps = weight, eps

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        z, other = play.latents, draws.normal("z", tuple(play.latents.shape))
        apart = (play.generate(z) - play.generate(other)).abs().mean() / (z - other).abs().mean()
        return self.weight / (apart + self.eps), state
