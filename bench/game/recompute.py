"""Adjoint recursion: a step keeps its inputs only, and is done again when its derivative is asked for.

Memory of a second-order rollout then grows with the parameters of each step rather than with its graph, at the price of one more
forward and inner backward pass. A step must be a pure function: state on a Python object would change between the two passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.trees import Tree, leaves, rebuild, tree_map

Step = Callable[[Tree, int], Tree]
"""``step(inputs, order)``: the same values for both orders; with order 2 the inner gradients carry a graph."""


def recomputed(step: Step, inputs: Tree) -> Tree:
    """``step(inputs, 2)``, differentiable once, whose graph is rebuilt in the backward pass.

    Args:
        step: a pure function of a tree of tensors.
        inputs: everything that a derivative may be taken with respect to.
    """
    shape: dict[str, Tree] = {}

    def flat(order: int, *tensors: Tensor) -> list[Tensor]:
        out = step(rebuild(inputs, iter(tensors)), order)
        shape["out"] = tree_map(lambda _: None, out)  # the shape only: tensors here would keep every step's graph
        return [leaf for _, leaf in leaves(out)]

    outputs = _Recomputed.apply(flat, *(leaf for _, leaf in leaves(inputs)))  # type: ignore[no-untyped-call]
    return rebuild(shape["out"], iter(outputs))


class _Recomputed(torch.autograd.Function):
    """Forward with order 1, which keeps no graph; backward does the step again with order 2."""

    @staticmethod
    def forward(ctx: Any, flat: Callable[..., list[Tensor]], *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.flat = flat
        ctx.set_materialize_grads(False)  # what nothing is pulled back to is not worked, or charged, for
        ctx.save_for_backward(*tensors)
        return tuple(output.detach() for output in flat(1, *(tensor.detach() for tensor in tensors)))

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in ctx.saved_tensors]
        with torch.enable_grad():
            outputs = ctx.flat(2, *inputs)
        pairs = zip(outputs, cotangents, strict=True)
        live = [(output, cotangent) for output, cotangent in pairs if output.requires_grad and cotangent is not None]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        grads = iter(
            torch.autograd.grad([output for output, _ in live], wanted, [cotangent for _, cotangent in live], materialize_grads=True)
        )
        return None, *(next(grads) if tensor.requires_grad else None for tensor in inputs)
