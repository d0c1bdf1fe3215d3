"""The VAE game: closed forms, the linear VAE's optimum, and every meta-learner on it."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from bench.contracts import ContractError, Parts, SampleSpec, leaves
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import SmallGan, identical, largest_difference, meta_gradient_error, small_draws, small_episodes
from bench_builtin.games import Vae
from bench_builtin.games.vae import MARGIN, kl_to_prior
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import META_LEARNERS, Finetune, Hypernetwork, Maml, Reptile

POINTS = SampleSpec("points", (2,))
PLAYING = [name for name, make in META_LEARNERS.items() if getattr(make, "plays", True)]


class LinearVae(nn.Module):
    """q(z | x) = N(V x + a, diag(exp(s))), reconstruction W z + m."""

    def __init__(self, features=2, latent=1):
        super().__init__()
        self.latent = latent
        self.log_variance = nn.Parameter(torch.zeros(latent))
        self.encode, self.decode = nn.Linear(features, latent), nn.Linear(latent, features)

    def forward(self, x, noise=None):
        if noise is None:
            return self.decode(x)
        mean = self.encode(x)
        log_variance = self.log_variance.expand_as(mean)
        return self.decode(mean + (0.5 * log_variance).exp() * noise), mean, log_variance


def module(features=2, latent=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LinearVae(features, latent).double()


def bound(rules=None, *, network=None, spec=POINTS):
    return (rules or Vae()).bind(Parts({"vae": network or module()}, Critic, spec=spec))


def weights_of(game):
    return {player: dict(network.named_parameters()) for player, network in game.modules.items()}


class SigmaPoints:
    """Noise whose mean and covariance over a batch are those of N(0, I): averages of quadratics are exact."""

    def __init__(self, copies):
        self.copies = copies

    def normal(self, name, shape):
        batch, latent = shape
        axes = math.sqrt(latent) * torch.eye(latent, dtype=torch.float64)
        return torch.cat([axes, -axes]).repeat_interleave(batch // self.copies, 0)


def expected_loss(game, weights, x):
    """The loss of a linear VAE in expectation over its noise: 2L copies of the batch, with a sigma point each."""
    copies = 2 * game.modules["vae"].latent
    return game.losses(weights, {"x": x.repeat(copies, 1)}, ("vae",), {}, SigmaPoints(copies))[0]["vae"]


# ------------------------------------------------------------------ closed forms
def test_the_divergence_is_that_of_gaussians():
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.float64)
    trusted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(kl_to_prior(mean, log_variance), trusted, rtol=1e-12)
    assert (kl_to_prior(torch.zeros(2, 3), torch.zeros(2, 3)) == 0).all()


def test_the_loss_is_reconstruction_plus_beta_divergences_in_nats_per_sample():
    x, draws = small_episodes()["support"]["x"][0], small_draws().of(torch.tensor(3))
    values = {}
    for beta in (0.0, 1.0, 4.0):
        game = bound(Vae(beta=beta, scale=0.7))
        values[beta] = game.losses(weights_of(game), {"x": x}, ("vae",), {}, draws)[0]["vae"].item()
    reconstruction, mean, log_variance = game.modules["vae"](x, draws.normal("noise", (len(x), 1)))
    assert values[0.0] == pytest.approx(-Normal(reconstruction, 0.7).log_prob(x).sum(1).mean().item(), rel=1e-12)
    divergence = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1).mean().item()
    assert values[1.0] - values[0.0] == pytest.approx(divergence, rel=1e-9)
    assert values[4.0] - values[0.0] == pytest.approx(4 * divergence, rel=1e-9)


class Constant(nn.Module):
    """Reconstructs one value, and encodes to the prior."""

    latent = 1

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, x, noise=None):
        return self.value.expand_as(x), torch.zeros_like(x[:, :1]), torch.zeros_like(x[:, :1])


def test_a_bernoulli_likelihood_maps_the_range_to_probabilities():
    """Black and white in [-1, 1] at a constant reconstruction of 0.5: p = 3/4."""
    spec = SampleSpec("image", (1, 2, 2), -1.0, 1.0)
    x = torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64).reshape(1, 1, 2, 2)

    def loss(value):
        game = bound(Vae(likelihood="bernoulli"), network=Constant(value), spec=spec)
        weights = weights_of(game)
        loss = game.losses(weights, {"x": x}, ("vae",), {}, small_draws().of(torch.tensor(0)))[0]["vae"]
        return loss.item(), torch.autograd.grad(loss, weights["vae"]["value"])[0].item()

    assert loss(0.5)[0] == pytest.approx(-3 * math.log(0.75) - math.log(0.25), rel=1e-5)
    value, slope = loss(1.0)  # a pixel is certain and wrong: finite, and with a way back
    assert value == pytest.approx(-math.log(MARGIN), rel=1e-5)
    assert slope > 1e5


@pytest.mark.parametrize("spec", [POINTS, None])
def test_a_bernoulli_likelihood_needs_a_range(spec):
    with pytest.raises(ContractError, match="samples with a range, and these have none; use likelihood: gaussian"):
        bound(Vae(likelihood="bernoulli"), spec=spec)


def test_samples_are_decoded_prior_draws():
    game, draws = bound(), small_draws().of(torch.tensor(5))
    samples = game.sample(weights_of(game), {}, 7, draws)
    assert torch.equal(samples, game.modules["vae"].decode(draws.normal("z", (7, 1))))


# ------------------------------------------------------------------ probabilistic PCA
def ppca(x_NF, latent, variance):
    """A linear VAE at the maximum likelihood of PPCA with noise ``variance`` and the exact posterior, and the mean log likelihood.

    W = U (Lambda - s^2)^(1/2), q(z | x) = N(M^-1 W^T (x - m), s^2 M^-1) with M = W^T W + s^2 I, which is diagonal here
    (Tipping and Bishop, 1999, eqs. 6 and 15, with rotation I).
    """
    mean = x_NF.mean(0)
    covariance = (x_NF - mean).T @ (x_NF - mean) / len(x_NF)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0)[:latent], vectors.flip(1)[:, :latent]
    W = vectors * (values - variance).sqrt()
    posterior = 1 / ((W.T @ W).diagonal() + variance)
    network = LinearVae(x_NF.shape[1], latent).double()
    with torch.no_grad():
        network.decode.weight.copy_(W)
        network.decode.bias.copy_(mean)
        network.encode.weight.copy_(posterior[:, None] * W.T)
        network.encode.bias.copy_(-posterior * (W.T @ mean))
        network.log_variance.copy_((variance * posterior).log())
    model = torch.distributions.MultivariateNormal(mean, W @ W.T + variance * torch.eye(len(mean), dtype=torch.float64))
    return network, model.log_prob(x_NF).mean().item()


@pytest.mark.parametrize("variance", [0.05, 0.3])
def test_the_linear_vae_at_the_parameters_of_ppca_has_its_likelihood_and_no_gradient(variance):
    """There the bound is tight, and every derivative of it vanishes (Lucas et al., 2019, https://arxiv.org/abs/1911.02469, section 4)."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(40, 4)) @ np.diag([2.0, 1.2, 0.5, 0.3]) @ rng.normal(size=(4, 4)) + 1.0)
    network, likelihood = ppca(x, 2, variance)
    game = bound(Vae(scale=math.sqrt(variance)), network=network, spec=SampleSpec("points", (4,)))
    weights = weights_of(game)
    loss = expected_loss(game, weights, x)
    assert loss.item() == pytest.approx(-likelihood, rel=1e-10)
    gradients = torch.autograd.grad(loss, list(weights["vae"].values()))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-8
    moved = {"vae": {name: leaf + 0.05 for name, leaf in weights["vae"].items()}}
    assert expected_loss(game, moved, x).item() > loss.item()


# ------------------------------------------------------------------ learners
@pytest.mark.parametrize("name", PLAYING)
def test_every_meta_learner_trains_it_or_says_why_not(name):
    game, learner = bound(), META_LEARNERS[name]()
    engine, outer = Engine(game, learner, adaptation_steps=2), Outer(learner)
    if name == "dawson":
        with pytest.raises(ContractError, match="this game has vae; use maml"):
            engine.init(torch.Generator().manual_seed(0))
        return
    meta = before = engine.init(torch.Generator().manual_seed(0))
    for step in range(2):
        outer.step, outer.progress = step, step / 2
        meta, _ = engine.outer_step(meta, small_episodes(), outer, small_draws())
    assert (not identical(before, meta)) == learner.trains
    assert all(leaf.isfinite().all() for _, leaf in leaves(meta))
    end = engine.rollout(meta, small_episodes(), small_draws(), steps=2, order=1)
    assert engine.sample(meta, end, 5, small_draws(), small_episodes()["query"]).shape == (3, 5, 2)


@pytest.mark.parametrize(
    "learner",
    [
        Maml(order=2, inner_lr=0.02, inner_optimiser=Sgd()),
        Finetune(inner_lr=0.02),
        Hypernetwork(order=2, inner_lr=0.02, inner_optimiser=Sgd()),
        Hypernetwork(training="two-stage", inner_lr=0.02, inner_optimiser=Sgd(), base_steps=3),
    ],
    ids=["maml", "finetune", "one-shot", "two-stage"],
)
def test_meta_gradients_equal_central_differences(learner):
    assert meta_gradient_error(learner, bound(Vae(scale=0.8))) < 1e-6


def test_stacked_and_single_tasks_adapt_alike():
    game, learner = bound(), Reptile(inner_lr=0.01)
    meta = learner.init(torch.Generator(), game)
    ends = [
        Engine(game, learner, vectorise=vectorise).rollout(meta, small_episodes(), small_draws(), steps=3, order=1).params
        for vectorise in (True, False)
    ]
    assert largest_difference(*ends) < 1e-12


def test_a_hypernetwork_reads_samples_and_not_reconstructions():
    """One sample has two numbers, although the network reads two and says two."""
    encoders = Hypernetwork().init(torch.Generator(), bound())["encoder"]
    assert encoders["vae"]["hidden"]["weight"].shape[0] == 2
    assert Hypernetwork(sample_size=2).init(torch.Generator(), SmallGan())["encoder"]["generator"]["hidden"]["weight"].shape[0] == 2
