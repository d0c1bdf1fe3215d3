"""Every role from two constructions: a network that reads samples, and one that makes them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from bench.contracts import ContractError, Kind, SampleSpec
from bench_builtin.networks.autoencoder import Autoencoder
from bench_builtin.networks.conditional import Conditioning, discriminator
from bench_builtin.networks.generator import Generator

ROLES = ("generator", "discriminator", "autoencoder", "classifier")


class Family(ABC):
    """Networks whose discriminator, encoder, classifier and regression model read samples in one way, and whose generator is the decoder.

    Attributes:
        latent: latent numbers of a generator, or of an autoencoder's code.
        conditioning: how a discriminator takes labels.
    """

    kinds: ClassVar[tuple[Kind, ...]]
    latent: int
    conditioning: Conditioning

    @abstractmethod
    def reader(self, shape: tuple[int, ...], outputs: int) -> nn.Module:
        """Samples (B, *shape) -> (B, outputs)."""

    @abstractmethod
    def maker(self, inputs: int, spec: SampleSpec) -> nn.Module:
        """(B, inputs) -> the numbers of B samples, in the range of ``spec``, in any shape."""

    def read_as(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which labels are put beside a sample."""
        return shape

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        name = type(self).__name__.lower()
        if spec.kind not in self.kinds:
            raise ContractError(f"{name} takes samples of kind {', '.join(self.kinds)}, got {spec.kind}; choose another network")
        if role == "generator":
            return Generator(self.maker(self.latent + spec.classes, spec), self.latent, spec.shape, spec.classes)
        if role == "discriminator":
            return discriminator(self.reader, self.read_as(spec.shape), spec.classes, self.conditioning)
        if role == "autoencoder":
            encoder = self.reader(spec.shape, 2 * self.latent)
            return Autoencoder(encoder, Generator(self.maker(self.latent, spec), self.latent, spec.shape))
        if role == "classifier":
            return self.reader(spec.shape, classes_of(name, spec))
        if role == "model" and spec.kind == "regression":
            return self.reader(spec.shape, math.prod(spec.targets))
        roles = ("model",) if spec.kind == "regression" else ROLES
        raise ContractError(f"{name} has no role {role!r} for samples of kind {spec.kind}; it builds {', '.join(roles)}")


def classes_of(network: str, spec: SampleSpec) -> int:
    """Number of classes that a classifier tells apart.

    Raises:
        ContractError: samples have no labels.
    """
    if not spec.classes:
        raise ContractError(f"{network}: a classifier needs a labelled task distribution, and these samples have no classes; choose one")
    return spec.classes
