"""The classifier of few-shot image classification."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import nn

from bench.contracts import ContractError, Kind, SampleSpec
from bench_builtin.networks.family import classes_of
from bench_builtin.networks.layers import Norm, Positive, norm_layer


class Conv4:
    """Four blocks of convolution 3x3, norm, ReLU and max pooling that halves the sides, then a linear layer; images of any size.

    The literature's network has batch norm, here a norm of each sample: batch statistics would show a query's other samples. Sides
    of 1 are not pooled further, which happens below 16 x 16.

    Args:
        width: channels of every block; 64 in the source, 32 in MAML's code for miniImageNet.
        norm: after each convolution.

    Source: Vinyals et al., 2016, https://arxiv.org/abs/1606.04080, section 4.1.1.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    roles: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(self, *, width: Positive = 32, norm: Norm = "group") -> None:
        self.width, self.norm = width, norm

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        if role != "classifier":
            raise ContractError(f"conv4 has no role {role!r}; it builds a classifier (use dcgan)")
        classes = classes_of("conv4", spec)
        channels, *sides = spec.shape
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(channels, self.width, 3, padding=1), *norm_layer(self.norm, self.width), nn.ReLU()]
            channels = self.width
            if min(sides) > 1:
                layers.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(sides), classes))
