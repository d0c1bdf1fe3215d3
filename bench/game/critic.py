"""The network that regularisers see: logits, and their gradient with respect to the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.errors import ContractError
from bench.game.folded import FOLDS, folded_pass, run
from bench.game.outside import all_tasks, mapped
from bench.game.regularised import unregularised


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
        output: Tensor = self(*_arguments(x, labels))
        return output.flatten()

    def __call__(self, *inputs: Tensor) -> Any:
        """What any network makes of ``inputs`` (B, ...) at the weights: a tensor (B, ...), or a tuple where it gives several."""
        return run(self.module, self.weights, inputs)

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
        inputs, names = _arguments(x, labels), list(self.weights)
        tensors = (*inputs, *self.weights.values())

        def logits(inputs: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Tensor:
            output: Tensor = functional_call(self.module, dict(zip(names, weights, strict=True)), inputs)
            return output.flatten()

        with unregularised():
            if not mapped(tensors):
                return _input_gradient(lambda *seen: logits(seen, tuple(self.weights.values())), *inputs)
            folds = FOLDS.get()
            folded = folds is not None and folds.folds(self.module, self.weights, inputs)

            def gradients(*stacks: Tensor) -> Tensor:
                weights = stacks[len(inputs) :]
                if folded:
                    named = dict(zip(names, weights, strict=True))
                    return _input_gradient(lambda *seen: folded_pass(self.module, named, seen), *stacks[: len(inputs)])
                return _input_gradient(lambda *seen: torch.vmap(logits)(seen, weights), *stacks[: len(inputs)])

            gradient: Tensor = all_tasks(gradients, *tensors)
            return gradient


def _arguments(x: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    return (x,) if labels is None else (x, labels)


def alias(tensor: Tensor) -> Tensor:
    """Same value, fresh node: gradients with respect to it are partial derivatives."""
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


def _input_gradient(logits: Callable[..., Any], x: Tensor, *labels: Tensor) -> Tensor:
    """Plain autograd: per-sample gradients are slices of the gradient of the sum, over samples and tasks."""
    with torch.enable_grad():
        x = alias(x)
        return torch.autograd.grad(logits(x, *labels).sum(), x, create_graph=True)[0]
