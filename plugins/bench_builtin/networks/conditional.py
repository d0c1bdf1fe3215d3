"""How a discriminator takes the labels of a labelled task. What makes a layer of N outputs from samples can be either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Conditioning = Literal["projection", "concatenation"]
Shape = tuple[int, ...]


class Concatenated(nn.Module):
    """Labels beside the input, as features or constant channels: x (B, C, ...), y (B, classes) -> network of (B, C + classes, ...).

    Args:
        network: takes samples of ``shape`` with ``classes`` more channels.
        shape: what samples are viewed as first.

    Source: Mirza & Osindero, 2014, https://arxiv.org/abs/1411.1784.
    """

    def __init__(self, network: nn.Module, shape: Shape) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = x.reshape(len(x), *self.shape)
        channels = y.reshape(*y.shape, *[1] * (x.ndim - 2)).expand(*y.shape, *x.shape[2:])
        return self.network(torch.cat([x, channels], 1))


class Projected(nn.Module):
    """Logit w . f + b + <V y, f> + c . y of features f, from a network whose last layer gives (w . f + b, V^T f + c), (B, 1 + classes).

    The logit of a class is a row of the last layer as the common one is, so what adapts, normalises or freezes the last layer has both
    at once. The offsets c of classes are not in the paper, whose V acts on features alone.

    Source: Miyato & Koyama, 2018, https://arxiv.org/abs/1802.05637, eq. 3.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        common, of_classes = self.network(x).split([1, y.shape[1]], 1)
        return common + (of_classes * y).sum(1, keepdim=True)


def discriminator(read: Callable[[Shape, int], nn.Module], shape: Shape, classes: int, conditioning: Conditioning) -> nn.Module:
    """Samples (B, ...), and one-hot labels (B, classes) where there are classes, -> logits (B, 1).

    Args:
        read: makes a network from samples of a shape to so many outputs.
        shape: of one sample, as ``read`` shall see it.
        classes: 0 is the plain network.
        conditioning: how labels enter.
    """
    if not classes:
        return read(shape, 1)
    if conditioning == "projection":
        return Projected(read(shape, 1 + classes))
    return Concatenated(read((shape[0] + classes, *shape[1:]), 1), shape)
