"""Small residual networks for images."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from bench.contracts import Kind, SampleSpec
from bench_builtin.networks.conditional import Conditioning
from bench_builtin.networks.family import Family
from bench_builtin.networks.layers import Norm, Positive, norm_layer, output_layers, quartered


class Residual(nn.Module):
    """Shortcut plus (norm, activation, convolution 3x3) twice; sides double before the first convolution, or halve after the second."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, sides: Literal["doubled", "halved"]) -> None:
        super().__init__()
        before: list[nn.Module] = [nn.Upsample(scale_factor=2)] if sides == "doubled" else []
        after: list[nn.Module] = [nn.AvgPool2d(2)] if sides == "halved" else []
        self.main = nn.Sequential(
            *norm_layer(norm, inputs),
            nn.LeakyReLU(0.2),
            *before,
            nn.Conv2d(inputs, outputs, 3, padding=1),
            *norm_layer(norm, outputs),
            nn.LeakyReLU(0.2),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            *after,
        )
        self.shortcut = nn.Sequential(*before, nn.Conv2d(inputs, outputs, 1), *after)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.main(x)


class Resnet(Family):
    """Two residual blocks a player, for images whose sides are multiples of 4 (after Gulrajani et al., 2017, and Miyato et al., 2018).

    Generator: z -> linear to (2 width, H/4, W/4) -> two blocks that double the sides, to width -> norm, activation, conv 3x3 to the
    image, tanh. Discriminator: conv 3x3 to width -> two blocks that halve the sides, to 2 width -> norm, activation -> linear.
    LeakyReLU 0.2. Features are not summed over positions before the last layer, as in the papers: an encoder must know places.

    Args:
        width: channels at full size.
        latent: latent numbers of the generator.
        norm: before each activation of both players.
        conditioning: how the discriminator takes labels.

    Source: https://arxiv.org/abs/1704.00028, appendix F; https://arxiv.org/abs/1802.05957, table 4.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self, *, width: Positive = 16, latent: Positive = 32, norm: Norm = "none", conditioning: Conditioning = "projection"
    ) -> None:
        self.width, self.latent, self.norm, self.conditioning = width, latent, norm, conditioning

    def reader(self, shape: tuple[int, ...], outputs: int) -> nn.Module:
        small, width = quartered("resnet", shape), self.width
        return nn.Sequential(
            nn.Conv2d(shape[0], width, 3, padding=1),
            Residual(width, 2 * width, self.norm, "halved"),
            Residual(2 * width, 2 * width, self.norm, "halved"),
            *norm_layer(self.norm, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * math.prod(small), outputs),
        )

    def maker(self, inputs: int, spec: SampleSpec) -> nn.Module:
        small, width = quartered("resnet", spec.shape), self.width
        return nn.Sequential(
            nn.Linear(inputs, 2 * width * math.prod(small)),
            nn.Unflatten(1, (2 * width, *small)),
            Residual(2 * width, 2 * width, self.norm, "doubled"),
            Residual(2 * width, width, self.norm, "doubled"),
            *norm_layer(self.norm, width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, spec.shape[0], 3, padding=1),
            *output_layers(spec),
        )
