"""A function of one task's trees, over the tasks of a chunk: by ``torch.vmap``, or one task after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.game.outside import for_each
from bench.trees import Tree, rebuild

Result = Any
"""A tree, or a tuple of trees."""


def vectorised(f: Callable[..., Result], stacked: Sequence[Tree], tensors: Sequence[Tensor]) -> Result:
    """``f`` of every task at once; ``tensors`` are the leaves [T, ...] of ``stacked``, and those of the result are [T, ...] too."""
    made: list[Result] = []

    def flat(*parts: Tensor) -> Iterator[Any]:
        given = iter(parts)
        made.append(f(*(rebuild(tree, given) for tree in stacked)))
        return flattened(made[-1])

    values = for_each(flat, tensors, len(tensors[0]))
    return refilled(made[-1], iter(values))


def one_by_one(f: Callable[..., Result], stacked: Sequence[Tree], tensors: Sequence[Tensor]) -> Result:
    """The same numbers without a map, for what cannot be vectorised."""
    made = []
    for t in range(len(tensors[0])):
        given = iter([tensor[t] for tensor in tensors])
        made.append(f(*(rebuild(tree, given) for tree in stacked)))
    columns = zip(*(flattened(one) for one in made), strict=True)
    return refilled(made[0], (torch.stack(column) for column in columns))


def flattened(result: Result) -> Iterator[Any]:
    """Leaves of a tree or of a tuple of trees."""
    if isinstance(result, tuple):
        for one in result:
            yield from flattened(one)
    elif isinstance(result, Mapping):
        for name in sorted(result):
            yield from flattened(result[name])
    else:
        yield result


def refilled(result: Result, values: Iterator[Any]) -> Result:
    """The shape of ``result`` with new leaves, taken in the order of :func:`flattened`."""
    if isinstance(result, tuple):
        return tuple(refilled(one, values) for one in result)
    return rebuild(result, values)
