"""f-GAN: the discriminator estimates an f-divergence by its variational bound. Suffix: B samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Divergence = Literal["kl", "reverse-kl", "pearson", "squared-hellinger"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "kl": lambda v: v,
    "reverse-kl": lambda v: -(-v).exp(),
    "pearson": lambda v: v,
    "squared-hellinger": lambda v: 1 - (-v).exp(),
}
"""g_f, which keeps a logit v inside the domain of the conjugate f* (Nowozin et al., 2016, table 6)."""

CONJUGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "kl": lambda v: (v - 1).exp(),
    "reverse-kl": lambda v: v - 1,
    "pearson": lambda v: v.square() / 4 + v,
    "squared-hellinger": lambda v: v.exp() - 1,
}
"""f*(g_f(v)), simplified."""


class FGan:
    """L_D = -(mean g(r) - mean f*(g(f))), a lower bound of the divergence of real from generated; L_G = -mean g(f), or the bound itself.

    Args:
        divergence: which f.
        generator: non-saturating (-mean g(f), section 3.2) or saturating (-mean f*(g(f)), the bound that the discriminator raises).

    Source: Nowozin et al., 2016, https://arxiv.org/abs/1606.00709, eq. 6 and 7, tables 2 and 6.
    """

    def __init__(
        self, *, divergence: Divergence = "squared-hellinger", generator: Literal["non-saturating", "saturating"] = "non-saturating"
    ) -> None:
        self.divergence, self.generator = divergence, generator

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        """The bound, with its sign turned."""
        return CONJUGATES[self.divergence](fake_B).mean() - ACTIVATIONS[self.divergence](real_B).mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        """What depends on the generated samples, in either form."""
        raised = ACTIVATIONS if self.generator == "non-saturating" else CONJUGATES
        return -raised[self.divergence](fake_B).mean()
