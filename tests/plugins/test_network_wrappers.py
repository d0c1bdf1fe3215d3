"""Wrappers of networks: packs of samples, and a discriminator that sees how diverse its batch is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.contracts import ContractError, SampleSpec
from bench.registry.registry import discover
from bench_builtin.networks import Conv1d, Dcgan, MinibatchStd, Mlp, Pac
from bench_builtin.networks.minibatch_std import BatchSpread, spread
from bench_builtin.networks.pac import Packed

POINTS = SampleSpec("points", (2,))
SIGNAL = SampleSpec("signal", (2, 12))
COLOUR = SampleSpec("image", (3, 8, 8), -1.0, 1.0)
NETWORKS = [(Mlp(width=6), POINTS), (Mlp(width=6), COLOUR), (Dcgan(width=4), COLOUR), (Conv1d(width=4), SIGNAL)]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def built(network, role, spec):
    """The module, always from the same random numbers."""
    torch.manual_seed(1)
    return network.build(role, spec)


# ------------------------------------------------------------------ pac
@pytest.mark.parametrize(("network", "spec"), NETWORKS)
@pytest.mark.parametrize("classes", [0, 3])
def test_packs_of_one_are_the_plain_network(network, spec, classes):
    spec = replace(spec, classes=classes)
    for role in ("generator", "discriminator", "autoencoder"):
        mine, plain = built(Pac(network=network, m=1), role, spec), built(network, role, spec)
        assert type(mine) is type(plain)
        both = [dict(module.named_parameters()) for module in (mine, plain)]
        assert both[0].keys() == both[1].keys()
        assert all(torch.equal(weight, both[1][name]) for name, weight in both[0].items())


@pytest.mark.parametrize(("network", "spec"), NETWORKS)
@pytest.mark.parametrize("m", [2, 3])
def test_a_pack_is_its_samples_beside_each_other(network, spec, m):
    """The logits of the network for m times the channels, at samples that are put together by hand."""
    packing = built(Pac(network=network, m=m), "discriminator", spec)
    wide = built(network, "discriminator", replace(spec, shape=(m * spec.shape[0], *spec.shape[1:])))
    x = torch.randn(2 * m, *spec.shape)
    packs = torch.stack([torch.cat(list(x[i * m : (i + 1) * m]), 0) for i in range(2)])
    assert packing(x).shape == (2, 1)
    assert torch.equal(packing(x), wide(packs))


@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
def test_a_pack_has_the_labels_of_its_samples(conditioning):
    spec, network = replace(POINTS, classes=3), Mlp(width=6, conditioning=conditioning)
    packing = built(Pac(network=network, m=2), "discriminator", spec)
    wide = built(network, "discriminator", replace(spec, shape=(4,), classes=6))
    x, y = torch.randn(4, 2), torch.eye(3)[[0, 2, 1, 1]]
    assert torch.equal(packing(x, y), wide(x.reshape(2, 4), y.reshape(2, 6)))
    assert not torch.equal(packing(x, y), packing(x, y.flip(0)))


def test_a_generator_is_not_packed():
    assert built(Pac(network=Mlp()), "generator", POINTS)(torch.randn(3, 8)).shape == (3, 2)


def test_a_batch_that_can_not_be_packed_is_refused():
    with pytest.raises(ContractError, match=r"packs of m = 2 samples can't be made of a batch of 5; choose shots and query, and fakes"):
        Pac(network=Mlp(), m=2).build("discriminator", POINTS)(torch.randn(5, 2))


def test_a_pack_sees_what_single_samples_hide():
    """Two modes against one: every marginal statistic of single samples aside, a pack of equals is told from a pack of different ones."""
    equal, mixed = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]), torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    difference = nn.Linear(2, 1, bias=False)
    difference.weight.data = torch.tensor([[1.0, -1.0]])
    packed = Packed(difference, 2)
    assert packed(equal).abs().flatten().tolist() == [0.0, 0.0]
    assert packed(mixed).abs().flatten().tolist() == [2.0, 2.0]


# ------------------------------------------------------------------ minibatch-std
def test_spread_is_the_mean_deviation_over_the_batch():
    """Population deviations of two features, 2 and 6, by hand; and numpy's of images."""
    assert float(spread(torch.tensor([[1.0, 0.0], [5.0, 12.0]]))) == pytest.approx(4.0)
    x = torch.randn(5, 3, 4, 4).double()
    assert float(spread(x)) == pytest.approx(np.std(x.numpy(), axis=0).mean(), rel=1e-6)


def test_equal_samples_have_no_spread_but_a_derivative():
    x = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    value = spread(x)
    assert float(value.detach()) == pytest.approx(0.0, abs=1.01e-4)
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(torch.autograd.grad(gradient.square().sum(), x)[0]).all()


@pytest.mark.parametrize(("network", "spec"), NETWORKS)
@pytest.mark.parametrize("classes", [0, 3])
def test_the_spread_is_one_more_channel_of_every_sample(network, spec, classes):
    spec = replace(spec, classes=classes)
    wrapped = built(MinibatchStd(network=network), "discriminator", spec)
    wider = built(network, "discriminator", replace(spec, shape=(spec.shape[0] + 1, *spec.shape[1:])))
    x, given = torch.randn(4, *spec.shape), [torch.eye(3)[[0, 1, 2, 0]]] if classes else []
    channel = spread(x) * torch.ones(4, 1, *spec.shape[1:])
    assert torch.equal(wrapped(x, *given), wider(torch.cat([x, channel], 1), *given))


def test_what_a_collapsed_batch_looks_like_is_seen_in_each_sample():
    """A discriminator that reads the last feature alone tells a diverse batch from copies of one of its samples."""
    seen = BatchSpread(nn.Identity())
    x = torch.randn(6, 2)
    assert (seen(x)[:, -1] > 0.3).all()
    assert (seen(x[:1].expand(6, 2))[:, -1] < 1.01e-4).all()


def test_other_roles_are_the_networks_own():
    for role in ("generator", "autoencoder"):
        mine, plain = built(MinibatchStd(network=Mlp()), role, POINTS), built(Mlp(), role, POINTS)
        assert [name for name, _ in mine.named_parameters()] == [name for name, _ in plain.named_parameters()]


# ------------------------------------------------------------------ in a suite
@pytest.fixture(scope="module")
def registry():
    return discover("builtin")


def test_a_suite_names_the_network_inside_a_network(registry):
    network = registry.create("networks", "pac", {"m": 3, "network": {"minibatch-std": {"network": {"mlp": {"width": 5}}}}})
    judge = network.build("discriminator", POINTS)
    assert next(judge.parameters()).shape == (5, 3 * 2 + 1)
    assert judge(torch.randn(6, 2)).shape == (2, 1)


def test_a_mistake_in_the_inner_network_has_its_place(registry):
    (problem,) = registry.validate_parameters("networks", "pac", {"network": {"mlp": {"widt": 5}}})
    assert problem.place == ("network", "mlp", "widt")
    assert "Did you mean 'width'?" in problem.message
    (missing,) = registry.validate_parameters("networks", "minibatch-std", {})
    assert "needs the hyperparameter 'network': one of the networks" in missing.message


def test_planning_knows_that_wrappers_mix_samples(registry):
    mixing = {name for name in registry.names("networks") if registry.component("networks", name).attributes.get("mixes_samples")}
    assert mixing == {"pac", "minibatch-std"}
