"""A small DCGAN."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from bench.contracts import Kind, SampleSpec
from bench_builtin.networks.conditional import Conditioning
from bench_builtin.networks.family import Family
from bench_builtin.networks.layers import Norm, Positive
from bench_builtin.networks.strided import strided_maker, strided_reader


class Dcgan(Family):
    """Two strided convolutions a player, for images whose sides are multiples of 4 (after Radford et al., 2015).

    Generator: z -> linear to (3/2 width, H/4, W/4) -> transposed conv 4x4 to width -> transposed conv to the image, tanh.
    Discriminator: conv 4x4 to 3/4 width -> conv to 3/2 width -> linear. LeakyReLU 0.2. At 16 x 16 and width 32 these
    have 50 and 20 thousand parameters.

    Args:
        width: channels of the generator's middle layer.
        latent: latent numbers of the generator.
        norm: after each hidden layer of both players.
        conditioning: how the discriminator takes labels.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self,
        *,
        width: Annotated[int, Field(ge=4, multiple_of=4)] = 32,
        latent: Positive = 32,
        norm: Norm = "none",
        conditioning: Conditioning = "projection",
    ) -> None:
        self.width, self.latent, self.norm, self.conditioning = width, latent, norm, conditioning

    def reader(self, shape: tuple[int, ...], outputs: int) -> nn.Module:
        return strided_reader("dcgan", shape, outputs, width=self.width, norm=self.norm)

    def maker(self, inputs: int, spec: SampleSpec) -> nn.Module:
        return strided_maker("dcgan", inputs, spec, width=self.width, norm=self.norm)
