"""Named random numbers of a task: what a component draws depends on who asks for what, never on batching."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench import seeds
from bench.game.outside import all_tasks, mapped, outside


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
        """The numbers depend on (key, path, shape) only: neither the chunk size nor vectorisation changes them."""
        draw, path = torch.randn if kind == "normal" else torch.rand, (*self.path, name)

        def numbers(keys: Tensor) -> Tensor:
            of_tasks = [
                draw(tuple(shape), generator=torch.Generator().manual_seed(seeds.key("draw", key, *path)), dtype=torch.float64)
                for key in keys.flatten().tolist()
            ]
            return torch.stack(of_tasks).reshape((*keys.shape, *shape)).to(self.device, self.dtype)

        if mapped([self.key]):
            drawn: Tensor = all_tasks(numbers, self.key)
            return drawn
        with outside():  # a key that all tasks share draws inside a map as it does anywhere
            return numbers(self.key)
