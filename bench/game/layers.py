"""Layers whose weights differ by task, on the samples of all tasks as one batch.

Suffixes: T tasks, B samples of a task, C and O channels in and out, L places where a kernel lies, K numbers under it (C * its size).
Rules are named after the functions of ``torch.nn.functional`` that they stand for, and take their arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Sizes = int | tuple[int, ...]


class NotFoldableError(Exception):
    """A weight was used where no rule says how to use those of all tasks at once."""


class StackedLayers(TorchFunctionMode):
    """Functions of PyTorch in its scope take weights [T, ...] where they have a rule, and the samples of all tasks as one batch.

    Args:
        weights: the stacked ones; every other tensor is shared by all tasks, or made from samples.
        tasks: T.
        samples_first: the batch runs over (B, T), as suits grouped convolutions, and not over (T, B), as suits products.
    """

    def __init__(self, weights: Iterable[Tensor], tasks: int, *, samples_first: bool) -> None:
        super().__init__()
        self._stacked, self.tasks, self._samples_first = {id(weight) for weight in weights}, tasks, samples_first

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._stacked.isdisjoint(map(id, args)) and self._stacked.isdisjoint(map(id, kwargs.values())):
            return function(*args, **kwargs)
        if function not in RULES or id(args[0]) in self._stacked:
            raise NotFoldableError(f"it uses a weight in {getattr(function, '__name__', function)}, which has no rule for several tasks")
        return RULES[function](self, *args, **kwargs)

    def by_task(self, x: Tensor) -> Tensor:
        """A batch as (T, B, ...)."""
        sample = x.shape[1:]
        return x.view(-1, self.tasks, *sample).transpose(0, 1) if self._samples_first else x.view(self.tasks, -1, *sample)

    def batch(self, x_TB: Tensor) -> Tensor:
        """The batch of (T, B, ...)."""
        return (x_TB.transpose(0, 1) if self._samples_first else x_TB).flatten(0, 1)

    def of_task(self, weight: Tensor) -> Tensor:
        """[T, ...], also of a weight that all tasks share."""
        return weight if id(weight) in self._stacked else weight.expand(self.tasks, *weight.shape)


def linear(on: StackedLayers, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One batched product; further axes of a sample are more rows."""
    rows = on.by_task(x)
    made = product(on, rows if x.ndim == 2 else rows.flatten(1, -2), on.of_task(weight).mT, bias, 1)
    return on.batch(made if x.ndim == 2 else made.view(*rows.shape[:-1], -1))


def product(on: StackedLayers, a: Tensor, b: Tensor, bias: Tensor | None, axis: int) -> Tensor:
    """Product (T, ., .) of every task, plus a bias that is the same along ``axis``."""
    return torch.bmm(a, b) if bias is None else torch.baddbmm(on.of_task(bias).unsqueeze(axis), a, b)


