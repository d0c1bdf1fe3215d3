"""A small convolutional network for signals."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from bench.contracts import Kind, SampleSpec
from bench_builtin.networks.conditional import Conditioning
from bench_builtin.networks.family import Family
from bench_builtin.networks.layers import Norm, Positive
from bench_builtin.networks.strided import strided_maker, strided_reader


class Conv1d(Family):
    """Two strided one-dimensional convolutions a player, for signals (C, L) of a length that is a multiple of 4.

    WaveGAN (Donahue et al., 2019, https://arxiv.org/abs/1802.04208) flattens a DCGAN in the same way, with longer kernels and strides
    for signals of 16,384 steps.

    Args:
        width: channels of the generator's middle layer.
        latent: latent numbers of the generator.
        norm: after each hidden layer of both players.
        conditioning: how the discriminator takes labels.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("signal",)

    def __init__(
        self,
        *,
        width: Annotated[int, Field(ge=4, multiple_of=4)] = 32,
        latent: Positive = 16,
        norm: Norm = "none",
        conditioning: Conditioning = "projection",
    ) -> None:
        self.width, self.latent, self.norm, self.conditioning = width, latent, norm, conditioning

    def reader(self, shape: tuple[int, ...], outputs: int) -> nn.Module:
        return strided_reader("conv1d", shape, outputs, width=self.width, norm=self.norm)

    def maker(self, inputs: int, spec: SampleSpec) -> nn.Module:
        return strided_maker("conv1d", inputs, spec, width=self.width, norm=self.norm)
