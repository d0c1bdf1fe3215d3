"""Networks of which tasks share one part and adapt another."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import nn

from bench.contracts import ContractError, Kind, SampleSpec
from bench_builtin.networks.layers import Positive


class EncoderHead:
    """An encoder to a few linear units, and a head on them: what tasks may share, and what each may adapt (``model.head.*``).

    Hidden layers have ReLU; Glorot's uniform initialisation, zero biases. The defaults are the networks of MR-MAML's sinusoids
    (Yin et al., 2020, https://arxiv.org/abs/1912.03820); ``encoder: []`` leaves the plain network that its MAML adapts.

    Args:
        encoder: widths of the encoder's layers, the last one linear.
        head: widths of the head's hidden layers.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("regression",)
    roles: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(self, *, encoder: tuple[Positive, ...] = (100, 5), head: tuple[Positive, ...] = (40, 40)) -> None:
        self.encoder, self.head = encoder, head

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        if role != "model":
            raise ContractError(f"encoder-head has no role {role!r}; it builds a model (use mlp)")
        features = math.prod(spec.shape)
        stages = {"encoder": (features, *self.encoder), "head": ((features, *self.encoder)[-1], *self.head, math.prod(spec.targets))}
        return nn.Sequential(OrderedDict((name, _perceptron(widths)) for name, widths in stages.items() if len(widths) > 1))


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
