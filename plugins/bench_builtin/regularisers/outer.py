"""Decay and clipping of the outer update."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Annotated, Literal

import torch
from pydantic import Field

from bench.contracts import Tree, leaves, rebuild, tree_map

Positive = Annotated[float, Field(gt=0)]


class OuterWeightDecay:
    """L2 shrinkage of the meta parameters in the outer loop.

    Coupled: weight * theta joins the meta-gradient. Decoupled: theta shrinks by outer_lr * weight beside the
    optimiser's step (Loshchilov & Hutter, 2019).
    """

    def __init__(self, *, weight: Positive = 1e-4, decoupled: bool = True) -> None:
        self.weight, self.decoupled = weight, decoupled

    def adjust_gradient(self, meta: Tree, gradient: Tree) -> Tree:
        return gradient if self.decoupled else tree_map(lambda g, theta: g + self.weight * theta, gradient, meta)

    def adjust_update(self, meta: Tree, updated: Tree, rates: Tree) -> Tree:
        return tree_map(lambda new, theta, rate: new - rate * self.weight * theta, updated, meta, rates) if self.decoupled else updated


class OuterClip:
    """Meta-gradient clipped to at most ``norm``.

    Args:
        norm: the largest norm, or the largest absolute value of an entry.
        by: "player": each player's part of the meta-gradient is scaled to at most ``norm``, its direction stays. "task": so is each
            player's part of each task's meta-gradient, before the mean over tasks, so that no task outweighs the others. "value":
            each entry is clamped to [-norm, norm].
    """

    def __init__(self, *, norm: Positive = 1.0, by: Literal["player", "task", "value"] = "player") -> None:
        self.norm, self.by = norm, by
        if by == "task":  # of instances that need it only: its presence makes the engine take meta-gradients task by task
            self.adjust_task_gradient: Callable[[Tree, Tree], Tree] = self._scaled

    def adjust_gradient(self, meta: Tree, gradient: Tree) -> Tree:
        if self.by == "task":
            return gradient
        if self.by == "value":
            return tree_map(lambda leaf: leaf.clamp(-self.norm, self.norm), gradient)
        return self._scaled(meta, gradient)

    def _scaled(self, meta: Tree, gradient: Tree) -> Tree:
        """A player's part is what stands under one name at the second level of the tree: ``initial.generator``, ``rates.generator``."""
        squares: dict[tuple[str, ...], list[torch.Tensor]] = {}
        for path, leaf in leaves(gradient):
            squares.setdefault(path[1:2], []).append(leaf.square().sum())
        norms = {player: (reduce(torch.add, parts) + 1e-24).sqrt() for player, parts in squares.items()}
        scaled = (leaf * (self.norm / norms[path[1:2]]).clamp(max=1.0) for path, leaf in leaves(gradient))
        return rebuild(gradient, scaled)
