"""Regression: one player that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from bench.contracts import Kind, Parts, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Weights = Mapping[str, Mapping[str, Tensor]]


class Regression:
    """Mean squared error of y given x, one player (Finn et al., 2017, section 5.1)."""

    roles: ClassVar[Mapping[str, str]] = {"model": "model"}
    kinds: ClassVar[tuple[Kind, ...]] = ("regression",)
    needs_loss: ClassVar[bool] = False
    predicts: ClassVar[bool] = True

    def bind(self, parts: Parts) -> BoundRegression:
        return BoundRegression(parts)


class BoundRegression:
    """A :class:`Regression` on its module."""

    players = ("model",)
    schedule = (("model",),)
    predicts = Regression.predicts

    def __init__(self, parts: Parts) -> None:
        self.modules, self.critic, self.spec = parts.modules, parts.critic, parts.spec

    def state(self) -> Tree:
        return {}

    def losses(self, weights: Weights, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        return {"model": (self._predict(weights, batch["x"]) - batch["y"]).square().mean()}, state

    def sample(self, weights: Weights, batch: Tree, n: int, draws: Draws) -> Tensor:
        return self._predict(weights, batch["x"])

    def _predict(self, weights: Weights, x: Tensor) -> Tensor:
        return self.critic(self.modules["model"], weights["model"])(x)