def conv2d(
    on: StackedLayers,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """A product with the columns (T, K, B * L) of the samples, where these are no larger than what goes in or comes out.

    So it is next to an image, whose few channels a grouped convolution is slow on: 2.6 times slower, 3 times at second order.
    """
    places: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if groups > 1 or isinstance(padding, str):
        return grouped(on, functional.conv2d, x, weight, bias, groups, **places)
    own, kernel = on.of_task(weight), weight.shape[-2:]
    size = zip(kernel, x.shape[-2:], *map(pair, (padding, dilation, stride)), strict=True)
    out = [(side + 2 * pad - gap * (taps - 1) - 1) // step + 1 for taps, side, pad, gap, step in size]
    if own[0, 0].numel() * math.prod(out) > max(x[0].numel(), own.shape[1] * math.prod(out)):
        return grouped(on, functional.conv2d, x, weight, bias, **places)
    columns = on.by_task(functional.unfold(x, kernel, dilation, padding, stride)).transpose(1, 2).flatten(2)
    made = product(on, own.flatten(2), columns, bias, 2)
    return on.batch(made.view(*made.shape[:2], -1, *out).transpose(1, 2))


def conv_transpose2d(
    on: StackedLayers,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The same backwards: a product makes columns, which are added up where they overlap."""
    places: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    own, sides, kernel = on.of_task(weight), x.shape[-2:], weight.shape[-2:]
    size = zip(kernel, sides, *map(pair, (padding, dilation, stride, output_padding)), strict=True)
    out = tuple((side - 1) * step - 2 * pad + gap * (taps - 1) + 1 + more for taps, side, pad, gap, step, more in size)
    if groups > 1 or own[0, 0].numel() * math.prod(sides) > max(x[0].numel(), own.shape[2] * math.prod(out)):
        return grouped(on, functional.conv_transpose2d, x, weight, bias, groups, output_padding=output_padding, **places)
    rows = on.by_task(x).transpose(1, 2).flatten(2)  # (T, C, B * places)
    columns = torch.bmm(own.flatten(2).mT, rows)
    columns = on.batch(columns.view(*columns.shape[:2], -1, math.prod(sides)).transpose(1, 2))
    made = functional.fold(columns, out, kernel, dilation, padding, stride)
    return made if bias is None else affine(on, made, None, bias, (-1, 1, 1))


def pair(sizes: Sizes) -> tuple[int, ...]:
    """One size for each side."""
    return (sizes, sizes) if isinstance(sizes, int) else sizes * (2 // len(sizes))


def by_groups(convolution: Callable[..., Tensor], *names: str) -> Callable[..., Tensor]:
    """The rule of a convolution whose arguments after the bias are ``names``."""

    def rule(on: StackedLayers, x: Tensor, weight: Tensor, bias: Tensor | None = None, *places: Any, **options: Any) -> Tensor:
        return grouped(on, convolution, x, weight, bias, **dict(zip(names, places, strict=False)), **options)

    return rule


def grouped(
    on: StackedLayers, convolution: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1, **options: Any
) -> Tensor:
    """A convolution of T * C channels in T groups, for any kind of convolution."""
    channels = on.by_task(x).transpose(0, 1).flatten(1, 2)  # (B, T * C, ...)
    shift = None if bias is None else on.of_task(bias).flatten()
    made = convolution(channels, on.of_task(weight).flatten(0, 1), shift, groups=on.tasks * groups, **options)
    return on.batch(made.view(len(made), on.tasks, -1, *made.shape[2:]).transpose(0, 1))


def group_norm(
    on: StackedLayers, x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Statistics of a sample, then gain and shift of its task."""
    return affine(on, functional.group_norm(x, num_groups, eps=eps), weight, bias, (-1, *[1] * (x.ndim - 2)))


def layer_norm(
    on: StackedLayers,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Statistics of a sample, then gain and shift of its task."""
    return affine(on, functional.layer_norm(x, normalized_shape, eps=eps), weight, bias, tuple(normalized_shape))


def affine(on: StackedLayers, x: Tensor, weight: Tensor | None, bias: Tensor | None, last: tuple[int, ...]) -> Tensor:
    """Gain and shift of the shape ``last`` on the last axes of a sample."""
    shape = (on.tasks, *[1] * (x.ndim - len(last)), *last)
    gain, shift = (None if one is None else on.of_task(one).reshape(shape) for one in (weight, bias))
    y = on.by_task(x)
    if gain is not None:
        y = y * gain if shift is None else torch.addcmul(shift, y, gain)
    elif shift is not None:
        y = y + shift
    return on.batch(y)


RULES: dict[Any, Callable[..., Tensor]] = {
    functional.linear: linear,
    functional.conv1d: by_groups(functional.conv1d, "stride", "padding", "dilation", "groups"),
    functional.conv2d: conv2d,
    functional.conv_transpose1d: by_groups(functional.conv_transpose1d, "stride", "padding", "output_padding", "groups", "dilation"),
    functional.conv_transpose2d: conv_transpose2d,
    functional.group_norm: group_norm,
    functional.layer_norm: layer_norm,
}
