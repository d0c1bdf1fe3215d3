"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from torch import nn

from bench.contracts import ContractError, Kind, SampleSpec
from bench_builtin.networks.conditional import Conditioning
from bench_builtin.networks.family import Family
from bench_builtin.networks.layers import Activation, Norm, Positive, dense, output_layers

T = TypeVar("T")
SIDES = ("generator", "discriminator")


class Mlp(Family):
    """Fully connected layers, for any kind of sample.

    ``width``, ``depth``, ``activation`` and ``norm`` are one value, or one for what makes samples and one for what reads them:
    ``{generator: 400, discriminator: 200}``; decoders are of the first sort, encoders, classifiers and models of the second.

    The networks of PacGAN's points (Lin et al., 2018, https://arxiv.org/abs/1712.04086, section 4.1) are width {generator: 400,
    discriminator: 200}, depth {generator: 4, discriminator: 3}, activation {generator: relu, discriminator: maxout}, latent 2. Their
    generator has batch norm after each hidden layer, whose running statistics would leak between tasks: norm {generator: rms,
    discriminator: none} is the nearest here.

    Args:
        width: units of each hidden layer.
        depth: hidden layers.
        latent: latent numbers of a generator.
        activation: leaky-relu (slope 0.2), relu, tanh, silu, or maxout of 5 linear pieces a unit.
        norm: after each hidden layer.
        conditioning: how the discriminator takes labels.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("points", "regression", "signal", "image")

    def __init__(
        self,
        *,
        width: Positive | dict[str, Positive] = 64,
        depth: Positive | dict[str, Positive] = 2,
        latent: Positive = 8,
        activation: Activation | dict[str, Activation] = "leaky-relu",
        norm: Norm | dict[str, Norm] = "none",
        conditioning: Conditioning = "projection",
    ) -> None:
        self.width: dict[str, int] = _by_side("width", width)
        self.depth: dict[str, int] = _by_side("depth", depth)
        self.activation: dict[str, Activation] = _by_side("activation", activation)
        self.norm: dict[str, Norm] = _by_side("norm", norm)
        self.latent, self.conditioning = latent, conditioning

    def reader(self, shape: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), *self._hidden("discriminator", math.prod(shape)), self._output("discriminator", outputs))

    def maker(self, inputs: int, spec: SampleSpec) -> nn.Module:
        features = math.prod(spec.shape)
        return nn.Sequential(*self._hidden("generator", inputs), self._output("generator", features), *output_layers(spec))

    def read_as(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Flat, so that labels are features once and not at every pixel."""
        return (math.prod(shape),)

    def _hidden(self, side: str, inputs: int) -> list[nn.Module]:
        width, norm, activation = self.width[side], self.norm[side], self.activation[side]
        return [layer for i in range(self.depth[side]) for layer in dense(width if i else inputs, width, norm, activation)]

    def _output(self, side: str, outputs: int) -> nn.Module:
        return nn.Linear(self.width[side], outputs)


def _by_side(name: str, value: T | Mapping[str, T]) -> dict[str, T]:
    """{"generator": value, "discriminator": value}.

    Raises:
        ContractError: a mapping has other keys.
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(SIDES, value)
    if set(value) != set(SIDES):
        raise ContractError(
            f"mlp: {name} has values for {', '.join(sorted(value)) or 'nobody'}; give one value, or one for each of {' and '.join(SIDES)}"
        )
    return dict(value)
