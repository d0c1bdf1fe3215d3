"""Minibatch standard deviation: a discriminator that sees how diverse its batch is."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.contracts import Kind, Network, SampleSpec
from bench_builtin.networks.wrapped import ANY_SAMPLES, built


class BatchSpread(nn.Module):
    """(B, C, ...) -> a network of (B, C + 1, ...), whose last channel is :func:`spread` of the batch everywhere."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *labels: Tensor) -> Tensor:
        channel = spread(x).expand(len(x), 1, *x.shape[2:])
        return self.network(torch.cat([x, channel], 1), *labels)


def spread(x: Tensor) -> Tensor:
    """Mean over features of the standard deviation over the batch (B, ...), a scalar; 1e-4 where all samples are equal.

    The root is of the variance + 1e-8, as in the authors' code: it has derivatives where samples are equal.
    """
    return (x.var(0, correction=0) + 1e-8).sqrt().mean()


class MinibatchStd:
    """Another network, whose discriminator gets the standard deviation of the batch as one more constant channel or feature.

    It enters with the input, where any network can take it; the source appends it to late features, and measures it on them. Its
    groups of 4 samples are the whole batch here, few shots as they are. Real and generated samples are judged apart, each with their own.

    Args:
        network: the network, a component: ``{minibatch-std: {network: {dcgan: {width: 32}}}}``.

    Source: Karras et al., 2018, https://arxiv.org/abs/1710.10196, section 3.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ANY_SAMPLES
    mixes_samples: ClassVar[bool] = True

    def __init__(self, *, network: Network) -> None:
        self.network = network

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        if role != "discriminator":
            return built("minibatch-std", self.network, role, spec)
        wider = replace(spec, shape=(spec.shape[0] + 1, *spec.shape[1:]))
        return BatchSpread(built("minibatch-std", self.network, role, wider))
