"""GAN losses on raw logits, each as a pair of scalars to minimise.

Notation: r real logits, f fake logits, sp = softplus. Values at r = (2, -0.5), f = (-1.5, 0.5) are in the tests.
"""

from __future__ import annotations

import torch
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


class Relativistic:
    """L_D = mean_i sp(f_i - r_i), L_G = mean_i sp(r_i - f_i): is this real sample more real than that fake?

    Only differences count, so adding a number to every logit changes nothing. Where real and fake differ in number, the shorter one
    begins anew as often as it takes: pair i is row i of either, modulo its length.

    Source: Jolicoeur-Martineau, 2018, https://arxiv.org/abs/1807.00734 (relativistic standard GAN).
    """

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        real, fake = paired(real_B, fake_B)
        return softplus(fake - real).mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        real, fake = paired(real_B, fake_B)
        return softplus(real - fake).mean()


class RelativisticAverage:
    """L_D = [mean sp(-(r - mean f)) + mean sp(f - mean r)] / 2, and L_G the same with r and f swapped.

    Is a real sample more real than the average fake, and a fake one less real than the average real one? Real and fake may differ in
    number, and adding a number to every logit changes nothing.

    Source: Jolicoeur-Martineau, 2018, https://arxiv.org/abs/1807.00734 (relativistic average standard GAN); with the
    factor 1/2, undecided logits cost ln 2 as in the paired game.
    """

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return 0.5 * (softplus(fake_B.mean() - real_B).mean() + softplus(fake_B - real_B.mean()).mean())

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        return self.discriminator_loss(fake_B, real_B)


def paired(real_B: Tensor, fake_B: Tensor) -> tuple[Tensor, Tensor]:
    """Both as long as the longer one, the shorter one from the beginning again and again."""
    n = max(len(real_B), len(fake_B))
    real, fake = (one.index_select(0, torch.arange(n, device=one.device) % len(one)) for one in (real_B, fake_B))
    return real, fake


GAN_LOSSES = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "least-squares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
    "relativistic": Relativistic,
    "relativistic-average": RelativisticAverage,
}
