"""What authors get wrong, found early and said with a cure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from bench.errors import ContractError
from bench.trees import Tree, leaves

CURES = {  # a part of torch's message -> what an author should do
    "data-dependent control flow": "`if`, max() or float() on a tensor; use torch.where, torch.maximum",
    "calling .item()": "a tensor was turned into a number (.item(), torch.tensor([...])); keep tensors, use torch.stack",
    "randomness error mode": "random numbers or dropout; take noise from `draws`, put networks in eval mode",
    "more elements than": "in-place write into a tensor made without the task; build the result from new tensors",
    "single memory location": "an argument was changed in place (by torch.optim?); return new tensors",
    "leaf variable": "an argument was changed in place; return new tensors (p - lr * g, not p -= lr * g)",
    "broadcast shape": "a buffer was written in place; keep state in the component's `state`, not in the module",
    "escaped from inside": "a value of an earlier call was kept on self or in a module; keep it in inner or state",
    "must only return tensors": "every leaf of a returned tree must be a tensor (no None, float or int); nothing: {}",
    "got int": "every leaf of a returned tree must be a tensor",
    "got nonetype": "every leaf of a returned tree must be a tensor; nothing: {}",
    "non-leaf tensor": "torch.optim can't be used here; write the step as a function of (params, grads, inner)",
    "requires_grad_()": "components never call autograd; a regulariser has play.input_gradient(x)",
    "does not require grad": "components never call autograd; a regulariser has play.input_gradient(x)",
    "`data` under": ".data; use .detach() where a derivative must stop",
    "batching rule": "an operation torch can't vectorise; use another one, or declare `vectorised = False`",
    "to unpack": "it must return a pair, (params, inner) or (value, state)",
}

FUSED_NORMS = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


def explain(error: Exception) -> str:
    """Torch's message, led by the cure where the mistake is a known one."""
    cure = next((cure for part, cure in CURES.items() if part in str(error).lower()), None)
    first = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return f"{cure} ({first})" if cure else str(error) or first


def check_module(player: str, module: nn.Module) -> None:
    """Refuse what would be wrong, or fail obscurely, under stacked parameters.

    Raises:
        ContractError: running statistics or active dropout.
    """
    for name, layer in module.named_modules():
        if getattr(layer, "track_running_stats", False):
            raise ContractError(
                f"{player}.{name}: {type(layer).__name__} keeps running statistics, which leak between tasks; "
                "use GroupNorm, or track_running_stats=False"
            )
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:
            raise ContractError(f"{player}.{name}: dropout draws its own noise; call .eval(), or use a layer that takes noise from draws")


def check_third_order(modules: Mapping[str, nn.Module], penalties: Iterable[Any], order: int) -> None:
    """Refuse fused norms under a second-order meta-gradient of an input-gradient penalty.

    That is a third derivative, and PyTorch's layer, batch and instance norms give it wrongly (14 % to
    590 % off) or raise; group and RMS norms are right to 1e-7.

    Raises:
        ContractError: such a combination.
    """
    if order < 2 or not any(getattr(penalty, "uses_input_gradient", False) for penalty in penalties):
        return
    for player, module in modules.items():
        for name, layer in module.named_modules():
            if isinstance(layer, FUSED_NORMS):
                raise ContractError(
                    f"{player}.{name}: {type(layer).__name__} has wrong third derivatives in PyTorch, which a second-order meta-gradient "
                    "of an input-gradient penalty needs; use GroupNorm or RMSNorm, order 1, or no such penalty"
                )


def same_shape(author: str, before: tuple[Tree, ...], after: Any) -> tuple[Tree, ...]:
    """``after`` has the names, shapes and dtypes of ``before``; torch would let a lost layer pass.

    Raises:
        ContractError: it has not.
    """
    if not isinstance(after, tuple) or len(after) != len(before):
        raise ContractError(f"{author} must return a pair, (params, inner) or (value, state)")
    for old_tree, new_tree in zip(before, after, strict=True):
        if alike(old_tree, new_tree):
            continue
        old, new = ({path: (leaf.shape, leaf.dtype) for path, leaf in leaves(tree)} for tree in (old_tree, new_tree))
        wrong = sorted(".".join(path) for path in old.keys() | new.keys() if old.get(path) != new.get(path))
        raise ContractError(
            f"{author} changed the names, shapes or dtypes of {', '.join(wrong[:3])}; return every leaf it was given, and only those"
        )
    return after


def alike(old: Tree, new: Tree) -> bool:
    """Have two trees of tensors the same names, shapes and dtypes?"""
    if isinstance(old, Mapping):
        return isinstance(new, Mapping) and old.keys() == new.keys() and all(alike(old[name], new[name]) for name in old)
    return not isinstance(new, Mapping) and old.shape == new.shape and old.dtype == new.dtype
