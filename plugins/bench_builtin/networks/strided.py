"""Two strided convolutions each way, in one or two dimensions (after Radford et al., 2016, https://arxiv.org/abs/1511.06434).

Kernels have 4 taps a side, so that strides of 2 cover every position equally often.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from bench.contracts import SampleSpec
from bench_builtin.networks.layers import Norm, norm_layer, output_layers, quartered

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
Between = Callable[[int], list[nn.Module]]
"""Channels -> layers that keep the shape, put in at half the sides."""


def nothing(channels: int) -> list[nn.Module]:
    """No layers."""
    return []


def strided_maker(network: str, inputs: int, spec: SampleSpec, *, width: int, norm: Norm, between: Between = nothing) -> nn.Module:
    """Linear to (3/2 width, *sides / 4) -> transposed convolution to width -> transposed convolution to the sample, tanh.

    Raises:
        ContractError: sides of ``spec.shape`` are no multiples of 4.
    """
    small, channels = quartered(network, spec.shape), spec.shape[0]
    high, convolution = 3 * width // 2, TRANSPOSED[len(small)]
    return nn.Sequential(
        nn.Linear(inputs, high * math.prod(small)),
        nn.Unflatten(1, (high, *small)),
        *norm_layer(norm, high),
        nn.LeakyReLU(0.2),
        convolution(high, width, 4, stride=2, padding=1),
        *norm_layer(norm, width),
        nn.LeakyReLU(0.2),
        *between(width),
        convolution(width, channels, 4, stride=2, padding=1),
        *output_layers(spec),
    )


def strided_reader(
    network: str, shape: tuple[int, ...], outputs: int, *, width: int, norm: Norm, between: Between = nothing
) -> nn.Sequential:
    """Convolution to 3/4 width -> convolution to 3/2 width -> linear; no norm after the first, which would hide contrast.

    Raises:
        ContractError: sides of ``shape`` are no multiples of 4.
    """
    small, channels = quartered(network, shape), shape[0]
    low, high, convolution = 3 * width // 4, 3 * width // 2, CONVOLUTIONS[len(small)]
    return nn.Sequential(
        convolution(channels, low, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        *between(low),
        convolution(low, high, 4, stride=2, padding=1),
        *norm_layer(norm, high),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(high * math.prod(small), outputs),
    )
