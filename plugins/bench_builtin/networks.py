"""Networks. Norms are those whose third derivatives PyTorch gets right, so penalties work at second order."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import ContractError, Kind, SampleSpec

Norm = Literal["none", "group", "rms"]
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


class Latent(nn.Module):
    """A generator: remembers how many latent numbers it takes, and gives samples their shape."""

    def __init__(self, body: nn.Module, latent: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body, self.latent, self.shape = body, latent, shape

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).reshape(len(z), *self.shape)


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


class Mlp:
    """Fully connected layers, for any kind of sample.

    Args:
        width: units of each hidden layer.
        depth: hidden layers.
        latent: latent numbers of a generator.
        activation: leaky-relu (slope 0.2), tanh or silu.
        norm: after each hidden layer.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("points", "regression", "signal", "image")

    def __init__(
        self,
        *,
        width: Positive = 64,
        depth: Positive = 2,
        latent: Positive = 8,
        activation: Literal["leaky-relu", "relu", "tanh", "silu"] = "leaky-relu",
        norm: Norm = "none",
    ) -> None:
        self.width, self.depth, self.latent, self.activation, self.norm = width, depth, latent, activation, norm

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        features = math.prod(spec.shape)
        if role == "generator":
            body = nn.Sequential(*self._hidden(self.latent), nn.Linear(self.width, features), *output_layers(spec))
            return Latent(body, self.latent, spec.shape)
        if role == "discriminator":
            return nn.Sequential(nn.Flatten(), *self._hidden(features), nn.Linear(self.width, 1))
        if role == "model":
            return nn.Sequential(nn.Flatten(), *self._hidden(features), nn.Linear(self.width, math.prod(spec.targets)))
        raise ContractError(f"mlp has no role {role!r}; it builds generator, discriminator and model")

    def _hidden(self, inputs: int) -> list[nn.Module]:
        activations = {"leaky-relu": lambda: nn.LeakyReLU(0.2), "relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}
        layers: list[nn.Module] = []
        for i in range(self.depth):
            layers += [
                nn.Linear(self.width if i else inputs, self.width),
                *norm_layer(self.norm, self.width),
                activations[self.activation](),
            ]
        return layers


class Dcgan:
    """Two strided convolutions a player, for images whose sides are multiples of 4 (after Radford et al., 2015).

    Generator: z -> linear to (3/2 width, H/4, W/4) -> transposed conv 4x4 to width -> transposed conv to the image, tanh.
    Discriminator: conv 4x4 to 3/4 width -> conv to 3/2 width -> linear. LeakyReLU 0.2. At 16 x 16 and width 32 these
    have 50 and 20 thousand parameters.

    Args:
        width: channels of the generator's middle layer.
        latent: latent numbers of the generator.
        norm: after each hidden layer of both players.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(self, *, width: Annotated[int, Field(ge=4, multiple_of=4)] = 32, latent: Positive = 32, norm: Norm = "none") -> None:
        self.width, self.latent, self.norm = width, latent, norm

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        channels, height, wide = spec.shape
        if height % 4 or wide % 4:
            raise ContractError(
                f"dcgan needs image sides that are multiples of 4, got {height} x {wide}; change the size of the task distribution"
            )
        high, middle, low = 3 * self.width // 2, self.width, 3 * self.width // 4
        if role == "generator":
            body = nn.Sequential(
                nn.Linear(self.latent, high * (height // 4) * (wide // 4)),
                nn.Unflatten(1, (high, height // 4, wide // 4)),
                *norm_layer(self.norm, high),
                nn.LeakyReLU(0.2),
                nn.ConvTranspose2d(high, middle, 4, stride=2, padding=1),
                *norm_layer(self.norm, middle),
                nn.LeakyReLU(0.2),
                nn.ConvTranspose2d(middle, channels, 4, stride=2, padding=1),
                *output_layers(spec),
            )
            return Latent(body, self.latent, spec.shape)
        if role == "discriminator":
            return nn.Sequential(
                nn.Conv2d(channels, low, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(low, high, 4, stride=2, padding=1),
                *norm_layer(self.norm, high),
                nn.LeakyReLU(0.2),
                nn.Flatten(),
                nn.Linear(high * (height // 4) * (wide // 4), 1),
            )
        raise ContractError(f"dcgan has no role {role!r}; it builds generator and discriminator (use mlp)")


class EncoderHead:
    """An encoder to a few linear units, and a head on them: what tasks may share, and what each may adapt (``model.head.*``).

    Hidden layers have ReLU; Glorot's uniform initialisation, zero biases. The defaults are the networks of MR-MAML's sinusoids
    (Yin et al., 2020, https://arxiv.org/abs/1912.03820); ``encoder: []`` leaves the plain network that its MAML adapts.

    Args:
        encoder: widths of the encoder's layers, the last one linear.
        head: widths of the head's hidden layers.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("regression",)

    def __init__(self, *, encoder: tuple[Positive, ...] = (100, 5), head: tuple[Positive, ...] = (40, 40)) -> None:
        self.encoder, self.head = encoder, head

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        if role != "model":
            raise ContractError(f"encoder-head has no role {role!r}; it builds a model (use mlp)")
        features = math.prod(spec.shape)
        stages = {"encoder": (features, *self.encoder), "head": ((features, *self.encoder)[-1], *self.head, math.prod(spec.targets))}
        return nn.Sequential(OrderedDict((name, _perceptron(widths)) for name, widths in stages.items() if len(widths) > 1))


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


NETWORKS = {"mlp": Mlp, "dcgan": Dcgan, "encoder-head": EncoderHead}
