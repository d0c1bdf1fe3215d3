"""The outer loop's own state: step, progress, optimiser and meta-regularisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

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
        state: the outer optimiser's state, a tree; part of a checkpoint.
        added: gradient of what regularisers add to the meta-objective of this outer step, by meta's top-level names.
        horizon_use: what has made the numbers depend on how large the whole budget is, in words; empty as long as nothing has.
    """

    def __init__(self, learner: Any, regularisers: Iterable[Any] = ()) -> None:
        self.step = 0
        self.horizon_use = ""
        self.state: Tree = {}
        self.added: Tree = {}
        self._learner = learner
        self._regularisers = tuple(regularisers)
        self._schedule = getattr(learner, "outer_schedule", "constant")
        if self._schedule not in SCHEDULES:
            raise ContractError(f"{type(learner).__name__}.outer_schedule is {self._schedule!r}; it must be one of {', '.join(SCHEDULES)}")
        self._progress = 0.0

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1). Who reads it can't go on with a larger budget, of which it would be another."""
        self.horizon_use = self.horizon_use or f"{type(self._learner).__name__} reads which share of the budget is spent"
        return self._progress

    @progress.setter
    def progress(self, share: float) -> None:
        self._progress = share

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
        optimiser = self._setting("outer_optimiser")
        if self.step == 0:
            self._check_rates(meta)
            self.state = optimiser.start(before)
        direction, self.state = optimiser.direction(gradient, self.state, self.step)
        factor = self._factor()
        rates = rebuild(before, (factor * self._rate(path) for path, _ in leaves(before)))
        after = tree_map(lambda leaf, move, rate: leaf - rate * move, before, direction, rates)
        for regulariser in self._regularisers:
            if hasattr(regulariser, "adjust_update"):
                after = regulariser.adjust_update(before, after, rates)
        return {**meta, **after}

    def _factor(self) -> float:
        if self._schedule == "constant":
            return 1.0
        self.horizon_use = self.horizon_use or f"outer_schedule {self._schedule} follows the share of the budget that is spent"
        return SCHEDULES[self._schedule](self._progress)

    def _setting(self, name: str) -> Any:
        """An attribute that only learners which descend owe.

        Raises:
            ContractError: it is missing.
        """
        if not hasattr(self._learner, name):
            raise ContractError(
                f"{type(self._learner).__name__} calls outer.descend, which reads its attribute {name}: set it, e.g. in __init__"
            )
        return getattr(self._learner, name)

    def _check_rates(self, meta: Tree) -> None:
        """Refuse rates per player or part that leave out a leaf, or name what meta has not: a typo would hide there.

        Raises:
            ContractError: so it is.
        """
        rates = self._setting("outer_lr")
        if not isinstance(rates, dict):
            return
        paths = [path for path, _ in leaves(meta)]
        strange = [name for name in rates if not any(name in path for path in paths)]
        if strange:
            known = sorted({part for path in paths for part in path[:2]})
            raise ContractError(f"outer_lr: {strange[0]!r} is neither a player nor a part of meta: {', '.join(known)}")
        left_out = [path for path in paths if not any(part in rates for part in path)]
        if left_out:
            raise ContractError(
                f"outer_lr: no rate for {'.'.join(left_out[0])}: got rates for {', '.join(rates) or 'nobody'}; add its player"
            )

    def _rate(self, path: tuple[str, ...]) -> float:
        rates = self._setting("outer_lr")
        if not isinstance(rates, dict):
            return float(rates)
        return float(rates[next(part for part in path if part in rates)])
