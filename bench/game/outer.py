"""The outer loop's own state: step, progress, optimiser and meta-regularisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from bench.contracts import rate_of
from bench.errors import ContractError
from bench.trees import Tree, leaves, rebuild, tree_map

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "late-linear": lambda progress: min(1.0, 2.0 * (1.0 - progress)),
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}
"""Factor on the outer learning rate by progress in [0, 1]; late-linear decays over the second half, cosine after MAML++."""


class Outer:
    """What ``meta_update`` needs from the outer loop.

    Attributes:
        step: outer steps done.
        progress: share of the budget that is spent, in [0, 1).
        state: the outer optimiser's state, a tree; part of a checkpoint.
        added: gradient of what regularisers add to the meta-objective of this outer step, by meta's top-level names.
    """

    def __init__(self, learner: Any, regularisers: Iterable[Any] = ()) -> None:
        self.step = 0
        self.progress = 0.0
        self.state: Tree = {}
        self.added: Tree = {}
        self._learner = learner
        self._regularisers = tuple(regularisers)
        self._schedule = SCHEDULES[getattr(learner, "outer_schedule", "constant")]

    def descend(self, meta: Tree, gradient: Tree) -> Tree:
        """``meta`` after one step of the outer optimiser along ``-gradient``.

        ``gradient`` may cover a part of ``meta``'s top-level names; the others are left alone. Meta-regularisers
        act on the gradient before the step, or on the result after it. Rates may be given per player or per part of meta.

        Raises:
            ContractError: the gradient has names that meta has not.
        """
        unknown = gradient.keys() - meta.keys()
        if unknown:
            raise ContractError(f"the meta-gradient names {', '.join(sorted(unknown))}, which meta has not")
        for name, extra in self.added.items():
            gradient = {**gradient, name: tree_map(torch.add, gradient[name], extra) if name in gradient else extra}
        before = {name: meta[name] for name in gradient}
        for regulariser in self._regularisers:
            if hasattr(regulariser, "adjust_gradient"):
                gradient = regulariser.adjust_gradient(before, gradient)
        optimiser = self._learner.outer_optimiser
        if self.step == 0:
            self.state = optimiser.start(before)
        direction, self.state = optimiser.direction(gradient, self.state, self.step)
        factor = self._schedule(self.progress)
        rates = rebuild(before, (factor * self._rate(path) for path, _ in leaves(before)))
        after = tree_map(lambda leaf, move, rate: leaf - rate * move, before, direction, rates)
        for regulariser in self._regularisers:
            if hasattr(regulariser, "adjust_update"):
                after = regulariser.adjust_update(before, after, rates)
        return {**meta, **after}

    def _rate(self, path: tuple[str, ...]) -> float:
        rates = self._learner.outer_lr
        if not isinstance(rates, dict):
            return float(rates)
        return rate_of(rates, next((part for part in path if part in rates), path[-1]))
