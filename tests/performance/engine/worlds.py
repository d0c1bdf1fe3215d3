"""What is timed: networks, random tasks, and the mathematics that every contender has to do.

A world is the same for all contenders: parameters, tasks, and the noise of every step, which the engine draws itself and its peers
get for nothing.

Suffixes: T tasks, S support samples, Q query samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.contracts import SampleSpec
from bench.game.draws import Draws
from bench_builtin.networks import Mlp

INNER_LR = 0.01
OUTER_LR = 1.0  # of plain descent: an outer step is theta minus the (pseudo-)gradient
ADAM_BETAS = (0.5, 0.99)

Method = Literal["maml", "reptile"]


@dataclass(frozen=True)
class Regime:
    """An outer step of simultaneous play with the non-saturating loss.

    Attributes:
        network: "mlp" or "conv".
        tasks, steps: of one outer step; adaptation steps of each task.
        method: "maml" descends J^T (dL_p^Q/dphi_p)_p, one pull-back for both players; "reptile" takes no derivative of adaptation.
        order: of maml's derivative.
        inner: optimiser of adaptation.
    """

    network: Literal["mlp", "conv"]
    tasks: int
    steps: int
    method: Method = "maml"
    order: Literal[1, 2] = 2
    inner: Literal["sgd", "adam"] = "sgd"

    @property
    def name(self) -> str:
        """Such as "conv T8 K3 second order"."""
        kind = ("", "first order", "second order")[self.order] if self.method == "maml" else f"reptile, {self.inner}"
        return f"{self.network} T{self.tasks} K{self.steps} {kind}"


@dataclass(frozen=True)
class World:
    """A regime's networks and numbers.

    Attributes:
        modules: {player: network}, on the right device and in the right dtype.
        support, query: real samples (T, S, ...) and (T, Q, ...).
        support_noise: latents of every adaptation step, K of (T, S, latent); query_noise: (T, Q, latent).
        draws: where the engine draws those latents from.
    """

    regime: Regime
    modules: dict[str, nn.Module]
    support: Tensor
    query: Tensor
    support_noise: list[Tensor]
    query_noise: Tensor
    draws: Draws


class ConvGenerator(nn.Module):
    """z (B, 64) -> images (B, 1, 28, 28); 270,721 parameters."""

    latent = 64

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(64, 64 * 7 * 7), nn.Unflatten(1, (64, 7, 7)), nn.GroupNorm(8, 64), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.GroupNorm(8, 64), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class ConvDiscriminator(nn.Sequential):
    """Images (B, 1, 28, 28) -> logits (B, 1, 1, 1); 166,113 parameters."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1), nn.GroupNorm(8, 64), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 2, 1), nn.GroupNorm(8, 128), nn.LeakyReLU(0.2),
            nn.Conv2d(128, 1, 3),
        )  # fmt: skip


SHAPES = {"mlp": (2,), "conv": (1, 28, 28)}
SAMPLES = {"mlp": (64, 64), "conv": (5, 15)}
"""Support and query samples of a task."""


def networks(network: str) -> dict[str, nn.Module]:
    """{player: network}; the fully connected ones are the built-in 8-128-128-2 and 2-128-128-1."""
    if network == "conv":
        return {"generator": ConvGenerator(), "discriminator": ConvDiscriminator()}
    spec = SampleSpec("points", (2,))
    return {role: Mlp(width=128).build(role, spec) for role in ("generator", "discriminator")}


def world(regime: Regime, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> World:
    """The world of a regime, from one seed: the same numbers in any dtype, up to rounding."""
    torch.manual_seed(0)
    modules = {player: module.to(device, dtype) for player, module in networks(regime.network).items()}
    shots, queries = SAMPLES[regime.network]
    shape, tasks, latent = SHAPES[regime.network], regime.tasks, modules["generator"].latent
    samples = torch.rand(tasks, shots + queries, *shape, dtype=torch.float64).mul(2).sub(1).to(device, dtype)
    draws = Draws(torch.arange(tasks) * 7919 + 1, dtype, device=device)

    def noise(place: Draws, n: int) -> Tensor:
        return torch.stack([place.of(key).normal("z", (n, latent)) for key in draws.key])

    return World(
        regime,
        modules,
        support=samples[:, :shots],
        query=samples[:, shots:],
        support_noise=[noise(draws.at("support", k, 0), shots) for k in range(regime.steps)],
        query_noise=noise(draws.at("query"), queries),
        draws=draws,
    )
