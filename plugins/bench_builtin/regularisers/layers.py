"""The layers of a network that regularisers act on: those with a matrix or a convolution's kernel, in the network's order."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.contracts import Tree


def kernel_layers(module: nn.Module) -> dict[str, nn.Module]:
    """{name within ``module``: layer}; norms and activations are none."""
    return {name: layer for name, layer in module.named_modules() if any(own.ndim >= 2 for own in layer.parameters(recurse=False))}


def zeros_beside(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters of a second map of the layer's own form, which starts at zero: {name: tensor}."""
    return {name: torch.zeros_like(weight) for name, weight in layer.named_parameters(recurse=False)}


def kernels(weights: Tree) -> Tree:
    """The matrices and convolutions' kernels among {player: {name: tensor}}; players without any are left out."""
    found = {player: {name: weight for name, weight in own.items() if weight.ndim >= 2} for player, own in weights.items()}
    return {player: own for player, own in found.items() if own}


def inverse_softplus(value: float) -> float:
    """Where ln(1 + e^x) is ``value`` > 0, also where e^value overflows."""
    return value + math.log(-math.expm1(-value))
