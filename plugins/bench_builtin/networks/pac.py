"""Packing: a discriminator that judges several samples at once."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from torch import Tensor, nn

from bench.contracts import ContractError, Kind, Network, SampleSpec
from bench_builtin.networks.layers import Positive
from bench_builtin.networks.wrapped import ANY_SAMPLES, built


class Packed(nn.Module):
    """(B, C, ...) -> the logits (B / m,) of a network of (B / m, m C, ...); a pack is m rows that follow each other, labels alike.

    Raises:
        ContractError: m does not divide B.
    """

    def __init__(self, network: nn.Module, m: int) -> None:
        super().__init__()
        self.network, self.m = network, m

    def forward(self, x: Tensor, *labels: Tensor) -> Tensor:
        if len(x) % self.m:
            raise ContractError(
                f"pac: packs of m = {self.m} samples can't be made of a batch of {len(x)}; choose shots and query, and fakes of the gan, "
                f"that are multiples of {self.m}, or another m"
            )
        return self.network(*(rows.reshape(len(rows) // self.m, self.m * rows.shape[1], *rows.shape[2:]) for rows in (x, *labels)))


class Pac:
    """Another network, whose discriminator judges m samples at once, as one of m times the channels or features; m = 1 changes nothing.

    Packs are of rows that follow each other in a batch, so an adaptation step on a whole support has the same packs as the last one;
    batches that are drawn anew have new packs. In a labelled task a pack has the labels of all its samples.

    Args:
        network: the network, a component: ``{pac: {m: 2, network: {mlp: {width: 32}}}}``.
        m: samples in a pack.

    Source: Lin et al., 2018, https://arxiv.org/abs/1712.04086, section 3.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ANY_SAMPLES
    mixes_samples: ClassVar[bool] = True

    def __init__(self, *, network: Network, m: Positive = 2) -> None:
        self.network, self.m = network, m

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        if role != "discriminator" or self.m == 1:
            return built("pac", self.network, role, spec)
        packed = replace(spec, shape=(self.m * spec.shape[0], *spec.shape[1:]), classes=self.m * spec.classes)
        return Packed(built("pac", self.network, role, packed), self.m)
