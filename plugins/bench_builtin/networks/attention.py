"""Self-attention between the convolutions of a small DCGAN."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import Kind, SampleSpec
from bench_builtin.networks.conditional import Conditioning
from bench_builtin.networks.family import Family
from bench_builtin.networks.layers import Norm, Positive
from bench_builtin.networks.strided import Between, nothing, strided_maker, strided_reader


class SelfAttention(nn.Module):
    """x + gamma * W_v sum_m beta_nm W_h x_m over the positions m, n of (B, C, H, W), beta = softmax over m of (W_f x_m) . (W_g x_n).

    gamma starts at 0: the identity. From plain operations, since fused attention has no second derivative.

    Source: Zhang et al., 2019, https://arxiv.org/abs/1805.08318, eqs. 1 to 3; C / 8 channels of keys and queries as there, C / 2 of values.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Conv2d(channels, max(1, channels // share), 1, bias=False) for share in (8, 8, 2))
        self.output = nn.Conv2d(max(1, channels // 2), channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        key, query, value = (convolution(x).flatten(2) for convolution in (self.key, self.query, self.value))  # (B, c, HW)
        beta = torch.softmax(query.transpose(1, 2) @ key, 2)  # (B, n, m): rows sum to 1
        seen = (value @ beta.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.output(seen)


class Attention(Family):
    """A small DCGAN with self-attention at half the sides of the image (after SAGAN, Zhang et al., 2019).

    As it starts it computes what :class:`Dcgan` does. SAGAN's spectral norms are no part of it: regularisers are chosen in the suite.

    Args:
        players: whose network attends: what makes images (generator, decoder), what reads them (discriminator, encoder, classifier).
        width: channels of the generator's middle layer.
        latent: latent numbers of the generator.
        norm: after each hidden layer of both players.
        conditioning: how the discriminator takes labels.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self,
        *,
        players: tuple[Literal["generator", "discriminator"], ...] = ("generator", "discriminator"),
        width: Annotated[int, Field(ge=4, multiple_of=4)] = 32,
        latent: Positive = 32,
        norm: Norm = "none",
        conditioning: Conditioning = "projection",
    ) -> None:
        self.attending, self.width, self.latent, self.norm, self.conditioning = players, width, latent, norm, conditioning

    def reader(self, shape: tuple[int, ...], outputs: int) -> nn.Module:
        return strided_reader("attention", shape, outputs, width=self.width, norm=self.norm, between=self._between("discriminator"))

    def maker(self, inputs: int, spec: SampleSpec) -> nn.Module:
        return strided_maker("attention", inputs, spec, width=self.width, norm=self.norm, between=self._between("generator"))

    def _between(self, player: Literal["generator", "discriminator"]) -> Between:
        return (lambda channels: [SelfAttention(channels)]) if player in self.attending else nothing
