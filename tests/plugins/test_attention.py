"""Self-attention: the identity as it starts, closed forms of its weights, symmetry, and derivatives up to the third."""

import pytest
import torch
from torch import nn

from bench.contracts import SampleSpec
from bench_builtin.networks import Attention, Dcgan
from bench_builtin.networks.attention import SelfAttention

GREY = SampleSpec("image", (1, 8, 8), -1.0, 1.0)


def block(channels=4, gamma=0.7):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SelfAttention(channels).double()
        nn.init.constant_(made.gamma, gamma)
        return made, torch.randn(2, channels, 2, 3).double()


@pytest.mark.parametrize("role", ["generator", "discriminator"])
@pytest.mark.parametrize("classes", [0, 2])
def test_as_it_starts_it_is_the_network_without_attention(role, classes):
    spec = SampleSpec("image", (1, 8, 8), -1.0, 1.0, classes=classes)
    attending, plain = (network(width=8, latent=3, norm="group").build(role, spec) for network in (Attention, Dcgan))
    inside = {name for name, layer in attending.named_modules() if isinstance(layer, SelfAttention)}
    assert len(inside) == 1
    shared = [weight for name, weight in attending.named_parameters() if not any(name.startswith(one) for one in inside)]
    for mine, theirs in zip(plain.parameters(), shared, strict=True):
        mine.data = theirs.data
    inputs = [torch.randn(4, 3) if role == "generator" else torch.randn(4, 1, 8, 8), *([torch.eye(2).repeat(2, 1)] if classes else [])]
    assert torch.equal(attending(*inputs), plain(*inputs))


@pytest.mark.parametrize("players", [(), ("generator",), ("discriminator",), ("generator", "discriminator")])
def test_the_players_that_are_named_attend(players):
    network = Attention(width=8, players=players)
    for role in ("generator", "discriminator"):
        layers = network.build(role, GREY).modules()
        assert sum(isinstance(layer, SelfAttention) for layer in layers) == (role in players)


def test_a_blocked_gate_opens_by_itself():
    """The gate's gradient is not 0 where it is, so attention is learned; keys, queries and values wait for it."""
    attention, x = block(gamma=0.0)
    assert torch.equal(attention(x), x)
    weights = dict(attention.named_parameters())
    gradients = dict(zip(weights, torch.autograd.grad(attention(x).square().sum(), list(weights.values())), strict=True))
    assert float(gradients.pop("gamma").abs()) > 1e-3
    assert all(not gradient.any() for gradient in gradients.values())


def test_without_queries_every_position_sees_the_mean():
    attention, x = block()
    nn.init.zeros_(attention.query.weight)
    mean = attention.value(x).mean((2, 3), keepdim=True)
    assert torch.allclose(attention(x), x + 0.7 * attention.output(mean), rtol=1e-12)


def test_weights_are_a_softmax_over_keys():
    """One position at a time, as the paper's eqs. 1 to 3 are written."""
    attention, x = block()
    W_f, W_g, W_h, W_v = (layer.weight[:, :, 0, 0] for layer in (attention.key, attention.query, attention.value, attention.output))
    flat = x[0].flatten(1)
    want = torch.empty_like(flat)
    for n in range(6):
        beta = torch.softmax(torch.stack([(W_f @ flat[:, m]) @ (W_g @ flat[:, n]) for m in range(6)]), 0)
        want[:, n] = flat[:, n] + 0.7 * W_v @ sum(beta[m] * (W_h @ flat[:, m]) for m in range(6))
    assert torch.allclose(attention(x)[0].flatten(1), want, rtol=1e-10)


def test_positions_have_no_order():
    attention, x = block()
    moved = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    shuffled = x.flatten(2)[:, :, moved].reshape(x.shape)
    assert torch.allclose(attention(shuffled).flatten(2), attention(x).flatten(2)[:, :, moved], rtol=1e-10)


def test_three_derivatives_are_right():
    """Along random directions of input and weights together, each against central differences of the one before."""
    attention, x = block()
    names, leaves = zip(*attention.named_parameters(), strict=True)
    start = [x, *(leaf.detach() for leaf in leaves)]
    generator = torch.Generator().manual_seed(2)
    directions = [[torch.randn(leaf.shape, generator=generator).double() for leaf in start] for _ in range(3)]

    def derivative(point, order):
        """Of a scalar of the output along the first ``order`` directions."""
        point = [leaf.requires_grad_() for leaf in point]
        value = torch.func.functional_call(attention, dict(zip(names, point[1:], strict=True)), (point[0],)).sin().sum()
        for direction in directions[:order]:
            gradients = torch.autograd.grad(value, point, create_graph=True)
            value = sum((gradient * along).sum() for gradient, along in zip(gradients, direction, strict=True))
        return float(value.detach())

    def shifted(order, h):
        return derivative([leaf.detach() + h * along for leaf, along in zip(start, directions[order], strict=True)], order)

    for order in (0, 1, 2):
        h = 1e-3
        slope = (8 * (shifted(order, h) - shifted(order, -h)) - (shifted(order, 2 * h) - shifted(order, -2 * h))) / (12 * h)
        assert derivative([leaf.detach().clone() for leaf in start], order + 1) == pytest.approx(slope, rel=1e-6)
