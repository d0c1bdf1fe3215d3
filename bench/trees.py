"""Trees of tensors: nested dicts whose leaves are tensors (or anything else).

Every walk is in the order of sorted names, so trees that were stored and read back pair up with fresh ones, and sums over
leaves round the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Tree = Any
"""Nested ``dict[str, ...]`` of leaves."""

Path = tuple[str, ...]


def leaves(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Leaves with their paths, in the order of sorted names."""
    if isinstance(tree, Mapping):
        for name in sorted(tree):
            yield from leaves(tree[name], (*path, name))
    else:
        yield path, tree


def tree_map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply ``f`` leaf by leaf; ``others`` may hold more names than ``tree``, never fewer."""
    if isinstance(tree, Mapping):
        return {name: tree_map(f, tree[name], *(other[name] for other in others)) for name in sorted(tree)}
    return f(tree, *others)


def rebuild(tree: Tree, values: Iterator[Any]) -> Tree:
    """The shape of ``tree`` with new leaves, taken in the order of :func:`leaves`."""
    return tree_map(lambda _: next(values), tree)


def flatten(tree: Tree) -> dict[str, Any]:
    """``{"initial/generator/0.weight": leaf}``: the flat form in which checkpoints are stored."""
    return {"/".join(path): leaf for path, leaf in leaves(tree)}


def unflatten(flat: Mapping[str, Any]) -> Tree:
    """Inverse of :func:`flatten` (empty branches are lost)."""
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = leaf
    return tree
