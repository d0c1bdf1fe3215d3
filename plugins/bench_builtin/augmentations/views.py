"""Augmentations of what the discriminator sees: reals and fakes through the same random transforms, or fakes taken for reals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import Kind, Tree
from bench_builtin.augmentations.transforms import cut_out, recoloured, shifted

if TYPE_CHECKING:
    from bench.contracts import Draws

Policy = tuple[Literal["colour", "translation", "cutout"], ...]

POLICIES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "colour": recoloured,
    "translation": lambda x, draws: shifted(x, 1 / 8, draws),
    "cutout": lambda x, draws: cut_out(x, 1 / 2, draws),
}
"""The transforms of Zhao et al., 2020, with the authors' extents."""


class DiffAugment:
    """The discriminator sees every image, real and generated alike, through random transforms, and the generator learns through them.

    Each image gets its own: colour (brightness, saturation, contrast), translation (up to 1/8 of a side), cutout (a square of half a
    side, set to 0). Images moved in repeat their border outside; the authors' is 0, which in images of [-1, 1] is grey.

    Args:
        policy: which transforms, in order; the empty one changes nothing.

    Source: Zhao et al., 2020, https://arxiv.org/abs/2006.10738, section 3.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    leaks: ClassVar[bool] = False

    def __init__(self, *, policy: Policy = ("colour", "translation", "cutout")) -> None:
        self.policy = policy

    def augment_view(self, x: Tensor, state: Tree, draws: Draws) -> Tensor:
        for name in self.policy:
            x = POLICIES[name](x, draws.at(name))
        return x


class Ada:
    """DiffAugment's transforms, each on each image with probability p, which grows while the discriminator overfits.

    After every judgement p <- clamp(p + step * sign(mean_b sign(D(real_b)) - target), 0, 1), from p = 0: mean sign D(real) is 1 where
    all reals are told for sure, 0 where the discriminator guesses. p goes on over adaptation steps and outer steps (the mean over
    tasks), a held-out task starts from where meta-training has ended.

    Args:
        policy: which transforms, in order. The authors' pipeline has more of them, geometric ones before all.
        target: what mean sign D(real) is held at, the authors' value.
        step: by which p moves at one judgement. The authors' is batch / 500,000; 1e-3 crosses [0, 1] in the 1,000 judgements that
            few-shot training has.

    Source: Karras et al., 2020, https://arxiv.org/abs/2006.06676, section 3.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    leaks: ClassVar[bool] = False

    def __init__(
        self,
        *,
        policy: Policy = ("colour", "translation", "cutout"),
        target: Annotated[float, Field(gt=-1, lt=1)] = 0.6,
        step: Annotated[float, Field(ge=0, le=1)] = 1e-3,
    ) -> None:
        self.policy, self.target, self.step = policy, target, step

    def start(self) -> Tree:
        return {"p": torch.zeros((), dtype=torch.float64)}

    def augment_view(self, x: Tensor, state: Tree, draws: Draws) -> Tensor:
        for name in self.policy:
            own = draws.at(name)
            chosen = own.uniform("chosen", (len(x), 1, 1, 1)) < state["p"]
            x = torch.where(chosen, POLICIES[name](x, own), x)
        return x

    def watch(self, real_logits: Tensor, state: Tree) -> Tree:
        overfitting = real_logits.sign().mean().to(state["p"].dtype)
        return {"p": (state["p"] + self.step * (overfitting - self.target).sign()).clamp(0, 1)}


class AdversarialAugmentation:
    """Generated samples fed back as data: L_D = (1 - w) L_D(real, fake) + w L_D(other fakes, fake), w = ``generated_share``.

    The other fakes are from fresh latents, and the discriminator is taught to take them for real ones, as if they had been appended
    to the support; the generator's loss stays. More than 1/3 is refused: what is learned from should mostly be real.

    Args:
        generated_share: w in [0, 1/3], 0 is off; 1/4 is three real samples to a generated one.

    Source: generated samples beside few real ones, Antoniou et al., 2018 (DAGAN), https://arxiv.org/abs/1711.04340; shown to the
    discriminator as real, Jiang et al., 2021 (APA, whose share adapts), https://arxiv.org/abs/2111.06849.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points", "signal")
    leaks: ClassVar[bool] = False
    generated_share: float = 0.25

    def __init__(self, *, generated_share: Annotated[float, Field(ge=0, le=1 / 3)] = 0.25) -> None:
        self.generated_share = generated_share
