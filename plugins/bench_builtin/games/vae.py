"""Variational autoencoding: one player that generates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import ContractError, Kind, Parts, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Weights = Mapping[str, Mapping[str, Tensor]]
MARGIN = 1e-6  # of a Bernoulli probability from 0 and 1: a pixel costs at most 14 nats


class Vae:
    """Mean over the batch of -log p(x | z) + beta KL(q(z | x) || N(0, I)), in nats per sample: sums over dimensions and latents.

    q(z | x) = N(mean, exp(log variance)), one z = mean + exp(log variance / 2) * noise a sample. With beta = 1 the loss is the negative
    of the evidence lower bound, with all constants, so that losses of different ``scale`` compare. Labels are not used.

    Source: Kingma and Welling, 2014, https://arxiv.org/abs/1312.6114, eq. 10; beta: Higgins et al., 2017.

    Args:
        beta: weight of the KL divergence.
        likelihood: p(x | z). ``gaussian``: N(reconstruction, scale^2 I). ``bernoulli``, of samples with a range, mapped to [0, 1]: the
            cross-entropy, as usual for images in grey; only of black and white is it a likelihood. Probabilities are squeezed into
            [1e-6, 1 - 1e-6], so that a certain and wrong pixel keeps a gradient.
        scale: standard deviation, in units of the samples; ``gaussian`` only.
    """

    roles: ClassVar[Mapping[str, str]] = {"vae": "autoencoder"}
    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points", "signal")
    needs_loss: ClassVar[bool] = False
    ignored_when: ClassVar[Mapping[str, Mapping[str, object]]] = {"scale": {"likelihood": "bernoulli"}}

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(ge=0)] = 1.0,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        scale: Annotated[float, Field(gt=0)] = 0.3,
    ) -> None:
        self.beta, self.likelihood, self.scale = beta, likelihood, scale

    def bind(self, parts: Parts) -> BoundVae:
        """The game on its network.

        Raises:
            ContractError: a Bernoulli likelihood is asked of samples without a range.
        """
        return BoundVae(self, parts)


class BoundVae:
    """A :class:`Vae` on its module."""

    players = ("vae",)
    schedule = (("vae",),)

    def __init__(self, rules: Vae, parts: Parts) -> None:
        self.rules, self.modules, self.critic, self.spec = rules, parts.modules, parts.critic, parts.spec
        self.low = self.reach = 0.0
        if rules.likelihood == "bernoulli":
            if parts.spec is None or parts.spec.low is None or parts.spec.high is None:
                raise ContractError("vae: a bernoulli likelihood needs samples with a range, and these have none; use likelihood: gaussian")
            self.low, self.reach = parts.spec.low, parts.spec.high - parts.spec.low

    def state(self) -> Tree:
        return {}

    def losses(self, weights: Weights, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        x = batch["x"]
        noise = draws.normal("noise", (len(x), self.modules["vae"].latent))
        reconstruction, mean, log_variance = self._run(weights, x, noise)
        per_sample_B = self._surprise(x, reconstruction).flatten(1).sum(1) + self.rules.beta * kl_to_prior(mean, log_variance)
        return {"vae": per_sample_B.mean()}, state

    def sample(self, weights: Weights, batch: Tree, n: int, draws: Draws) -> Tensor:
        return self._run(weights, draws.normal("z", (n, self.modules["vae"].latent)))

    def _surprise(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """-log p of each dimension, in nats."""
        if self.rules.likelihood == "bernoulli":
            share, p = ((samples - self.low) / self.reach for samples in (x, reconstruction))
            p = MARGIN + (1 - 2 * MARGIN) * p
            return -(share * p.log() + (1 - share) * (1 - p).log())
        scale = self.rules.scale
        return 0.5 * ((x - reconstruction) / scale).square() + math.log(scale) + 0.5 * math.log(2 * math.pi)

    def _run(self, weights: Weights, *inputs: Tensor) -> Any:
        return self.critic(self.modules["vae"], weights["vae"])(*inputs)


def kl_to_prior(mean_BL: Tensor, log_variance_BL: Tensor) -> Tensor:
    """KL(N(mean, exp(log variance)) || N(0, I)) of each sample, (B,), in nats (Kingma and Welling, 2014, appendix B)."""
    return 0.5 * (mean_BL.square() + torch.expm1(log_variance_BL) - log_variance_BL).sum(1)
