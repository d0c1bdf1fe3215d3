"""How many derivatives really pass: what an engine's own count is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.testing.small_game import TASKS
from bench.trees import Tree, leaves, rebuild


@dataclass
class Tally:
    """How many derivatives have passed through the tensors that it was shown."""

    passes: int = 0

    def of(self, *tensors: Tensor, worth: int = 1) -> tuple[Tensor, ...]:
        """The same values; a derivative that passes through any of them counts ``worth``."""
        counted: tuple[Tensor, ...] = _Counted.apply(self, worth, *tensors)  # type: ignore[no-untyped-call]
        return counted


class _Counted(torch.autograd.Function):
    """The identity; its backward pass counts itself."""

    @staticmethod
    def forward(ctx: Any, tally: Tally, worth: int, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.tally, ctx.worth = tally, worth
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        ctx.tally.passes += ctx.worth
        return None, None, *cotangents


class _TalliedGame:
    """A game that shows the tally the losses and samples of each task."""

    def __init__(self, game: Any, tally: Tally) -> None:
        self._game, self._tally = game, tally

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

    def losses(self, weights: Tree, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        """As the game's."""
        values, state = self._game.losses(weights, batch, players, state, draws)
        return {player: self._tally.of(value)[0] for player, value in values.items()}, state

    def sample(self, weights: Tree, batch: Tree, n: int, draws: Draws) -> Tensor:
        """As the game's."""
        return self._tally.of(self._game.sample(weights, batch, n, draws))[0]


class TalliedEngine(Engine):
    """An engine that shows the tally each player's inner gradients, those of all tasks together."""

    def __init__(self, game: Any, learner: Any, tally: Tally) -> None:
        super().__init__(_TalliedGame(game, tally), learner, vectorise=False, adaptation_steps=2)
        self.tally = tally

    def gradients(self, *arguments: Any, **settings: Any) -> tuple[Tree, Tree]:
        """As the engine's."""
        grads, state = super().gradients(*arguments, **settings)
        shown = {
            player: rebuild(own, iter(self.tally.of(*(leaf for _, leaf in leaves(own)), worth=TASKS))) for player, own in grads.items()
        }
        return shown, state
