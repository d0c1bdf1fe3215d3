"""Which parameters adapt, said by name patterns or by place in the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

from bench.contracts import ContractError, Tree

Named = Mapping[str, Mapping[str, object]]


def split_by(patterns: Iterable[str], weights: Mapping[str, Mapping[str, object]]) -> tuple[Tree, Tree]:
    """``weights`` {player: {name: tensor}} -> those that match a pattern, and the rest; players without any are left out.

    A pattern is matched against ``player.name`` (``generator.*``: one player; ``*.bias``: all biases) or is one of

    - ``head``: the layer next to what is specific to a task: the first layer of a generator, the last one of any other network;
    - ``body``: every other layer;
    - ``<player>.first``, ``<player>.last``: that layer of that player.

    Names within a player are in the order of its layers, as ``named_parameters`` gives them.

    Raises:
        ContractError: a pattern matches nothing.
    """
    chosen: set[tuple[str, str]] = set()
    for pattern in patterns:
        found = {(player, name) for player, own in weights.items() for name in _matching(pattern, player, list(own))}
        if not found:
            known = [f"{player}.{name}" for player, own in weights.items() for name in own]
            raise ContractError(
                f"adapts: {pattern!r} matches no parameter; use head, body, <player>.first, <player>.last or a pattern of: "
                + ", ".join(known)
            )
        chosen |= found
    parts = (
        {player: {name: leaf for name, leaf in own.items() if ((player, name) in chosen) == wanted} for player, own in weights.items()}
        for wanted in (True, False)
    )
    adapted, rest = ({player: own for player, own in part.items() if own} for part in parts)
    return adapted, rest


def _matching(pattern: str, player: str, names: list[str]) -> list[str]:
    layers = list(dict.fromkeys(layer_of(name) for name in names))
    head = layers[0] if player == "generator" else layers[-1]
    places = {"head": {head}, "body": {*layers} - {head}, f"{player}.first": {layers[0]}, f"{player}.last": {layers[-1]}}
    if pattern in places:
        return [name for name in names if layer_of(name) in places[pattern]]
    return [name for name in names if fnmatch(f"{player}.{name}", pattern)]


def layer_of(name: str) -> str:
    """``body.0.weight`` -> ``body.0``."""
    return name.rpartition(".")[0]
