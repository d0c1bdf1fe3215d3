"""Networks of several tasks in one pass: the samples of all tasks are one batch, and layers with weights run by batched products.

``torch.vmap`` does the same for any code, operation by operation; here the layers that most networks are made of take one product for all
tasks, and what lies between them sees a batch of T * B samples and never knows. That is right only where no operation mixes the samples
of a batch, and no weight is used outside a known layer. The second is seen while the network runs; the first is tried, for each shape of
inputs, on random weights and samples in float64. A network that fails either is left to ``torch.vmap``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.game.layers import StackedLayers
from bench.game.outside import all_tasks, mapped, outside

AGREEMENT = 1e-9
"""Largest difference of the two ways in float64, relative to the largest output; rounding stays below 1e-12."""
TRIED = 3
"""Tasks that a network is tried on."""

Output = Tensor | tuple[Tensor, ...]
Shapes = tuple[tuple[int, ...], ...]


class Folds:
    """Which networks of an engine run folded.

    Attributes:
        reasons: why a network is left to ``torch.vmap`` on inputs of some shapes, "" where it runs folded.
    """

    def __init__(self) -> None:
        self.reasons: dict[tuple[nn.Module, Shapes], str] = {}
        self._layers: dict[nn.Module, tuple[nn.Module, ...]] = {}

    def run(self, module: nn.Module, weights: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> Output:
        """What ``module`` makes of ``inputs`` (B, ...) at ``weights`` {name: tensor}, for one task inside the engine's map."""
        names, tensors = list(weights), (*inputs, *weights.values())
        if not mapped(tensors) or not self.folds(module, weights, inputs):
            return cast(Output, functional_call(module, dict(weights), inputs))

        def run(*stacks: Tensor) -> Output:
            return folded_pass(module, dict(zip(names, stacks[len(inputs) :], strict=True)), stacks[: len(inputs)])

        return cast(Output, all_tasks(run, *tensors))

    def folds(self, module: nn.Module, weights: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> bool:
        """Does it run folded? ``weights`` and ``inputs`` are those of one task."""
        if module not in self._layers:
            self._layers[module] = tuple(module.modules())
        if any(layer._forward_hooks or layer._forward_pre_hooks for layer in self._layers[module]):
            return False  # someone looks at the outputs of its layers
        signature = module, tuple(tuple(one.shape) for one in inputs)
        if signature not in self.reasons:
            with outside():
                shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
                self.reasons[signature] = why_not(module, shapes, signature[1], weights[next(iter(weights))].device)
        return not self.reasons[signature]


FOLDS: ContextVar[Folds | None] = ContextVar("folds", default=None)
"""Those of the engine whose map over tasks is under way; None outside of it."""


def run(module: nn.Module, weights: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> Output:
    """A network at ``weights`` {name: tensor}, for all tasks at once where the engine maps over them."""
    folds = FOLDS.get()
    return folds.run(module, weights, inputs) if folds else cast(Output, functional_call(module, dict(weights), inputs))


def folded_pass(
    module: nn.Module, weights: Mapping[str, Tensor], inputs: tuple[Tensor, ...], buffers: Mapping[str, Tensor] | None = None
) -> Output:
    """All tasks by batched products: weights [T, ...], inputs and outputs [T, B, ...]; ``buffers`` instead of the module's own.

    Raises:
        NotFoldableError: a weight is used outside a layer that has a rule.
    """
    layers = StackedLayers(weights.values(), len(inputs[0]), samples_first=convolves(module))
    with layers:
        made = functional_call(module, {**weights, **(buffers or {})}, tuple(layers.batch(one) for one in inputs), tie_weights=False)
    return tuple(layers.by_task(one) for one in made) if isinstance(made, tuple) else layers.by_task(made)


def convolves(module: nn.Module) -> bool:
    """Has it convolutions, which take the tasks' channels side by side?"""
    return any(isinstance(layer, nn.modules.conv._ConvNd) for layer in module.modules())


def mapped_pass(
    module: nn.Module, weights: Mapping[str, Tensor], inputs: tuple[Tensor, ...], buffers: Mapping[str, Tensor] | None = None
) -> Output:
    """The same by ``torch.vmap``."""

    def one(weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Output:
        return cast(Output, functional_call(module, {**weights, **(buffers or {})}, inputs))

    made: Output = torch.vmap(one, randomness="error")(dict(weights), inputs)
    return made


def why_not(module: nn.Module, weights: Mapping[str, tuple[int, ...]], inputs: Shapes, device: torch.device) -> str:
    """Why a network does not run folded on weights and inputs of these shapes, those of one task; "" where it does.

    Inputs are normal numbers; weights differ by task and stay near the module's own, where signals pass through it.
    """
    rng = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(TRIED, *shape, generator=rng, dtype=torch.float64).to(device)

    own = {name: weight.detach().double() for name, weight in module.named_parameters()}
    if len(own) < len(list(module.named_parameters(remove_duplicate=False))):
        return "two of its layers share a weight"
    buffers = {name: buffer.double() for name, buffer in module.named_buffers() if buffer.is_floating_point()}
    tried = {name: own.get(name, 0.0) * (1 + 0.3 * random(*shape)) + 0.05 * random(*shape) for name, shape in weights.items()}
    samples = tuple(random(*shape) for shape in inputs)
    with torch.no_grad():
        try:
            want, got = (way(module, tried, samples, buffers) for way in (mapped_pass, folded_pass))
        except Exception as error:  # torch.vmap says it again on the task's own numbers, or knows better
            return str(error).partition("\n")[0] or type(error).__name__
    pairs = zip(*(made if isinstance(made, tuple) else (made,) for made in (want, got)), strict=True)
    same = all(a.shape == b.shape and bool((a - b).abs().max() <= AGREEMENT * a.abs().max()) for a, b in pairs)
    return "" if same else "its samples do not stay apart"
