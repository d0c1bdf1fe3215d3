"""One engine for few-shot games: batches tasks, owns the adaptation loop, takes every derivative.

A meta-learner is written for ONE task and never calls autograd. The engine maps its functions over
the T tasks of a chunk (as ``torch.vmap`` does, or in a loop that gives the same numbers), stacks parameters
as [T, ...], and differentiates outside the map with plain ``torch.autograd.grad``. Networks that games run
through their critic leave the map and take the tasks' samples as one batch, where that is the same.

Suffixes: T tasks, S support samples, K adaptation steps.
Notation: theta = meta, phi = params (what adaptation changes), L_p = loss of player p.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from bench.contracts import Lookahead
from bench.errors import ContractError
from bench.game.checks import check_module, explain, same_shape
from bench.game.critic import alias
from bench.game.draws import Draws
from bench.game.folded import FOLDS, Folds
from bench.game.mapping import one_by_one, vectorised
from bench.game.recompute import recomputed
from bench.game.regularised import Regularised
from bench.trees import Path, Tree, leaves, rebuild, tree_map

Order = int
"""1: inner gradients are constants of the meta-gradient; 2: they are differentiated through."""

REMEMBERED = 10
"""Second-order rollouts of more steps than this recompute each step in the backward pass instead of keeping its graph."""


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
        inner: inner states that a learner carries from one outer step to the next in the same way (``inner_state``).
        watched: None, or a dict that receives the latest "loss.<player>", "gradient_norm.<player>" (root mean square over
            tasks) and their "meta_" counterparts.
        norms: None, or a list that receives {player: norm of its gradient [T]} of each adaptation step; of several moves, the last's.
        folds: which networks run for all tasks at once and why others do not (:mod:`bench.game.folded`), by what they are and nothing
            else; None where the engine was told not to (``fold``), which tests compare with.
        gradient_evaluations: derivatives taken of one player's loss on one task's batch (or of one task's samples); pulling a
            derivative back through a second-order inner gradient counts as one more. Each is counted where it happens.
        samples_seen: real samples that entered a loss.
    """

    def __init__(
        self,
        game: Any,
        learner: Any,
        *,
        regularisers: Mapping[str, Any] | None = None,
        augmentations: Sequence[Any] = (),
        rules: Sequence[Any] = (),
        adaptation_steps: int = 5,
        vectorise: bool = True,
        task_chunk: int | None = None,
        remember: int = REMEMBERED,
        training: bool = True,
        fold: bool = True,
    ) -> None:
        self.game, self.learner, self.adaptation_steps = game, learner, adaptation_steps
        self.players: tuple[str, ...] = game.players
        self.modules: Mapping[str, nn.Module] = game.modules
        self.vectorise, self.task_chunk, self.remember = vectorise, task_chunk, remember
        self.regularisers, self.augmentations = dict(regularisers or {}), tuple(augmentations)
        self.folds = Folds() if fold else None
        self.gradient_evaluations = 0
        self.samples_seen = 0
        device = next((weight.device for module in game.modules.values() for weight in module.parameters()), torch.device("cpu"))
        self.state: Tree = tree_map(lambda leaf: leaf.to(device), game.state())
        self.inner: Tree = {}
        self.watched: dict[str, float] | None = None  # a dict: fill it with losses and gradient norms
        self.norms: list[dict[str, Tensor]] | None = None  # a list: fill it with the gradient norms of adaptation steps
        self.rules = tuple(rules)
        self._regularised = Regularised(self.regularisers, game, training, rules)
        self._carries = getattr(learner, "inner_state", "reset") == "carried"
        self._ends: list[Tree] | None = None  # what the rollouts of the outer step under way ended with
        self._adapting = False
        for player, module in game.modules.items():
            check_module(player, module)
        inside = [layer for module in game.modules.values() for layer in module.modules()]
        self._buffers = [(layer, name, buffer) for layer in inside for name, buffer in layer.named_buffers(recurse=False)]

    def init(self, rng: torch.Generator) -> Tree:
        """Meta parameters before the first outer step: the learner's, and what the regularisers own."""
        return self._regularised.init(rng, self.learner.init(rng, self.game))

    @property
    def carried(self) -> Tree:
        """What one outer step hands to the next beside ``meta``: part of a checkpoint, and what held-out tasks start from."""
        return {"state": self.state, "inner": self.inner}

    @carried.setter
    def carried(self, carried: Tree) -> None:
        self.state, self.inner = carried.get("state", {}), carried.get("inner", {})

    # ---- mapping single-task functions over tasks
    def map(self, author: str, f: Callable[..., Tree], *stacked: Tree) -> Tree:
        """``f`` of one task over the leading axis of every leaf; ``author`` is named in errors.

        Raises:
            ContractError: ``f`` can't be mapped, or changes an argument in place.
        """
        tensors = [leaf for tree in stacked for _, leaf in leaves(tree)]
        versions = [tensor._version for tensor in tensors]
        vectorise = self.vectorise and len(tensors[0]) > 1  # one task is its own loop, without the price of a map
        token = FOLDS.set(self.folds if vectorise else None)
        try:
            result = (vectorised if vectorise else one_by_one)(f, stacked, tensors)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise ContractError(f"{author}: {explain(error)}") from error
        finally:
            FOLDS.reset(token)
        if versions != [tensor._version for tensor in tensors]:
            raise ContractError(f"{author} changed one of its arguments in place; return new tensors (p - lr * g, not p -= lr * g)")
        return result

    # ---- losses and their derivatives
    def losses(
        self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Tree]:
        """Loss per task of each player, {player: [T]}, and the components' new state.

        The loss of a player who looks ahead is taken at its opponent's later weights.

        Raises:
            ContractError: a loss is not a scalar per task, or the opponent of one who looks ahead does not adapt.
        """
        players = players or self.players
        lookahead = getattr(self.game, "lookahead", {})
        now = tuple(player for player in players if player not in lookahead)
        values, after = self._losses(meta, params, batch, state, draws, now) if now else ({}, state)
        for player in players:
            if player in lookahead:
                foreseen = self._foreseen(meta, params, batch, state, draws.at("lookahead"), lookahead[player])
                ahead, seen = self._losses(meta, foreseen, batch, state, draws, (player,))
                values, after = {**values, **ahead}, after if now else seen
        return values, after

    def _foreseen(self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, ahead: Lookahead) -> Tree:
        """``params`` with the opponent's after its further steps, differentiable in everything."""
        if ahead.opponent not in params:
            raise ContractError(
                f"unrolling takes steps of the {ahead.opponent}, which this learner does not adapt; adapt it, or set unroll: 0"
            )
        opponent = params[ahead.opponent]
        with torch.enable_grad():
            for k in range(ahead.steps):
                opponent = tree_map(alias, opponent)
                losses, state = self._losses(meta, {**params, ahead.opponent: opponent}, batch, state, draws.at(k), (ahead.opponent,))
                own = [leaf for _, leaf in leaves(opponent)]
                grads = torch.autograd.grad(losses[ahead.opponent].sum(), own, create_graph=True, materialize_grads=True)
                self._charge(grads, len(draws.key))
                opponent = tree_map(lambda leaf, grad: leaf - ahead.lr * grad, opponent, rebuild(opponent, iter(grads)))
                opponent = self._regularised.projected(ahead.opponent, opponent)
        return {**params, ahead.opponent: opponent}

    def _losses(
        self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, players: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], Tree]:
        author = f"{type(self.game).__name__}.losses"

        def one(params: Tree, batch: Tree, state: Tree, key: Tensor) -> tuple[dict[str, Tensor], Tree]:
            own = draws.of(key)
            weights = self._regularised.weights(meta, self.learner.weights(meta, params), own)
            with self._regularised.during(meta, own, adapting=self._adapting) as penalties:
                values, after = self.game.losses(weights, batch, players, state, own)
            values = {player: value + penalties[player] if player in penalties else value for player, value in values.items()}
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
        values, state = result
        # Fresh nodes, since a player's loss may be made from another's.
        values = {player: value.view_as(value) for player, value in values.items()}
        for value in values.values():
            self._charge([value], len(draws.key))
        return values, state

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
                self._charge([grad for grad in raw if grad is not None], len(draws.key))
        self._watch("", losses, grads)
        return grads, tree_map(torch.detach, state) if order == 1 else state

    def vjp(self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, cotangent: Tree) -> Tree:
        """J^T v per task, J = d(dL_p/dphi_p)_p/dphi the game's Jacobian, which is never symmetric for a GAN."""
        own, field = self._field(meta, params, batch, state, draws)
        return rebuild(params, iter(_pulled(field, own, [leaf for _, leaf in leaves(cotangent)])))

    def jvp(self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws, tangent: Tree) -> Tree:
        """J v per task: J^T u is linear in u, so its derivative with respect to u, pulled back along v, is J v."""
        own, field = self._field(meta, params, batch, state, draws)
        probe = [torch.zeros_like(leaf, requires_grad=True) for leaf in field]
        pulled = _pulled(field, own, probe, create_graph=True)
        return rebuild(params, iter(_pulled(pulled, probe, [leaf for _, leaf in leaves(tangent)])))

    def _field(self, meta: Tree, params: Tree, batch: Tree, state: Tree, draws: Draws) -> tuple[list[Tensor], list[Tensor]]:
        """Leaves of fresh params, and of (dL_p/dphi_p)_p as a function of them."""
        params = tree_map(lambda leaf: leaf.detach().requires_grad_(), params)
        field, _ = self.gradients(meta, params, batch, state, draws, self.players, order=2)
        return [leaf for _, leaf in leaves(params)], [leaf for _, leaf in leaves(field)]

    def query_gradients(self, meta: Tree, end: Rollout, batch: Tree, draws: Draws) -> Tree:
        """{player: dL_player/dphi over ALL adapted params}: right-hand sides of implicit methods."""
        params = tree_map(lambda leaf: leaf.detach().requires_grad_(), end.params)
        losses, _ = self.losses(meta, params, batch, end.state, draws)
        own = [leaf for _, leaf in leaves(params)]
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
        if self._carries and self.inner:
            # Shaped like a fresh one: a checkpoint does not keep branches without tensors.
            inner = rebuild(inner, (leaf.expand(len(draws.key), *leaf.shape) for _, leaf in leaves(self.inner)))
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
            step = partial(self._step, k, draws=draws.at(part), players=players or self.players)
            before = {"meta": meta, "params": params, "inner": inner, "state": state, "batch": episodes[part]}
            after = recomputed(self._counted_once(step), before) if order == 2 and steps > self.remember else step(before, order)
            params, inner, state = after["params"], after["inner"], after["state"]
            path.append(params)
        end = Rollout(params, inner, state, path, end.steps + steps)
        self.carry(end)
        return end

    def carry(self, end: Rollout) -> None:
        """Count ``end`` among those whose mean the next outer step starts from, as :meth:`rollout` does with its own.

        For learners that play without adapting; outside an outer step it does nothing.
        """
        if self._ends is not None:
            self._ends.append(tree_map(torch.detach, {"state": end.state, "inner": end.inner if self._carries else {}}))

    def _step(self, k: int, before: Tree, order: Order, *, draws: Draws, players: tuple[str, ...]) -> Tree:
        """One round of the game: every group of the schedule moves once, its players simultaneously."""
        meta, params, inner, state = before["meta"], dict(before["params"]), dict(before["inner"]), before["state"]
        author = f"{self._name}.update"
        batch = self._augmented("augment_support", before["batch"], draws.at(k, "augmentation"))
        norms: dict[str, Tensor] = {}
        for turn, group in enumerate(self.game.schedule):
            movers = tuple(player for player in group if player in params and player in players)
            if not movers:
                continue
            self._adapting = True
            try:
                grads, state = self.gradients(meta, params, batch, state, draws.at(k, turn), movers, order)
            finally:
                self._adapting = False
            if self.norms is not None:
                norms |= {player: _norm(own) for player, own in grads.items()}
            now = [{player: tree[player] for player in movers} for tree in (params, grads, inner)]
            moved = self.map(author, partial(self._moved, meta, k), *now, batch)
            after, states = same_shape(author, (now[0], now[2]), moved)
            for player in movers:
                params[player], inner[player] = self._regularised.projected(player, after[player]), states[player]
        if self.norms is not None:
            self.norms.append(norms)
        return {"params": params, "inner": inner, "state": state}

    def _moved(self, meta: Tree, k: int, params: Tree, grads: Tree, inner: Tree, batch: Tree) -> tuple[Tree, Tree]:
        """Params and inner states of the players of a group, of one task, each after its own step."""
        after, states = {}, {}
        for player in params:
            after[player], states[player] = self.learner.update(meta, player, k, params[player], grads[player], inner[player], batch)
        return after, states

    def _counted_once(self, step: Callable[[Tree, Order], Tree]) -> Callable[[Tree, Order], Tree]:
        """``step`` whose costs are those of a remembered second-order step, however often it is done."""

        def counted(before: Tree, order: Order) -> Tree:
            if order == 1:
                return step(before, order)
            spent = self.gradient_evaluations, self.samples_seen, self.watched
            self.watched = None
            after = step(before, order)
            self.gradient_evaluations, self.samples_seen, self.watched = spent
            return after

        return counted

    def _augmented(self, method: str, tree: Tree, draws: Draws) -> Tree:
        """``tree`` of every task through one draw of the augmentations that have ``method``."""
        for number, augmentation in enumerate(self.augmentations):
            if hasattr(augmentation, method):
                augment, own = getattr(augmentation, method), draws.at(number)

                def one(tree: Tree, key: Tensor, augment: Any = augment, own: Draws = own) -> Tree:
                    augmented: Tree = augment(tree, own.of(key))
                    return augmented

                tree = self.map(f"{type(augmentation).__name__}.{method}", one, tree, draws.key)
        return tree

    def sample(self, meta: Tree, end: Rollout, n: int, draws: Draws, batch: Tree) -> Tensor:
        """Samples of every task, [T, n, ...], from the parameters that the learner deploys (an average, say); differentiable."""

        def one(params: Tree, inner: Tree, batch: Tree, key: Tensor) -> Tensor:
            if hasattr(self.learner, "deploy"):
                params = self.learner.deploy(meta, params, inner)
            own = draws.of(key)
            weights = self._regularised.weights(meta, self.learner.weights(meta, params), own)
            with self._regularised.during(meta, own, adapting=False):
                drawn: Tensor = self.game.sample(weights, batch, n, own)
            return drawn

        samples: Tensor = self.map(f"{type(self.game).__name__}.sample", one, end.params, end.inner, batch, draws.key)
        self._charge([samples], len(draws.key))
        return samples

    def health(self, meta: Tree, end: Rollout, episodes: Tree, draws: Draws) -> dict[str, Tensor]:
        """What the game says of itself at the adapted parameters, {name: [T]}; empty for a game without ``health``."""
        if not hasattr(self.game, "health"):
            return {}

        def one(params: Tree, state: Tree, episode: Tree, key: Tensor) -> dict[str, Tensor]:
            own = draws.of(key)
            weights = self._regularised.weights(meta, self.learner.weights(meta, params), own)
            with self._regularised.during(meta, own, adapting=False):
                values: dict[str, Tensor] = self.game.health(weights, episode, state, own)
            return values

        said: dict[str, Tensor] = self.map(f"{type(self.game).__name__}.health", one, end.params, end.state, episodes, draws.key)
        return said

    # ---- the outer step
    def outer_step(self, meta: Tree, episodes: Tree, outer: Any, draws: Draws) -> tuple[Tree, Tree]:
        """One ``meta_update``; every rollout in it starts from one state, the mean of their ends is the next one."""
        episodes = self._augmented("augment_task", episodes, draws.at("augmentation"))
        outer.added = self._terms(meta, episodes, draws)
        self._ends = []
        meta, log = self.learner.meta_update(meta, self, episodes, outer, draws)
        if self._ends:
            ends = tree_map(lambda *ends: torch.cat(ends).mean(0), *self._ends)
            self.carried = ends
        self._ends = None
        return self._projected_meta(tree_map(torch.detach, meta), episodes, draws), log

    def _projected_meta(self, meta: Tree, episodes: Tree, draws: Draws) -> Tree:
        """``meta`` after the rules of what weights may be, on those of its leaves that are a network's weights as they are."""
        if not self._regularised.projects:
            return meta
        support = tree_map(lambda leaf: leaf[0], episodes["support"])
        weights = self.learner.weights(meta, self.learner.begin(meta, support, draws.of(draws.key[0]))[0])
        kept = {id(leaf): (player, name) for player, own in weights.items() for name, leaf in own.items()}

        def project(leaf: Tensor) -> Tensor:
            player, name = kept.get(id(leaf), ("", ""))
            return self._regularised.projected(player, {name: leaf})[name] if player else leaf

        return tree_map(project, meta)

    def _terms(self, meta: Tree, episodes: Tree, draws: Draws) -> Tree:
        """Gradient of what the regularisers add to the meta-objective, by those of meta's top-level names that it depends on."""
        terms = [(name, one) for name, one in self.regularisers.items() if hasattr(one, "term")]
        if not terms:
            return {}
        fresh = _fresh(meta)
        found: dict[Path, Tensor] = {}
        for name, regulariser in terms:
            values = regulariser.term(fresh.get(name, {}), fresh, self, episodes, draws.at(name))
            for player, value in values.items():
                mine = [(path, leaf) for path, leaf in leaves(fresh) if leaf.requires_grad and self._owns(player, path)]
                last = player == list(values)[-1]
                grads = torch.autograd.grad(value, [leaf for _, leaf in mine], retain_graph=not last, allow_unused=True)
                for (path, _), grad in zip(mine, grads, strict=True):
                    if grad is not None:
                        found[path] = found[path] + grad if path in found else grad
        touched = {path[0] for path in found}
        zeros = {name: tree_map(torch.zeros_like, branch) for name, branch in meta.items() if name in touched}
        return rebuild(zeros, (found.get(path, zero) for path, zero in leaves(zeros)))

    @staticmethod
    def _pull_back(
        value: Tensor, fresh: Tree, owner: Mapping[Path, str | None], player: str, total: dict[Path, Tensor], *, retain: bool
    ) -> None:
        """Add to ``total`` the gradient of a scalar with respect to the leaves that ``player`` owns ("all": whoever owns them)."""
        mine = [(path, leaf) for path, leaf in leaves(fresh) if leaf.requires_grad and owner[path] and player in (owner[path], "all")]
        grads = torch.autograd.grad(value, [leaf for _, leaf in mine], materialize_grads=True, retain_graph=retain)
        for (path, _), grad in zip(mine, grads, strict=True):
            total[path] += grad

    def _chunks(self, episodes: Tree, draws: Draws, size: int | None) -> Iterator[tuple[Tree, Draws]]:
        """The tasks of an outer step, ``size`` at a time (None: all)."""
        tasks = len(draws.key)
        for rows in torch.split(torch.arange(tasks), size or tasks):
            yield tree_map(lambda leaf, rows=rows: leaf[rows], episodes), draws.of(draws.key[rows])

    def mean_over_tasks(self, of: Callable[[Tree, Draws], Tree], meta: Tree, episodes: Tree, draws: Draws) -> Tree:
        """Mean over the tasks of an outer step of ``of(chunk, draws) -> tree of [T, ...]``, a pseudo-gradient; chunk by chunk.

        Regularisers that adjust each task's gradient act before the mean.
        """
        total: Tree = None
        for chunk, own in self._chunks(episodes, draws, self.task_chunk):
            stacked = of(chunk, own)
            for name, regulariser in self._task_adjusters():
                stacked = self.map(f"{name}.adjust_task_gradient", partial(regulariser.adjust_task_gradient, meta), stacked)
            part = tree_map(lambda leaf: leaf.sum(0) / len(draws.key), stacked)
            total = part if total is None else tree_map(torch.add, total, part)
        return total

    def _task_adjusters(self) -> list[tuple[str, Any]]:
        return [(name, one) for name, one in self.regularisers.items() if hasattr(one, "adjust_task_gradient")]

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
        fresh = _fresh(meta)
        owner = {path: (self.owner if wrt is None or path[0] in self.regularisers else wrt)(path) for path, _ in leaves(fresh)}
        total = {path: torch.zeros_like(leaf) for path, leaf in leaves(fresh)}
        tasks, adjusters = len(draws.key), self._task_adjusters()
        log: dict[str, list[Tensor]] = {}
        for chunk, own in self._chunks(episodes, draws, 1 if adjusters else self.task_chunk):
            values = objective(fresh, chunk, own)
            parts: dict[str, Tensor] = dict(values) if isinstance(values, Mapping) else {"all": values}
            chunk_total = {path: torch.zeros_like(leaf) for path, leaf in leaves(fresh)} if adjusters else total
            for player, value in parts.items():
                if value.shape != own.key.shape:
                    raise ContractError(
                        f"objective of {player!r} must give one value per task, {list(own.key.shape)}, got {list(value.shape)}"
                    )
                if not value.requires_grad:
                    raise ContractError(f"objective of {player!r} does not depend on meta: was a derivative stopped (no_grad, detach)?")
                scaled = value.sum() if adjusters else value.sum() / tasks
                self._pull_back(scaled, fresh, owner, player, chunk_total, retain=player != list(parts)[-1])
                log.setdefault(player, []).append(value.detach())
            if adjusters:
                adjusted = rebuild(meta, iter(chunk_total.values()))
                for _, regulariser in adjusters:
                    adjusted = regulariser.adjust_task_gradient(meta, adjusted)
                for path, leaf in leaves(adjusted):
                    total[path] += leaf / tasks
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

    def _charge(self, tensors: Sequence[Tensor], evaluations: int) -> None:
        """Count ``evaluations`` whenever a derivative is pulled back through any of ``tensors``."""
        live = [tensor for tensor in tensors if tensor.requires_grad]

        def charge(_: Tensor) -> None:
            self.gradient_evaluations += evaluations

        if live:
            register_multi_grad_hook(live, charge, mode="any")

    def _owns(self, player: str, path: Path) -> bool:
        """Whether the path of a leaf of meta names ``player`` alone; with one player, everything is its own."""
        return len(self.players) == 1 or [one for one in self.players if one in path] == [player]

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


def _norm(grads: Tree) -> Tensor:
    """Euclidean norm over all leaves, of every task [T]."""
    each = [torch.linalg.vector_norm(leaf.detach().reshape(len(leaf), -1), dim=1) for _, leaf in leaves(grads)]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(each), dim=0)
    return norm


def _fresh(meta: Tree) -> Tree:
    """``meta`` as leaves of a new graph."""
    return tree_map(lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()), meta)


def _pulled(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Sum of the outputs' derivatives along their cotangents; constant outputs, such as a critic's bias may give, add nothing."""
    live = [(output, cotangent) for output, cotangent in zip(outputs, cotangents, strict=True) if output.requires_grad]
    if not live:
        return tuple(torch.zeros_like(leaf) for leaf in inputs)
    variable, along = zip(*live, strict=True)
    return torch.autograd.grad(variable, inputs, along, create_graph=create_graph, materialize_grads=True)
