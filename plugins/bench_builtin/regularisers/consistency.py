"""Penalties on what the players make of two versions of one thing: a sample and its transform, a latent and its neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from bench.contracts import Play, Tree
from bench_builtin.augmentations.transforms import flipped, shifted

if TYPE_CHECKING:
    from bench.contracts import Draws

NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Consistency:
    """weight * mean_b |D(real_b) - D(T real_b)|^2: a transform that keeps what a sample shows shall not move its logit.

    T shifts an image by a random number of whole pixels and mirrors it left to right with probability 1/2, each sample on its own;
    points and signals get Gaussian noise.

    Args:
        weight: of the penalty, 10 in the paper.
        shift: largest shift, as a share of the image's sides; 1/8 is the paper's 4 pixels of 32.
        mirror: mirrors images; not for glyphs and others whose mirror images are something else.
        noise: standard deviation of the noise on points and signals, in their own units; the paper, which has images only, names none.

    Source: Zhang et al., 2020 (CR-GAN), https://arxiv.org/abs/1910.12027.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)

    def __init__(self, *, weight: NotNegative = 10.0, shift: Share = 0.125, mirror: bool = True, noise: NotNegative = 0.1) -> None:
        self.weight, self.shift, self.mirror, self.noise = weight, shift, mirror, noise

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        return self.weight * unsteadiness(play, play.real, self.transformed(play.real, draws)), state

    def transformed(self, x_B: Tensor, draws: Draws) -> Tensor:
        """T x, shape of ``x``."""
        if x_B.ndim < 4:
            return x_B + self.noise * draws.normal("noise", tuple(x_B.shape))
        x_B = shifted(x_B, self.shift, draws)
        return flipped(x_B, draws) if self.mirror else x_B


class BalancedConsistency:
    """real_weight * mean_b |D(real_b) - D(T real_b)|^2 + fake_weight * mean_b |D(fake_b) - D(T fake_b)|^2, T a random transform.

    T is that of :class:`Consistency`; on real samples alone it leaks into the generator.

    Source: Zhao et al., 2021 (bCR), https://arxiv.org/abs/2002.04724: both weights are the authors'.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)

    def __init__(
        self,
        *,
        real_weight: NotNegative = 10.0,
        fake_weight: NotNegative = 10.0,
        shift: Share = 0.125,
        mirror: bool = True,
        noise: NotNegative = 0.1,
    ) -> None:
        self.real_weight, self.fake_weight = real_weight, fake_weight
        self.transformed = Consistency(shift=shift, mirror=mirror, noise=noise).transformed

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        real, fake = (unsteadiness(play, x, self.transformed(x, draws.at(who))) for who, x in (("real", play.real), ("fake", play.fake)))
        return self.real_weight * real + self.fake_weight * fake, state


class LatentConsistency:
    """Neighbours in latent space, z and z + dz with dz ~ N(0, noise^2 I), shall look alike to D and different from G.

    The discriminator minimises discriminator_weight * mean_b |D(G(z_b)) - D(G(z_b + dz_b))|^2, the generator
    -generator_weight * mean_b |G(z_b) - G(z_b + dz_b)|^2, the norm over all entries of a sample: it has no lower bound, so generators
    whose outputs have none want a small weight.

    Source: Zhao et al., 2021 (zCR), https://arxiv.org/abs/2002.04724: defaults are the authors'.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def __init__(self, *, discriminator_weight: NotNegative = 5.0, generator_weight: NotNegative = 0.5, noise: NotNegative = 0.03) -> None:
        self.weights = {"discriminator": discriminator_weight, "generator": generator_weight}
        self.noise = noise

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        z = play.latents
        # Both made here: what the discriminator sees of the fakes may be augmented, each in a way of its own.
        here, there = play.generate(z), play.generate(z + self.noise * draws.normal("dz", tuple(z.shape)))
        if player == "discriminator":
            return self.weights[player] * unsteadiness(play, here, there), state
        return -self.weights[player] * (here - there).flatten(1).square().sum(1).mean(), state


def unsteadiness(play: Play, one_B: Tensor, other_B: Tensor) -> Tensor:
    """mean_b |D(one_b) - D(other_b)|^2."""
    return (play.logits(one_B) - play.logits(other_B)).square().mean()
