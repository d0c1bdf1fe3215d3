"""Trees of tensors: nested dicts whose leaves are tensors (or anything else)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Tree = Any
"""Nested ``dict[str, ...]`` of leaves."""

Path = tuple[str, ...]


def leaves(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Leaves with their paths, in insertion order."""
    if isinstance(tree, Mapping):
        for name, branch in tree.items():
            yield from leaves(branch, (*path, name))
    else:
        yield path, tree


def tree_map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply ``f`` leaf by leaf; ``others`` may hold more names than ``tree``, never fewer."""
    if isinstance(tree, Mapping):
        return {name: tree_map(f, branch, *(other[name] for other in others)) for name, branch in tree.items()}
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
