"""Differentiable gradient transformations: for adaptation, where a second-order method looks through them, and for the outer loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from bench.contracts import Tree, tree_map

Decay = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Steepest descent: the direction is the gradient; with ``momentum`` m, v' = m v + g and the direction is v'."""

    momentum: Decay = 0.0

    def start(self, params: Tree) -> Tree:
        return {"velocity": tree_map(torch.zeros_like, params)} if self.momentum else {}

    def direction(self, grads: Tree, state: Tree, step: int) -> tuple[Tree, Tree]:
        if not self.momentum:
            return grads, state
        velocity = tree_map(lambda v, g: self.momentum * v + g, state["velocity"], grads)
        return velocity, {"velocity": velocity}


@dataclass(frozen=True, kw_only=True)
class Adam:
    """m / sqrt(v + eps^2) with bias-corrected moments m, v (Kingma & Ba, 2015, algorithm 1).

    eps stands inside the root, where PyTorch adds it outside: sqrt has an infinite derivative at 0, which a
    gradient of exactly 0 (a dead unit) would turn into NaN at second order. beta1 = 0, the default, drops the
    momentum, which hurts when a few steps must end near the data (Nichol et al., 2018, section 6).
    """

    beta1: Decay = 0.0
    beta2: Decay = 0.99
    eps: Annotated[float, Field(gt=0)] = 1e-8

    def start(self, params: Tree) -> Tree:
        square = tree_map(torch.zeros_like, params)
        return {"mean": tree_map(torch.zeros_like, params), "square": square} if self.beta1 else {"square": square}

    def direction(self, grads: Tree, state: Tree, step: int) -> tuple[Tree, Tree]:
        square = tree_map(lambda v, g: self.beta2 * v + (1 - self.beta2) * g.square(), state["square"], grads)
        after = {"square": square}
        mean, mean_bias = grads, 1.0
        if self.beta1:
            mean = tree_map(lambda m, g: self.beta1 * m + (1 - self.beta1) * g, state["mean"], grads)
            mean_bias = 1 - self.beta1 ** (step + 1)
            after["mean"] = mean
        square_bias = 1 - self.beta2 ** (step + 1)
        direction = tree_map(lambda m, v: (m / mean_bias) / (v / square_bias + self.eps**2).sqrt(), mean, square)
        return direction, after


INNER_OPTIMISERS = {"sgd": Sgd, "adam": Adam}
