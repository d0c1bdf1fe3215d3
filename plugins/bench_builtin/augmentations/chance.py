"""Random quantities made from a task's uniform and normal numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench.contracts import Draws


def integers(draws: Draws, name: str, below: int, shape: tuple[int, ...]) -> Tensor:
    """Uniform integers in [0, below)."""
    return (draws.uniform(name, shape) * below).long().clamp(max=below - 1)  # a uniform number may round to 1


def rotation(draws: Draws, features: int) -> Tensor:
    """A rotation of R^F, uniformly distributed: Q of the QR decomposition of a Gaussian matrix (Mezzadri, 2007, section 5)."""
    q, r = torch.linalg.qr(draws.normal("rotation", (features, features)))
    q = q * torch.diagonal(r).sign()
    proper = torch.cat([torch.linalg.det(q).sign()[None], q.new_ones(features - 1)])
    return q * proper


def symmetric_beta(draws: Draws, concentration: float) -> Tensor:
    """A scalar from Beta(a, a) for 2a = 1, 2, ...: G / (G + G') with G, G' ~ Gamma(a), each half a sum of 2a squared normals."""
    terms = round(2 * concentration)
    squares = draws.normal("beta", (2, terms)).square().sum(1)
    return squares[0] / squares.sum()
