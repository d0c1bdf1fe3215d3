"""What every family of networks owes its users. Suffixes: T tasks, B batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.contracts import Kind, SampleSpec
from bench.errors import ContractError
from bench.game.checks import check_module
from bench.testing.contract import Contract, global_state_untouched

SPECS: Mapping[Kind, SampleSpec] = {
    "points": SampleSpec("points", (2,)),
    "image": SampleSpec("image", (1, 16, 16), -1.0, 1.0),
    "signal": SampleSpec("signal", (1, 16), -1.0, 1.0),
    "regression": SampleSpec("regression", (3,), targets=(2,)),
}
"""Small samples of each kind."""

CLASSES, BATCH = 3, 4
PLAYED = {"regression": ("model",)}
"""Roles that samples of a kind are played in; of the other kinds, generator and discriminator at least."""


class NetworkContract(Contract):
    """What every family of networks owes its users. Give a fixture ``network``; :meth:`specs` may be overridden.

    Networks are built under one seed, in the roles that ``roles`` lists, or generator and discriminator (model for regression).
    """

    def specs(self, network: Any) -> tuple[SampleSpec, ...]:
        """The samples that the network is tried on: small ones of each of its kinds."""
        return tuple(SPECS[kind] for kind in network.kinds)

    def test_each_role_has_the_promised_shapes(self, network: Any) -> None:
        """A module whose outputs are finite and have one row per sample."""
        for spec in self.specs(network):
            for role, module in self._modules(network, spec):
                assert isinstance(module, nn.Module)
                made = module(*_inputs(role, module, spec))
                for output, shape in zip(made if isinstance(made, tuple) else (made,), _outputs(role, module, spec), strict=True):
                    assert torch.isfinite(output).all()
                    rows = len(output) if role == "discriminator" and getattr(network, "mixes_samples", False) else BATCH
                    assert output.numel() == rows * math.prod(shape), (
                        f"{role} of {spec.kind}: {tuple(output.shape)}, not ({rows}, *{shape})"
                    )
                    assert len(output) == rows

    def test_samples_stay_in_range(self, network: Any) -> None:
        """A generator keeps to the range of ``spec`` however large its latents are."""
        for spec in self.specs(network):
            for role, module in self._modules(network, spec):
                if role == "generator" and spec.low is not None and spec.high is not None:
                    drawn = module(100 * torch.ones_like(_inputs(role, module, spec)[0]))
                    assert spec.low <= drawn.min()
                    assert drawn.max() <= spec.high

    def test_the_seed_decides_the_weights(self, network: Any) -> None:
        """Equal seeds build equal networks, others build others; nothing else is drawn from or changed."""
        for spec in self.specs(network):
            for role in self._roles(network, spec):
                one, same, other = (_weights(self._build(network, role, spec, seed)) for seed in (0, 0, 1))
                assert all(torch.equal(one[name], same[name]) for name in one)
                assert not all(torch.equal(one[name], other[name]) for name in one)

    def test_nothing_leaks_between_tasks_or_passes(self, network: Any) -> None:
        """No running statistics, no active dropout, no buffer that a pass changes: the same inputs give the same outputs."""
        for spec in self.specs(network):
            for role, module in self._modules(network, spec):
                check_module(role, module)
                before = {name: buffer.clone() for name, buffer in module.named_buffers()}
                inputs = _inputs(role, module, spec)
                assert torch.equal(_first(module(*inputs)), _first(module(*inputs)))
                assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())

    def test_stacked_weights_and_each_alone_are_the_same(self, network: Any) -> None:
        """The engine runs all tasks of a chunk at once, each at weights of its own; one task gone wrong harms no other."""
        if not getattr(network, "vectorised", True):
            pytest.skip("this network says that it can't be vectorised")
        for spec in self.specs(network):
            for role, module in self._modules(network, spec):
                module.double()
                tasks = [{name: (1 + task / 10) * weight for name, weight in _weights(module).items()} for task in range(3)]
                tasks[0] = {name: torch.full_like(weight, torch.nan) for name, weight in tasks[0].items()}
                inputs = tuple(given.double() for given in _inputs(role, module, spec))

                def run(weights: Mapping[str, Tensor], module: nn.Module = module, inputs: tuple[Tensor, ...] = inputs) -> Tensor:
                    return _first(functional_call(module, dict(weights), inputs))

                stacked = torch.vmap(run)({name: torch.stack([task[name] for task in tasks]) for name in tasks[0]})
                for task in (1, 2):
                    assert torch.allclose(stacked[task], run(tasks[task]), rtol=1e-9, atol=1e-12)

    def test_a_sample_is_judged_alone_unless_the_network_mixes_samples(self, network: Any) -> None:
        """``mixes_samples`` says whether logits depend on the rest of the batch, which per-sample penalties can't have."""
        for spec in self.specs(network):
            for role, module in self._modules(network, spec):
                if role != "discriminator" or getattr(network, "mixes_samples", False):
                    continue
                module.double()
                samples = _samples(spec).double()
                assert torch.allclose(module(samples).flatten()[:2], module(samples[:2]).flatten(), rtol=1e-9, atol=1e-12)

    def test_labels_are_taken_or_refused(self, network: Any) -> None:
        """For labelled tasks, players take one-hot labels as their second argument; a network that can't raises ContractError."""
        for spec in self.specs(network):
            if spec.kind == "regression":
                continue
            labelled, labels = replace(spec, classes=CLASSES), torch.eye(CLASSES)[torch.arange(BATCH) % CLASSES]
            for role in ("generator", "discriminator"):
                try:
                    module = self._build(network, role, labelled)
                except ContractError:
                    continue
                made = module(*_inputs(role, module, spec), labels)
                assert made.shape == module(*_inputs(role, module, spec), labels.flip(0)).shape
                assert torch.isfinite(made).all()
                other = module(*_inputs(role, module, spec), labels.roll(1, 1))
                assert not torch.equal(made, other), f"the labels do not matter to the {role}"

    def _roles(self, network: Any, spec: SampleSpec) -> tuple[str, ...]:
        """Those that the network lists and that fit the samples; classifiers need labelled ones."""
        fitting = PLAYED.get(spec.kind, ("generator", "discriminator"))
        listed = getattr(network, "roles", fitting)
        return tuple(
            role for role in (*fitting, *(("autoencoder",) if spec.kind in ("image", "points", "signal") else ())) if role in listed
        )

    def _build(self, network: Any, role: str, spec: SampleSpec, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with global_state_untouched(torch_draws=True):
                module: nn.Module = network.build(role, spec)
        return module

    def _modules(self, network: Any, spec: SampleSpec) -> list[tuple[str, nn.Module]]:
        return [(role, self._build(network, role, spec)) for role in self._roles(network, spec)]


def _samples(spec: SampleSpec) -> Tensor:
    return torch.linspace(-1, 1, BATCH * math.prod(spec.shape)).sin().reshape(BATCH, *spec.shape)


def _inputs(role: str, module: nn.Module, spec: SampleSpec) -> tuple[Tensor, ...]:
    """What a role is called with, the same numbers each time."""
    samples = _samples(spec)
    if role not in ("generator", "autoencoder"):
        return (samples,)
    latent = module.latent
    assert isinstance(latent, int), f"a {role} needs the int attribute `latent`, got {latent!r}"
    z = torch.linspace(-1, 1, BATCH * latent).reshape(BATCH, latent)
    return (z,) if role == "generator" else (samples, z)


def _outputs(role: str, module: Any, spec: SampleSpec) -> tuple[tuple[int, ...], ...]:
    """Shapes of what a role returns, without the batch axis."""
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {"generator": (spec.shape,), "discriminator": ((),), "model": (spec.targets,)}
    return (spec.shape, (module.latent,), (module.latent,)) if role == "autoencoder" else shapes[role]


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in module.named_parameters()}


def _first(made: Any) -> Tensor:
    first: Tensor = made[0] if isinstance(made, tuple) else made
    return first
