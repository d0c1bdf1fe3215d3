"""Into a map over tasks, and out of it: ``torch.vmap`` for lists of tensors, and a function of all tasks' tensors called for one of them.

Both can be had by public means, ``torch.vmap`` and a ``torch.autograd.Function`` with a ``vmap`` rule, whose general walks through
arguments and results take several times as long as a layer of a small network. The internals used here are those that ``torch.vmap``
itself is written with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor
from torch._C._functorch import (
    _add_batch_dim,
    _remove_batch_dim,
    _vmap_decrement_nesting,
    _vmap_increment_nesting,
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    maybe_get_bdim,
    maybe_get_level,
    peek_interpreter_stack,
)
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch._functorch.vmap import lazy_load_decompositions  # type: ignore[attr-defined]


def for_each(f: Callable[..., Iterable[Any]], tensors: Sequence[Tensor], tasks: int) -> list[Tensor]:
    """``f`` of the tensors of one task, for all of them at once: stacks [T, ...] in, stacks of what ``f`` gives out.

    Raises:
        TypeError: ``f`` gives something else than tensors.
    """
    lazy_load_decompositions()
    level = _vmap_increment_nesting(tasks, "error")
    try:
        made = list(f(*(_add_batch_dim(tensor, 0, level) for tensor in tensors)))
        for one in made:
            if not isinstance(one, Tensor):
                raise TypeError(f"it must only return tensors, got {type(one).__name__}")
        return [_remove_batch_dim(one, level, tasks, 0) for one in made]
    finally:
        _vmap_decrement_nesting()


def mapped(tensors: Sequence[Tensor]) -> bool:
    """Is one of ``tensors`` a task's part of a stack, and none inside a further transform of ``torch.func``?"""
    wrapped = [tensor for tensor in tensors if is_functorch_wrapped_tensor(tensor)]
    return bool(wrapped) and all(is_batchedtensor(tensor) and not is_functorch_wrapped_tensor(get_unwrapped(tensor)) for tensor in wrapped)


@contextmanager
def outside() -> Iterator[None]:
    """Plain PyTorch, whatever map or transform is under way; tensors that belong to one must not be used in it."""
    with ExitStack() as stack:
        while peek_interpreter_stack() is not None:
            stack.enter_context(retrieve_current_functorch_interpreter().lower())
        yield


def all_tasks(f: Callable[..., Any], *tensors: Tensor) -> Any:
    """This task's part of what ``f`` makes of the stacks [T, ...] behind ``tensors``, whose leading axis is T again.

    A tensor that is the same for all tasks is repeated. ``f`` returns a tensor or a tuple of them, and runs outside the map: plain
    autograd records it, and it may draw random numbers.

    Args:
        f: of as many stacks as there are tensors.
        tensors: :func:`mapped` ones.
    """
    some = next(tensor for tensor in tensors if is_batchedtensor(tensor))
    level, tasks = maybe_get_level(some), get_unwrapped(some).shape[maybe_get_bdim(some)]
    parts = [(get_unwrapped(tensor), maybe_get_bdim(tensor)) if is_batchedtensor(tensor) else (tensor, None) for tensor in tensors]
    with outside():
        made = f(*(_stacked(part, axis, tasks) for part, axis in parts))
    return tuple(_add_batch_dim(one, 0, level) for one in made) if isinstance(made, tuple) else _add_batch_dim(made, 0, level)


def _stacked(tensor: Tensor, axis: int | None, tasks: int) -> Tensor:
    if axis == 0:
        return tensor
    return tensor.expand(tasks, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
