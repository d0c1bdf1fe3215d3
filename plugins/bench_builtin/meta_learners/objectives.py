"""Meta-objectives: by what the parameters at the end of adaptation are judged on the query.

Each maps the end of a rollout to {player: value (T,)}; the meta-gradient of a player's value is taken with respect to the meta
parameters that it owns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from bench.contracts import ContractError, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine

Objective = Literal["player", "zero-sum", "probe"]
Values = dict[str, Tensor]


def judge(objective: Objective, game: Engine, meta: Tree, end: Any, query: Tree, draws: Draws) -> Values:
    """{player: (T,)} of ``objective`` at ``end`` on the query."""
    return _JUDGES[objective](game, meta, end, query, draws)


def player_losses(game: Engine, meta: Tree, end: Any, query: Tree, draws: Draws) -> Values:
    """Each player by its own loss, L_p^Q(phi): the game itself, played on the query."""
    return game.losses(meta, end.params, query, end.state, draws)[0]


def zero_sum(game: Engine, meta: Tree, end: Any, query: Tree, draws: Draws) -> Values:
    """The discriminator by its loss, the generator by its negative: min max of one value (Goodfellow et al., 2014, eq. 1)."""
    _needs_gan("zero-sum", game)
    (value,) = game.losses(meta, end.params, query, end.state, draws, ("discriminator",))[0].values()
    return {"discriminator": value, "generator": -value}


def probe(game: Engine, meta: Tree, end: Any, query: Tree, draws: Draws) -> Values:
    """The generator by the energy distance of its samples to the query, which no critic can flatter; the discriminator by its loss."""
    _needs_gan("probe", game)
    real = query["x"]
    fake = game.sample(meta, end, real.shape[1], draws.at("probe"), query)
    values = game.losses(meta, end.params, query, end.state, draws, ("discriminator",))[0]
    return {**values, "generator": energy_distance(fake.flatten(2), real.flatten(2))}


def energy_distance(fake_TNF: Tensor, real_TMF: Tensor) -> Tensor:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| per task (T,), unbiased: a sample is not paired with itself (Szekely & Rizzo, 2013, eq. 2)."""

    def within(x: Tensor) -> Tensor:
        n = x.shape[1]
        return _distances(x, x).sum((1, 2)) / (n * (n - 1))

    return 2 * _distances(fake_TNF, real_TMF).mean((1, 2)) - within(fake_TNF) - within(real_TMF)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (T, N, M), exactly 0 with a derivative of 0 between equal samples."""
    square = (x[:, :, None] - y[:, None]).square().sum(-1)
    apart = square > 0
    return torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)


def _needs_gan(objective: str, game: Engine) -> None:
    if set(game.players) != {"generator", "discriminator"}:
        raise ContractError(f"meta_objective {objective!r} needs a generator and a discriminator, this game has {', '.join(game.players)}")


_JUDGES: Mapping[str, Callable[[Any, Tree, Any, Tree, Any], Values]] = {"player": player_losses, "zero-sum": zero_sum, "probe": probe}
