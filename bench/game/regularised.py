"""Regularisers of meta-learning at work inside a loss: on the weights that networks run with, and on their layers' outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.contracts import LayerCall
from bench.errors import ContractError
from bench.game.draws import Draws
from bench.trees import Tree


@dataclass
class _Pass:
    """One evaluation of a game's losses or samples for one task, as the hooks on its layers see it.

    Attributes:
        calls: how often each layer has run, so that a discriminator's noise differs between real and fake samples.
        penalties: what joins the players' losses, {player: scalar}.
    """

    owner: object
    meta: Tree
    draws: Draws
    adapting: bool
    calls: dict[tuple[str, str], int] = field(default_factory=dict)
    penalties: dict[str, Tensor] = field(default_factory=dict)


PASS: ContextVar[_Pass | None] = ContextVar("pass", default=None)
"""The pass that is under way; None where layers run as they are."""


@contextmanager
def unregularised() -> Iterator[None]:
    """Layers run as they are: at other weights for a regulariser, and where a penalty differentiates the critic by its input.

    There the engine's map over tasks is entered a second time, and the random numbers of the pass belong to the first.
    """
    token = PASS.set(None)
    try:
        yield
    finally:
        PASS.reset(token)


def players_of(penalty: Any) -> tuple[str, ...]:
    """Whom a penalty acts on."""
    players: tuple[str, ...] = getattr(penalty, "players", ("discriminator",))
    return players


class Regularised:
    """The regularisers of one engine that act inside its losses.

    Args:
        regularisers: by the name under which ``meta`` holds what they own.
        game: whose modules get hooks.
        rules: penalties that say what a player's weights may be; they hold at meta-test too.
        training: handed on to the regularisers; weights are perturbed in meta-training only.
    """

    def __init__(self, regularisers: Mapping[str, Any], game: Any, training: bool, rules: Sequence[Any] = ()) -> None:
        self._all, self._game, self._training = dict(regularisers), game, training
        self._reparametrising = [rule for rule in rules if hasattr(rule, "reparametrise")]
        self._projecting = [rule for rule in rules if hasattr(rule, "project")]
        self._names = {player: {name for name, _ in module.named_parameters()} for player, module in game.modules.items()}
        self._hooked = not any(hasattr(regulariser, "activation") for regulariser in self._all.values())

    def init(self, rng: torch.Generator, meta: Tree) -> Tree:
        """``meta`` with what the regularisers own, each under its name."""
        owned = {name: one.init(rng, self._game, meta) for name, one in self._all.items() if hasattr(one, "init")}
        taken = owned.keys() & meta.keys()
        if taken:
            raise ContractError(f"regulariser and meta-learner both call a part of meta {sorted(taken)[0]!r}; rename it in the learner")
        return {**meta, **{name: own for name, own in owned.items() if own}}

    def weights(self, meta: Tree, weights: Tree, draws: Draws) -> Tree:
        """What the networks of one task run with."""
        for name, regulariser in self._all.items() if self._training else ():
            if hasattr(regulariser, "perturb"):
                weights = regulariser.perturb(meta.get(name, {}), meta, weights, draws.at(name))
        for rule in self._reparametrising:
            changed = {player: rule.reparametrise(player, self._game.modules[player], weights[player]) for player in players_of(rule)}
            weights = {**weights, **changed}
        return weights

    @property
    def projects(self) -> bool:
        """Is there a rule that :meth:`projected` follows?"""
        return bool(self._projecting)

    def projected(self, player: str, params: Tree) -> Tree:
        """``params`` {name: tensor} of a player, those that are weights of its network at their nearest admissible values."""
        for rule in self._projecting:
            if player in players_of(rule):
                params = {name: rule.project(player, name, leaf) if name in self._names[player] else leaf for name, leaf in params.items()}
        return params

    @contextmanager
    def during(self, meta: Tree, draws: Draws, *, adapting: bool) -> Iterator[dict[str, Tensor]]:
        """Layers run regularised; gives the dict that collects what joins the players' losses."""
        if not self._hooked:
            self._hook(meta)
        now = _Pass(self, meta, draws, adapting)
        token = PASS.set(now)
        try:
            yield now.penalties
        finally:
            PASS.reset(token)

    def _hook(self, meta: Tree) -> None:
        """Once, when the structure of ``meta`` is known."""
        for name, regulariser in self._all.items():
            if hasattr(regulariser, "activation"):
                for player, layers in regulariser.layers(self._game, meta).items():
                    modules = dict(self._game.modules[player].named_modules())
                    for layer in layers:
                        modules[layer].register_forward_hook(self._replace(name, regulariser, player, layer))
        self._hooked = True

    def _replace(self, name: str, regulariser: Any, player: str, layer: str) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            now = PASS.get()
            if now is None or now.owner is not self:
                return None
            number = now.calls[player, layer] = now.calls.get((player, layer), -1) + 1

            def run(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
                with unregularised():
                    result: Tensor = functional_call(module, dict(weights), (x,))
                return result

            call = LayerCall(player, layer, inputs[0], output, now.adapting, self._training, run)
            changed, penalty = regulariser.activation(now.meta.get(name, {}), call, now.draws.at(name, player, layer, number))
            if penalty is not None:
                now.penalties[player] = now.penalties[player] + penalty if player in now.penalties else penalty
            replaced: Tensor = changed
            return replaced

        return hook
