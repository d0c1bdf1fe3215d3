"""Named random numbers of a task: what a component draws depends on who asks for what, never on batching."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench import seeds


class _Draw(torch.autograd.Function):
    """Noise of one task as a function of its key; the vmap rule sees the keys of all tasks at once.

    The numbers a task gets depend on (key, path, shape) only, so neither the chunk size nor
    vectorisation changes them, and vmap's own randomness stays switched off.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        key: Tensor, kind: str, path: tuple[str | int, ...], shape: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seeds.key("draw", int(key), *path))
        draw = torch.randn if kind == "normal" else torch.rand
        return draw(shape, generator=generator, dtype=torch.float64).to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], key: Tensor, *rest: Any) -> tuple[Tensor, int]:
        return torch.stack([_Draw.forward(one, *rest) for one in key]), 0


@dataclass(frozen=True)
class Draws:
    """Named random numbers: ``draws.normal("eps", (S, 1))``, never ``torch.randn``.

    Attributes:
        key: int64 on the CPU, one per task (inside the engine's map: one).
        dtype, device: of the numbers handed out.
        path: who is asking; part of every number's name.
    """

    key: Tensor
    dtype: torch.dtype
    path: tuple[str | int, ...] = ()
    device: str = "cpu"

    def at(self, *parts: str | int) -> Draws:
        """The numbers of a place further down: a step, a component."""
        return replace(self, path=(*self.path, *parts))

    def fixed(self) -> Draws:
        """The same numbers wherever asked from: one noise for all steps of a task."""
        return replace(self, path=("fixed",))

    def of(self, key: Tensor) -> Draws:
        """The same names for other tasks, or for one of them inside a map."""
        return replace(self, key=key)

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers of ``shape`` under ``name``."""
        return self._draw("normal", name, shape)

    def uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers in [0, 1) of ``shape`` under ``name``."""
        return self._draw("uniform", name, shape)

    def _draw(self, kind: str, name: str, shape: tuple[int, ...]) -> Tensor:
        drawn: Tensor = _Draw.apply(self.key, kind, (*self.path, name), tuple(shape), self.dtype)  # type: ignore[no-untyped-call]
        return drawn.to(self.device)
