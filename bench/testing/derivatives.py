"""Derivatives against finite differences, and the least learner that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing.small_game import small_draws, small_episodes
from bench.trees import Path as LeafPath
from bench.trees import Tree, flatten, leaves, rebuild, tree_map


@dataclass(frozen=True)
class Differentiated:
    """One meta-gradient that a learner asked for: the arguments, and what came out."""

    objective: Callable[[Tree, Tree, Draws], Any]
    meta: Tree
    episodes: Tree
    draws: Draws
    owner: Callable[[LeafPath], str | None]
    gradient: Tree


class RecordingEngine(Engine):
    """An engine that remembers what its learner differentiated."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.recorded: list[Differentiated] = []

    def meta_gradient(self, objective: Any, meta: Tree, episodes: Tree, draws: Draws, wrt: Any = None) -> Any:
        """As the engine's, and keep objective, arguments and gradient."""
        result = super().meta_gradient(objective, meta, episodes, draws, wrt)
        self.recorded.append(Differentiated(objective, meta, episodes, draws, wrt or self.owner, result[0]))
        return result


def meta_gradient_error(
    learner: Any,
    game: Any,
    *,
    vectorise: bool = True,
    seed: int = 5,
    episodes: Tree | None = None,
    rules: Sequence[Any] = (),
    regularisers: Mapping[str, Any] | None = None,
) -> float | None:
    """Worst relative error, over players, of the learner's meta-gradient along a random direction.

    Truth is a fourth-order central difference of the learner's own objective, best of several step sizes; ``episodes`` default to
    :func:`small_episodes`, ``rules`` and ``regularisers`` are the engine's.
    None: the learner takes no meta-gradient (a baseline, Reptile).
    """
    engine = RecordingEngine(game, learner, rules=rules, regularisers=regularisers, vectorise=vectorise, adaptation_steps=2)
    generator = torch.Generator().manual_seed(seed)
    meta = engine.init(torch.Generator().manual_seed(3))
    meta = tree_map(lambda leaf: leaf + 0.01 * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta)
    learner.meta_update(meta, engine, small_episodes() if episodes is None else episodes, Outer(learner), small_draws())
    errors = [_error(taken, player, generator) for taken in engine.recorded for player in game.players]
    return max(errors) if errors else None


def _error(taken: Differentiated, player: str, generator: torch.Generator) -> float:
    """Relative error of a meta-gradient along a random direction among the leaves that ``player`` owns."""
    mine = {path: float(taken.owner(path) == player) for path, _ in leaves(taken.meta)}
    random = (torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype) * mine[path] for path, leaf in leaves(taken.meta))
    direction = rebuild(taken.meta, random)
    analytic = sum(float((a * b).sum()) for (_, a), (_, b) in zip(leaves(taken.gradient), leaves(direction), strict=True))

    def along(h: float) -> float:
        values = taken.objective(tree_map(lambda theta, d: theta + h * d, taken.meta, direction), taken.episodes, taken.draws)
        value = values.get(player) if isinstance(values, Mapping) else values
        return 0.0 if value is None else float(value.detach().mean())

    best = float("inf")
    for h in (1e-3, 3e-4, 1e-4, 1e-5, 1e-6):
        difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        best = min(best, abs(analytic - difference) / (abs(analytic) + 1e-12))
        if best < 1e-8:  # a wrong derivative is never that close by accident
            break
    return best


def largest_difference(one: Tree, other: Tree) -> float:
    """Largest difference of two trees of the same shape, relative to the largest entry of each leaf."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return max(float((a - b).detach().abs().max() / (b.detach().abs().max() + 1e-300)) for (_, a), (_, b) in pairs)


def identical(one: Tree, other: Tree) -> bool:
    """Are two trees equal, bit by bit and name by name?"""
    first, second = flatten(one), flatten(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def outer_step(engine: Engine, meta: Tree, outer: Outer | None = None) -> Tree:
    """Meta after one outer step on the small tasks."""
    return engine.outer_step(meta, small_episodes(), outer or Outer(engine.learner, engine.regularisers.values()), small_draws())[0]


class PlainMaml:
    """theta -> query loss after K steps: the least learner that differentiates through everything.

    Args:
        optimiser: makes the direction of a step from the gradient; None: the gradient itself.
        inner_lr: of a step.
        shared: beginnings of the names of parameters that all tasks use as they are; the others adapt.
    """

    trains, order, outer_lr = True, 2, 0.1

    def __init__(self, optimiser: Any = None, *, inner_lr: float = 0.1, shared: tuple[str, ...] = ()) -> None:
        self.optimiser, self.inner_lr, self.shared = optimiser or _SteepestDescent(), inner_lr, shared
        self.outer_optimiser = _SteepestDescent()

    def init(self, rng: torch.Generator, game: Any) -> Tree:
        """The networks' own weights, those that adapt apart from those that do not."""
        parts: dict[str, Any] = {"initial": {player: {} for player in game.modules}, "shared": {player: {} for player in game.modules}}
        for player, module in game.modules.items():
            for name, weight in module.named_parameters():
                parts["shared" if name.startswith(self.shared) else "initial"][player][name] = weight.detach().clone()
        return parts if self.shared else {"initial": parts["initial"]}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        """Adaptation starts at theta."""
        return meta["initial"], {player: self.optimiser.start(own) for player, own in meta["initial"].items()}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        """What adapts, and what all tasks share."""
        return {player: {**meta.get("shared", {}).get(player, {}), **own} for player, own in params.items()}

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        """Phi - inner_lr * direction."""
        direction, inner = self.optimiser.direction(grads, inner, step)
        return tree_map(lambda phi, move: phi - self.inner_lr * move, params, direction), inner

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        """One step along the gradient of the query losses after adaptation."""

        def objective(meta: Tree, chunk: Tree, draws: Draws) -> dict[str, Tensor]:
            end = game.rollout(meta, chunk, draws, steps=game.adaptation_steps, order=2)
            return game.losses(meta, end.params, chunk["query"], end.state, draws.at("query"))[0]

        gradient, log = game.meta_gradient(objective, meta, episodes, draws)
        return outer.descend(meta, gradient), log


class _SteepestDescent:
    """The direction is the gradient."""

    def start(self, params: Tree) -> Tree:
        return {}

    def direction(self, grads: Tree, state: Tree, step: int) -> tuple[Tree, Tree]:
        return grads, state
