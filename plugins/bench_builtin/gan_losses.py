"""GAN losses on raw logits, each as a pair of scalars to minimise.

Notation: r real logits, f fake logits, sp = softplus. Values at r = (2, -0.5), f = (-1.5, 0.5) are in the tests.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu, softplus


class Minimax:
    """L_D = mean sp(-r) + mean sp(f), L_G = -mean sp(f): the saturating game (Goodfellow et al., 2014, eq. 1)."""

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return softplus(-real_B).mean() + softplus(fake_B).mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return -softplus(fake_B).mean()


class NonSaturating:
    """L_D as minimax, L_G = mean sp(-f) (Goodfellow et al., 2014, section 3)."""

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return softplus(-real_B).mean() + softplus(fake_B).mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return softplus(-fake_B).mean()


class LeastSquares:
    """L_D = mean (r - b)^2 / 2 + mean (f - a)^2 / 2, L_G = mean (f - c)^2 / 2 (Mao et al., 2017, eq. 2).

    Defaults are the 0-1 coding a = 0, b = c = 1.
    """

    def __init__(self, *, a: float = 0.0, b: float = 1.0, c: float = 1.0) -> None:
        self.a, self.b, self.c = a, b, c

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return 0.5 * (real_B - self.b).square().mean() + 0.5 * (fake_B - self.a).square().mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return 0.5 * (fake_B - self.c).square().mean()


class Wasserstein:
    """L_D = mean f - mean r, L_G = -mean f (Arjovsky et al., 2017); WGAN-GP is this times gradient-penalty."""

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return fake_B.mean() - real_B.mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return -fake_B.mean()


class Hinge:
    """L_D = mean relu(1 - r) + mean relu(1 + f), L_G = -mean f (Lim & Ye, 2017)."""

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return relu(1 - real_B).mean() + relu(1 + fake_B).mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return -fake_B.mean()


GAN_LOSSES = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "least-squares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
}
