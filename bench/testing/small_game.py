"""The small game that learners, losses and penalties are tried on: two tanh networks, Gaussian tasks, float64.

Float64, because finite differences then tell right from wrong. Suffixes: T tasks, S support samples, Q query samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from bench.contracts import Play
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.trees import Tree

TASKS, SHOTS, QUERIES, FEATURES, LATENT = 3, 5, 6, 2, 2


class SmallGan:
    """Two tanh networks, non-saturating loss plus whatever penalties are given: the game of the contract tests."""

    players = ("generator", "discriminator")

    def __init__(
        self, *, order: str = "alternating", loss: Any = None, penalties: dict[str, Any] | None = None, modules: Any = None
    ) -> None:
        self.modules = modules or small_networks()
        self.schedule = (self.players,) if order == "simultaneous" else (("discriminator",), ("generator",))
        self.loss, self.penalties = loss, penalties or {}

    def state(self) -> Tree:
        """Of those penalties that keep one."""
        return {name: one.start() for name, one in self.penalties.items() if hasattr(one, "start")}

    def losses(self, weights: Tree, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        """Losses of one task."""
        latents = self.latents(len(batch["x"]), draws)

        def generate(z: Tensor) -> Tensor:
            made: Tensor = functional_call(self.modules["generator"], dict(weights["generator"]), (z,))
            return made

        critic = Critic(self.modules["discriminator"], weights["discriminator"])
        play = Play(batch["x"], generate(latents), latents, None, critic, generate, weights)
        real_logits, fake_logits = play.logits(play.real), play.logits(play.fake)
        values = {}
        if "generator" in players:
            values["generator"] = self.loss.generator_loss(real_logits, fake_logits) if self.loss else softplus(-fake_logits).mean()
        if "discriminator" in players:
            values["discriminator"] = (
                self.loss.discriminator_loss(real_logits, fake_logits)
                if self.loss
                else softplus(-real_logits).mean() + softplus(fake_logits).mean()
            )
        after = dict(state)
        for name, penalty in self.penalties.items():
            for player in () if not hasattr(penalty, "penalty") else getattr(penalty, "players", ("discriminator",)):
                if player in players:
                    extra, own = penalty.penalty(player, play, after.get(name, {}), draws.at(name))
                    values[player] = values[player] + extra
                    after |= {name: own} if name in after else {}
        return values, after

    def latents(self, n: int, draws: Draws) -> Tensor:
        """Noise (n, 2) that samples are made from."""
        return draws.normal("z", (n, LATENT))

    def sample(self, weights: Tree, batch: Tree, n: int, draws: Draws) -> Tensor:
        """Samples (n, 2)."""
        samples: Tensor = functional_call(self.modules["generator"], dict(weights["generator"]), (self.latents(n, draws),))
        return samples


def small_networks(activation: Callable[[], nn.Module] = nn.Tanh, norm: Callable[[], nn.Module] | None = None) -> dict[str, nn.Module]:
    """Generator and discriminator with 8 hidden units in float64, always the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)

        def network(outputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(2, 8), *([norm()] if norm else []), activation(), nn.Linear(8, outputs)).double()

        return {"generator": network(FEATURES), "discriminator": network(1)}


def small_episodes(tasks: int = TASKS) -> Tree:
    """Stacked support and query of Gaussian tasks with different means, float64."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=(tasks, 1, FEATURES))
    support, query = (torch.tensor(means + rng.normal(size=(tasks, n, FEATURES))) for n in (SHOTS, QUERIES))
    return {"support": {"x": support}, "query": {"x": query}}


def small_draws(tasks: int = TASKS) -> Draws:
    """Random numbers of the small tasks."""
    return Draws(torch.arange(tasks) * 7919, torch.float64)
