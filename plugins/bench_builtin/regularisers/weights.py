"""What a player's weights may be: near orthogonality, a box, a spectral norm of 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import Play, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Positive = Annotated[float, Field(gt=0)]

LINEAR_MAPS = (nn.Linear, nn.modules.conv._ConvNd)


class Orthogonal:
    """weight * sum over matrices W of the sum over i != j of (W W^T)_ij^2: rows shall be at right angles, however long they are.

    Convolutions are flattened to (first axis, rest), which are output units; in transposed convolutions they are input units.

    Args:
        weight: of the penalty, 1e-4 in the paper.
        players: whose weights; the paper's is a penalty on the generator alone.

    Source: Brock et al., 2019, https://arxiv.org/abs/1809.11096, section 3, after Brock et al., 2017, https://arxiv.org/abs/1609.07093.
    """

    players: tuple[str, ...] = ("generator", "discriminator")

    def __init__(
        self, *, weight: Positive = 1e-4, players: tuple[Literal["generator", "discriminator"], ...] = ("generator", "discriminator")
    ) -> None:
        self.weight, self.players = weight, players

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        matrices = [weight.flatten(1) for weight in play.weights[player].values() if weight.ndim >= 2]
        products = [matrix @ matrix.T for matrix in matrices]
        crossed = [(product - torch.diag(product.diagonal())).square().sum() for product in products]
        return self.weight * torch.stack(crossed).sum(), state


class WeightClip:
    """Every weight, biases and gains too, stays in [-limit, limit]: clamped after each adaptation step and each outer step.

    A weight at the limit has no derivative with respect to its past, so a second-order meta-gradient stops there.

    Args:
        limit: bound of a weight.
        players: whose weights.

    Source: Arjovsky et al., 2017 (WGAN), https://arxiv.org/abs/1701.07875, algorithm 1.
    """

    players: tuple[str, ...] = ("discriminator",)

    def __init__(self, *, limit: Positive = 0.01, players: tuple[str, ...] = ("discriminator",)) -> None:
        self.limit, self.players = limit, players

    def project(self, player: str, name: str, weight: Tensor) -> Tensor:
        return weight.clamp(-self.limit, self.limit)


class SpectralNorm:
    """Networks run with W / sigma(W), sigma the largest singular value, in every linear layer and convolution.

    A convolution's kernel is the matrix (outputs, inputs and places), as in the source. W / sigma has no value where W = 0, and the
    exact sigma no second derivative where two singular values are equal, be it small ones or zeros: PyTorch gives NaN there, as at
    second order after an orthogonal initialisation or in a matrix that is short of its full rank by two.

    Args:
        exact: True takes sigma from a singular value decomposition, whose derivatives are right at any order. False takes it from
            ``iterations`` of power iteration from a fixed start, through which no derivative goes: faster on large layers, and at
            convergence inner gradients are right; but second-order meta-gradients lack the turning of the singular vectors. Those of
            the contract tests' small game are off by 3.4 % (norm of the error over norm) after one adaptation step of rate 0.1, by
            7.6 % after five.
        iterations: of the power method; the source has one a training step, and keeps its vectors from step to step.
        players: whose weights.

    Source: Miyato et al., 2018, https://arxiv.org/abs/1802.05957, section 2.1 and appendix A.
    """

    players: tuple[str, ...] = ("discriminator",)

    def __init__(
        self,
        *,
        exact: bool = True,
        iterations: Annotated[int, Field(ge=1)] = 20,
        players: tuple[str, ...] = ("discriminator",),
    ) -> None:
        self.exact, self.iterations, self.players = exact, iterations, players
        self.exact_gradient = exact

    def reparametrise(self, player: str, module: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        layers = ((name, layer) for name, layer in module.named_modules() if isinstance(layer, LINEAR_MAPS))
        named = {f"{name}.weight" if name else "weight": layer for name, layer in layers}
        return {name: weight / self._norm(named[name], weight) if name in named else weight for name, weight in weights.items()}

    def _norm(self, layer: nn.Module, weight: Tensor) -> Tensor:
        outputs_first = weight.transpose(0, 1) if getattr(layer, "transposed", False) else weight
        matrix = outputs_first.flatten(1)
        return torch.linalg.matrix_norm(matrix, 2) if self.exact else power_iteration(matrix, self.iterations)


def power_iteration(matrix: Tensor, iterations: int) -> Tensor:
    """u^T W v, with the singular vectors u and v that so many iterations find as constants; a scalar.

    The start cos(n^2), n = 0, 1, ..., is orthogonal to a matrix's singular vector by accident only.
    """
    fixed = matrix.detach()
    v = torch.arange(matrix.shape[1], dtype=matrix.dtype, device=matrix.device).square().cos()
    for _ in range(iterations):
        u = fixed @ v
        u = u / torch.linalg.vector_norm(u)
        v = u @ fixed
        v = v / torch.linalg.vector_norm(v)
    return u @ matrix @ v
