"""The network that regularisers see: logits, and their gradient with respect to the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.errors import ContractError
from bench.game.regularised import unregularised

STACKED: ContextVar[bool] = ContextVar("stacked", default=False)
"""Are we inside the engine's vmap?"""


@dataclass(frozen=True)
class Critic:
    """A network at fixed weights, as a function of its input.

    Attributes:
        module: maps (B, ...), and labels where there are any, to B logits.
        weights: {name: tensor}.
    """

    module: nn.Module
    weights: Mapping[str, Tensor]

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (B,) of ``x`` (B, ...), with one-hot labels (B, classes) where the network takes them."""
        output: Tensor = functional_call(self.module, dict(self.weights), _arguments(x, labels))
        return output.flatten()

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the network makes of ``x`` before it judges: the inputs (B, F) of its last linear layer.

        Raises:
            ContractError: the network has no linear layer, or does not run it.
        """
        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        seen: list[Tensor] = []
        if linear:
            handle = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            try:
                self.logits(x, labels)
            finally:
                handle.remove()
        if not seen:
            raise ContractError(
                f"features are the inputs of a network's last nn.Linear, and {type(self.module).__name__} runs none; "
                "use a discriminator that ends in a linear layer, or another regulariser"
            )
        return seen[-1].flatten(1)

    @staticmethod
    def slopes(loss: Callable[..., Tensor], *logits: Tensor) -> tuple[Tensor, ...]:
        """d(loss)/d(logit) of every logit, a tensor (B,) for each of the loss's arguments (B,): how hard it pulls at a sample."""
        slopes: tuple[Tensor, ...] = torch.func.grad(loss, argnums=tuple(range(len(logits))))(*logits)
        return slopes

    def input_gradient(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """d(sum of logits)/dx, shape of ``x``, weights held fixed; differentiable to any order.

        Logits of a sample must not depend on other samples, or this is not a per-sample gradient. Layers run without what
        regularisers do to their outputs, so it is the gradient of the network itself.
        """
        names = list(self.weights)
        fixed = [*self.weights.values(), *([] if labels is None else [labels])]

        def logits(x: Tensor, *tensors: Tensor) -> Tensor:
            weights = dict(zip(names, tensors, strict=False))
            output: Tensor = functional_call(self.module, weights, (x, *tensors[len(names) :]))
            return output.flatten()

        with unregularised():
            if STACKED.get():
                gradient: Tensor = _InputGradient.apply(logits, x, *fixed)  # type: ignore[no-untyped-call]
                return gradient
            return _input_gradient(logits, x, *fixed)


def _arguments(x: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    return (x,) if labels is None else (x, labels)


def alias(tensor: Tensor) -> Tensor:
    """Same value, fresh node: gradients with respect to it are partial derivatives."""
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


def _input_gradient(logits: Callable[..., Tensor], x: Tensor, *tensors: Tensor) -> Tensor:
    """Plain autograd: per-sample gradients are slices of the gradient of the sum, over samples and tasks."""
    with torch.enable_grad():
        x = alias(x)
        return torch.autograd.grad(logits(x, *tensors).sum(), x, create_graph=True)[0]


class _InputGradient(torch.autograd.Function):
    """Called for one task under vmap, computed for all.

    The vmap rule sees the stacked tensors, which carry plain autograd's graph, so the gradient is
    taken outside the map like every other one (nested transforms would refuse more user code).
    """

    @staticmethod
    def forward(logits: Callable[..., Tensor], x: Tensor, *tensors: Tensor) -> Tensor:  # type: ignore[override]
        raise ContractError("critic.input_gradient runs only inside the engine's map over tasks")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], logits: Callable[..., Tensor], x: Tensor, *tensors: Tensor) -> tuple[Tensor, int]:
        _, x_dim, *dims = in_dims
        x = x.movedim(x_dim, 0) if x_dim is not None else x.expand(info.batch_size, *x.shape)
        return _input_gradient(torch.vmap(logits, (0, *dims)), x, *tensors), 0
