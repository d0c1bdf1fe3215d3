"""Explicit initialisations, rivals of a learned one: adaptation from scratch, but from weights that a rule has drawn.

The network's own initialisation is the one of :class:`~bench_builtin.meta_learners.baselines.Scratch`. A rule draws every weight of
two or more axes (linear and convolution layers) and sets biases to 0; what is neither, such as a norm's gain, keeps the network's value
unless the rule says otherwise. Draws come from the learner's generator: the same for each replicate of a suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contracts import Choice, Game, Space, Tree
from bench_builtin.meta_learners.baselines import Scratch

Positive = Annotated[float, Field(gt=0)]
LEAKY_GAIN = nn.init.calculate_gain("leaky_relu", 0.2)
"""sqrt(2 / (1 + 0.2^2)) = 1.39, which keeps a signal's second moment through leaky ReLUs of slope 0.2 (He et al., 2015, eq. 15)."""


@dataclass(frozen=True, kw_only=True)
class Initialised(Scratch, ABC):
    """Adapts from weights that :meth:`weight` draws; what the subclasses differ in."""

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        initial = super().init(rng, game)["initial"]
        return {"initial": {player: {name: self._drawn(name, leaf, rng) for name, leaf in own.items()} for player, own in initial.items()}}

    @abstractmethod
    def weight(self, values: Tensor, rng: torch.Generator) -> None:
        """Fill a weight of two or more axes, (outputs, inputs, ...), in place."""

    def gain(self, values: Tensor, rng: torch.Generator) -> None:
        """Change what is neither weight nor bias, in place: a norm's gain, a scalar; by default it stays."""

    def _drawn(self, name: str, own: Tensor, rng: torch.Generator) -> Tensor:
        """On the CPU, where the generator is, so that devices start alike."""
        values = own.cpu()
        if name.rpartition(".")[2] == "bias":
            values = torch.zeros_like(values)
        elif values.ndim >= 2:
            self.weight(values, rng)
        else:
            self.gain(values, rng)
        return values.to(own.device)


@dataclass(frozen=True, kw_only=True)
class Xavier(Initialised):
    """W ~ U[-a, a], a = scale sqrt(6 / (fan_in + fan_out)): variance 2 scale^2 / (fan_in + fan_out).

    Args:
        scale: 1 is the paper's and that of GAN code; 1.39 makes up for leaky ReLUs of slope 0.2.

    Source: Glorot & Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html, eq. 16.
    """

    scale: Positive = 1.0

    space: ClassVar[Space] = {**Scratch.space, "scale": Choice((1.0, round(LEAKY_GAIN, 2)))}

    def weight(self, values: Tensor, rng: torch.Generator) -> None:
        nn.init.xavier_uniform_(values, self.scale, generator=rng)


@dataclass(frozen=True, kw_only=True)
class Orthogonal(Initialised):
    """scale times a random matrix with orthonormal rows or columns, whichever are fewer; all axes after the first are one.

    Args:
        scale: 1 preserves lengths through linear layers, as GANs use it (Brock et al., 2019, https://arxiv.org/abs/1809.11096); 1.39
            makes up for leaky ReLUs of slope 0.2.

    Source: Saxe et al., 2014, https://arxiv.org/abs/1312.6120.
    """

    scale: Positive = 1.0

    space: ClassVar[Space] = {**Scratch.space, "scale": Choice((1.0, round(LEAKY_GAIN, 2)))}

    def weight(self, values: Tensor, rng: torch.Generator) -> None:
        nn.init.orthogonal_(values, self.scale, generator=rng)


@dataclass(frozen=True, kw_only=True)
class DcganNormal(Initialised):
    """W ~ N(0, sd^2), gains of norms ~ N(1, sd^2), biases 0: what DCGANs start from.

    Made for norms after every layer: without them, signals fade by a factor of about sd sqrt(fan_in) a layer.

    Args:
        sd: 0.02 in the paper.

    Source: Radford et al., 2016, https://arxiv.org/abs/1511.06434, section 4; gains as in the authors' code.
    """

    sd: Positive = 0.02

    def weight(self, values: Tensor, rng: torch.Generator) -> None:
        nn.init.normal_(values, 0.0, self.sd, generator=rng)

    def gain(self, values: Tensor, rng: torch.Generator) -> None:
        if values.ndim == 1:
            nn.init.normal_(values, 1.0, self.sd, generator=rng)
