"""LeCam regularisation: a discriminator whose logits stay near those that it used to give the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import Play, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws


class LeCam:
    """weight * (mean_b |D(real_b) - a_F|^2 + mean_b |D(fake_b) - a_R|^2), a_R and a_F averages of earlier mean logits of real and fake.

    After every judgement a <- decay a + (1 - decay) mean D; averages start at 0, the logit of an undecided discriminator (the
    authors' are corrected for their start). They go on over adaptation steps and outer steps, a held-out task starts from where
    meta-training has ended. The term of a step has the averages as they were before it, so they are constants of its gradient; at
    second order, a meta-gradient goes through them.

    These are the paper's squares, on either side of the averages. The authors' code has them on one side only: it charges a real
    logit above a_F and a fake one below a_R.

    Args:
        weight: of the penalty; the authors' 0.3 for BigGAN at 10 % of CIFAR, 0.01 for StyleGAN2.
        decay: of the averages.

    Source: Tseng et al., 2021, https://arxiv.org/abs/2104.03310, section 4.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator",)

    def __init__(self, *, weight: Annotated[float, Field(gt=0)] = 0.3, decay: Annotated[float, Field(ge=0, lt=1)] = 0.99) -> None:
        self.weight, self.decay = weight, decay

    def start(self) -> Tree:
        return {who: torch.zeros((), dtype=torch.float64) for who in ("real", "fake")}

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        logits = {"real": play.logits(play.real), "fake": play.logits(play.fake)}
        distance = (logits["real"] - state["fake"]).square().mean() + (logits["fake"] - state["real"]).square().mean()
        means = {who: own.mean().to(state[who].dtype) for who, own in logits.items()}
        return self.weight * distance, {who: self.decay * state[who] + (1 - self.decay) * mean for who, mean in means.items()}
