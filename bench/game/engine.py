"""One engine for few-shot games: batches tasks, owns the adaptation loop, takes every derivative.

A meta-learner is written for ONE task and never calls autograd. The engine maps its functions over
the T tasks of a chunk (``torch.vmap``, or a loop that gives the same numbers), stacks parameters as
[T, ...], and differentiates outside the map with plain ``torch.autograd.grad``.

Suffixes: T tasks, S support samples, K adaptation steps.
Notation: theta = meta, phi = params (what adaptation changes), L_p = loss of player p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import ContractError
from bench.game.checks import check_module, explain, same_shape
from bench.game.critic import STACKED, alias
from bench.game.draws import Draws
from bench.trees import Path, Tree, leaves, rebuild, tree_map

Order = int
"""1: inner gradients are constants of the meta-gradient; 2: they are differentiated through."""


@dataclass(frozen=True)
class Rollout:
    """Adaptation of a chunk.

    Attributes:
        params: what adaptation has made, {player: {name: [T, ...]}}.
        inner: inner states, {player: tree of [T, ...]}.
        state: state of the game's components, tree of [T, ...].
        path: params after each step of this call, the start first.
        steps: adaptation steps done since ``begin``.
    """

    params: Tree
    inner: Tree
    state: Tree
    path: list[Tree]
    steps: int


class Engine:
    """What ``meta_update`` receives as ``game``: rollouts, losses, derivatives, samples.

    Attributes:
        players: names of the game's players.
        adaptation_steps: the protocol's number of adaptation steps in meta-training.
        state: state of scope meta of the game's components; every rollout of an outer step starts from
            one value, the mean over tasks of the end values is the next one.
        watched: None, or a dict that receives the latest "loss.<player>", "gradient_norm.<player>" (root mean square over
            tasks) and their "meta_" counterparts.
        gradient_evaluations: gradients of one player's loss on one task's batch; pulling a meta-gradient
            back through a second-order inner step counts as one more each.
        samples_seen: real samples that entered a loss.
    """

    def __init__(
        self, game: Any, learner: Any, *, adaptation_steps: int = 5, vectorise: bool = True, task_chunk: int | None = None
    ) -> None:
        self.game, self.learner, self.adaptation_steps = game, learner, adaptation_steps
        self.players: tuple[str, ...] = game.players
        self.modules: Mapping[str, nn.Module] = game.modules
        self.vectorise, self.task_chunk = vectorise, task_chunk
        self.gradient_evaluations = 0
        self.samples_seen = 0
        self.state: Tree = game.state()
        self.watched: dict[str, float] | None = None  # a dict: fill it with losses and gradient norms
        self._ends: list[Tree] = []
        self._differentiable = 0  # inner gradients of order 2 since the last meta-gradient began
        for player, module in game.modules.items():
            check_module(player, module)
        inside = [layer for module in game.modules.values() for layer in module.modules()]
        self._buffers = [(layer, name, buffer) for layer in inside for name, buffer in layer.named_buffers(recurse=False)]

    # ---- mapping single-task functions over tasks
    def map(self, author: str, f: Callable[..., Tree], *stacked: Tree) -> Tree:
        """``f`` of one task over the leading axis of every leaf; ``author`` is named in errors.

        Raises:
            ContractError: ``f`` can't be mapped, or changes an argument in place.
        """
        tensors = [leaf for tree in stacked for _, leaf in leaves(tree)]
        versions = [tensor._version for tensor in tensors]
        token = STACKED.set(self.vectorise)
        try:
            if self.vectorise:
                result = torch.vmap(f, randomness="error")(*stacked)
            else:
                ones = [f(*(tree_map(lambda a, t=t: a[t], tree) for tree in stacked)) for t in range(len(tensors[0]))]
                result = _stack(ones)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise ContractError(f"{author}: {explain(error)}") from error
        finally:
            STACKED.reset(token)
        if versions != [tensor._version for tensor in tensors]:
            raise ContractError(f"{author} changed one of its arguments in place; return new tensors (p - lr * g, not p -= lr * g)")
        return result

    # ---- losses and their derivatives
    def losses(
        self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Tree]:
        """Loss per task of each player, {player: [T]}, and the components' new state."""
        players = players or self.players
        author = f"{type(self.game).__name__}.losses"

        def one(params: Tree, batch: Tree, state: Tree, key: Tensor) -> tuple[dict[str, Tensor], Tree]:
            values, after = self.game.losses(self.learner.weights(meta, params), batch, players, state, draws.of(key))
            for player, value in values.items():
                if value.ndim:
                    raise ContractError(
                        f"{author}: the loss of {player!r} must be a scalar per task, got shape {list(value.shape)}; "
                        "take a mean over samples"
                    )
            same_shape(author, (state,), (after,))
            return values, after

        versions = [buffer._version for _, _, buffer in self._buffers]
        try:
            result: tuple[dict[str, Tensor], Tree] = self.map(author, one, params, batch, state, draws.key)
        finally:
            for (module, name, buffer), version in zip(self._buffers, versions, strict=True):
                if module._buffers[name] is not buffer or buffer._version != version:
                    raise ContractError(
                        "a network changed its buffers in forward, which leaks between tasks; keep state in the component's `state`"
                    )
        self.samples_seen += len(draws.key) * batch["x"].shape[1] if "x" in batch else 0
        return result

    def gradients(
        self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, players: tuple[str, ...], order: Order
    ) -> tuple[Tree, Tree]:
        """dL_p/dphi_p of each player, the others held fixed: {player: {name: [T, ...]}}, and the new state.

        Each player's params enter under fresh aliases, so a derivative is partial even where the
        opponent's update already depends on them. The sum over tasks separates by construction.
        """
        if order == 1:
            meta, params, state = (tree_map(torch.detach, tree) for tree in (meta, params, state))
        with torch.enable_grad():
            params = {player: tree_map(alias, own) if player in players else own for player, own in params.items()}
            losses, state = self.losses(meta, params, batch, state, draws, players)
            grads = {}
            for player in players:
                own = [leaf for _, leaf in leaves(params[player])]
                raw = torch.autograd.grad(
                    losses[player].sum(),
                    own,
                    create_graph=order == 2,
                    retain_graph=order == 2 or player != players[-1],
                    allow_unused=True,
                )
                if all(grad is None for grad in raw):
                    raise ContractError(f"the {player}'s loss does not depend on anything the learner adapts")
                filled = (torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(own, raw, strict=True))
                grads[player] = rebuild(params[player], filled)
        self._watch("", losses, grads)
        self.gradient_evaluations += len(draws.key) * len(players)
        self._differentiable += len(draws.key) * len(players) if order == 2 else 0
        return grads, tree_map(torch.detach, state) if order == 1 else state

    def vjp(self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, cotangent: Tree) -> Tree:
        """J^T v per task, J = d(dL_p/dphi_p)_p/dphi the game's Jacobian, which is never symmetric for a GAN."""
        params = tree_map(lambda leaf: leaf.detach().requires_grad_(), params)
        field, _ = self.gradients(meta, params, batch, state, draws, self.players, order=2)
        own = [leaf for _, leaf in leaves(params)]
        pulled = torch.autograd.grad(
            [leaf for _, leaf in leaves(field)], own, [leaf for _, leaf in leaves(cotangent)], materialize_grads=True
        )
        return rebuild(params, iter(pulled))

    def query_gradients(self, meta: Tree, end: Rollout, batch: Tree, draws: Draws) -> Tree:
        """{player: dL_player/dphi over ALL adapted params}: right-hand sides of implicit methods."""
        params = tree_map(lambda leaf: leaf.detach().requires_grad_(), end.params)
        losses, _ = self.losses(meta, params, batch, end.state, draws)
        own = [leaf for _, leaf in leaves(params)]
        self.gradient_evaluations += len(draws.key) * len(losses)
        return {
            player: rebuild(params, iter(torch.autograd.grad(loss.sum(), own, retain_graph=True, materialize_grads=True)))
            for player, loss in losses.items()
        }

    def own_path(self, meta: Tree, end: Rollout, batch: Tree, draws: Draws) -> Tensor:
        """[T], whose gradient is J^T (dL_p/dphi_p)_p with J = dphi_K/dtheta.

        One pull-back instead of one per player, without the terms by which a player's loss acts through
        its opponent's adaptation: another meta-gradient for a GAN, so the choice belongs to a trial's identity.
        """
        grads, _ = self.gradients(meta, end.params, batch, end.state, draws, tuple(end.params), order=1)
        pairs = zip(leaves(end.params), leaves(grads), strict=True)
        total: Tensor = sum((phi * grad).flatten(1).sum(1) for (_, phi), (_, grad) in pairs)  # type: ignore[assignment]
        return total

    # ---- adaptation
    def begin(self, meta: Tree, support: Tree, draws: Draws) -> Rollout:
        """The learner's start of a chunk of tasks, before the first adaptation step."""

        def one(support: Tree, key: Tensor) -> tuple[Tree, Tree]:
            start: tuple[Tree, Tree] = self.learner.begin(meta, support, draws.of(key))
            return start

        params, inner = self.map(f"{self._name}.begin", one, support, draws.key)
        state = tree_map(lambda leaf: leaf.expand(len(draws.key), *leaf.shape), self.state)
        return Rollout(params, {player: inner.get(player, {}) for player in params}, state, [params], 0)

    def rollout(
        self,
        meta: Tree,
        episodes: Tree,
        draws: Draws,
        *,
        steps: int,
        order: Order,
        players: tuple[str, ...] | None = None,
        part: str = "support",
        start: Rollout | None = None,
    ) -> Rollout:
        """``steps`` adaptation steps on ``episodes[part]``, from ``start`` or from :meth:`begin`.

        order 1 detaches inner gradients, nothing else: learned rates still get their gradients.
        """
        end = start or self.begin(meta, episodes["support"], draws)
        params, inner, state, path = end.params, end.inner, end.state, [end.params]
        for k in range(end.steps, end.steps + steps):
            params, inner, state = self._step(meta, k, params, inner, state, episodes[part], draws.at(part), players or self.players, order)
            path.append(params)
        self._ends.append(tree_map(torch.detach, state))
        return Rollout(params, inner, state, path, end.steps + steps)

    def _step(
        self, meta: Tree, k: int, params: Tree, inner: Tree, state: Tree, batch: Tree, draws: Draws, players: tuple[str, ...], order: Order
    ) -> tuple[Tree, Tree, Tree]:
        """One round of the game: every group of the schedule moves once, its players simultaneously."""
        params, inner = dict(params), dict(inner)
        author = f"{self._name}.update"
        for turn, group in enumerate(self.game.schedule):
            movers = tuple(player for player in group if player in params and player in players)
            if not movers:
                continue
            grads, state = self.gradients(meta, params, batch, state, draws.at(k, turn), movers, order)
            for player in movers:
                move = partial(self.learner.update, meta, player, k)
                moved = self.map(author, move, params[player], grads[player], inner[player], batch)
                params[player], inner[player] = same_shape(author, (params[player], inner[player]), moved)
        return params, inner, state

    def sample(self, meta: Tree, end: Rollout, n: int, draws: Draws, batch: Tree) -> Tensor:
        """Samples of every task, [T, n, ...], from the parameters that the learner deploys (an average, say)."""

        def one(params: Tree, inner: Tree, batch: Tree, key: Tensor) -> Tensor:
            if hasattr(self.learner, "deploy"):
                params = self.learner.deploy(meta, params, inner)
            drawn: Tensor = self.game.sample(self.learner.weights(meta, params), batch, n, draws.of(key))
            return drawn

        with torch.no_grad():
            samples: Tensor = self.map(f"{type(self.game).__name__}.sample", one, end.params, end.inner, batch, draws.key)
        return samples

    # ---- the outer step
    def outer_step(self, meta: Tree, episodes: Tree, outer: Any, draws: Draws) -> tuple[Tree, Tree]:
        """One ``meta_update``; every rollout in it starts from one state, the mean of their ends is the next one."""
        self._ends = []
        meta, log = self.learner.meta_update(meta, self, episodes, outer, draws)
        if self._ends:
            self.state = tree_map(lambda *ends: torch.cat(ends).mean(0), *self._ends)
        self._ends = []
        return tree_map(torch.detach, meta), log

    def meta_gradient(
        self,
        objective: Callable[[Tree, Tree, Draws], Mapping[str, Tensor] | Tensor],
        meta: Tree,
        episodes: Tree,
        draws: Draws,
        wrt: Callable[[Path], str | None] | None = None,
    ) -> tuple[Tree, dict[str, Tensor]]:
        """Mean over tasks of dJ_p/d(the part of meta that p owns), chunk by chunk.

        Args:
            objective: ``(meta, chunk, draws) -> {player: [T]}``, one pull-back per player; ``-> [T]``, one for everything.
            meta: meta parameters.
            episodes: stacked episodes of all tasks of the outer step.
            draws: their random numbers.
            wrt: owner of a leaf by its path (None: constant); by default the player whose name is in the path.

        Returns:
            The gradient, a tree like meta (zeros where constant), and the values {player or "all": [T]}.

        Raises:
            ContractError: an objective of the wrong shape, or one that does not depend on meta.
        """
        fresh = tree_map(lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()), meta)
        owner = {path: (wrt or self.owner)(path) for path, _ in leaves(fresh)}
        total = {path: torch.zeros_like(leaf) for path, leaf in leaves(fresh)}
        tasks = len(draws.key)
        log: dict[str, list[Tensor]] = {}
        for rows in torch.split(torch.arange(tasks), self.task_chunk or tasks):
            chunk = tree_map(lambda leaf, rows=rows: leaf[rows], episodes)
            self._differentiable = 0
            values = objective(fresh, chunk, draws.of(draws.key[rows]))
            parts: dict[str, Tensor] = dict(values) if isinstance(values, Mapping) else {"all": values}
            for player, value in parts.items():
                if value.shape != (len(rows),):
                    raise ContractError(f"objective of {player!r} must give one value per task, [{len(rows)}], got {list(value.shape)}")
                if not value.requires_grad:
                    raise ContractError(f"objective of {player!r} does not depend on meta: was a derivative stopped (no_grad, detach)?")
                mine = [
                    (path, leaf) for path, leaf in leaves(fresh) if leaf.requires_grad and owner[path] and player in (owner[path], "all")
                ]
                grads = torch.autograd.grad(
                    value.sum() / tasks, [leaf for _, leaf in mine], materialize_grads=True, retain_graph=player != list(parts)[-1]
                )
                for (path, _), grad in zip(mine, grads, strict=True):
                    total[path] += grad
                log.setdefault(player, []).append(value.detach())
                self.gradient_evaluations += len(rows) + self._differentiable
        gradient, seen = rebuild(meta, iter(total.values())), {player: torch.cat(values) for player, values in log.items()}
        owned = {player: {".".join(path): total[path] for path in total if owner[path] == player} for player in self.players}
        self._watch("meta_", seen, owned)
        return gradient, seen

    def owner(self, path: Path) -> str:
        """The player that a leaf of meta belongs to.

        Raises:
            ContractError: the path names no player, or several.
        """
        if len(self.players) == 1:
            return self.players[0]
        owners = [player for player in self.players if player in path]
        if len(owners) != 1:
            raise ContractError(f"meta leaf {'.'.join(path)}: put a player's name in its path, or tell meta_gradient its owner with wrt=")
        return owners[0]

    def _watch(self, prefix: str, losses: Mapping[str, Tensor], grads: Tree) -> None:
        """Keep the latest mean losses, and gradient norms of a task, where someone asked for them."""
        if self.watched is None:
            return
        for player, loss in losses.items():
            self.watched[f"{prefix}loss.{player}"] = float(loss.detach().mean())
        for player, own in grads.items():
            square = sum(float(leaf.detach().square().sum()) for _, leaf in leaves(own))
            self.watched[f"{prefix}gradient_norm.{player}"] = (square / (1 if prefix else max(len(next(iter(losses.values()))), 1))) ** 0.5

    @property
    def _name(self) -> str:
        return type(self.learner).__name__


def _stack(ones: list[Tree]) -> Tree:
    """Trees of single tasks -> one tree with a leading task axis; pairs stay pairs."""
    if isinstance(ones[0], Mapping):
        return {name: _stack([one[name] for one in ones]) for name in ones[0]}
    if isinstance(ones[0], tuple):
        return tuple(_stack(list(branches)) for branches in zip(*ones, strict=True))
    return torch.stack(ones)
