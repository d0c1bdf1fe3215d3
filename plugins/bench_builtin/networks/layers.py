"""What networks are made of besides linear layers and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import ContractError, SampleSpec

Norm = Literal["none", "group", "rms"]
Activation = Literal["leaky-relu", "relu", "tanh", "silu", "maxout"]
Positive = Annotated[int, Field(ge=1)]


class ChannelRms(nn.Module):
    """x / rms over all axes but the batch, times a gain per channel (Zhang & Sennrich, 2019), from plain operations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        rms = (x.flatten(1).square().mean(1) + 1e-6).sqrt()
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x / rms.view(-1, *[1] * (x.ndim - 1)) * self.gain.view(shape)


def norm_layer(norm: Norm, channels: int) -> list[nn.Module]:
    """The layers of a norm: none, group norm with groups of about 8 channels, or RMS."""
    if norm == "none":
        return []
    return [ChannelRms(channels)] if norm == "rms" else [nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)]


class Maxout(nn.Module):
    """(B, F * pieces) -> (B, F): the largest of each unit's linear pieces (Goodfellow et al., 2013, https://arxiv.org/abs/1302.4389)."""

    pieces = 5

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(2)


ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "leaky-relu": lambda: nn.LeakyReLU(0.2),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "maxout": Maxout,
}


def dense(inputs: int, outputs: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    """A hidden layer: linear, norm, activation."""
    linear = outputs * Maxout.pieces if activation == "maxout" else outputs
    return [nn.Linear(inputs, linear), *norm_layer(norm, linear), ACTIVATIONS[activation]()]


class Squash(nn.Module):
    """Map the real line to [low, high] by tanh."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.centre, self.reach = (low + high) / 2, (high - low) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.centre + self.reach * torch.tanh(x)


def output_layers(spec: SampleSpec) -> list[nn.Module]:
    """Squash a generator's output to the range of the samples, where they have one."""
    return [Squash(spec.low, spec.high)] if spec.low is not None and spec.high is not None else []


def quartered(network: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of samples (C, *sides), divided by 4.

    Raises:
        ContractError: one of them is no multiple of 4.
    """
    sides = shape[1:]
    if any(side % 4 for side in sides):
        what = "image sides that are multiples of 4" if len(sides) > 1 else "a length that is a multiple of 4"
        raise ContractError(
            f"{network} needs {what}, got {' x '.join(map(str, sides))}; change the {'size' if len(sides) > 1 else 'length'} "
            "of the task distribution"
        )
    return tuple(side // 4 for side in sides)
