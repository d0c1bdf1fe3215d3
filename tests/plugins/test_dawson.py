"""DAWSON against MAML where both critics are one, and the ownership of its two objectives."""

import pytest
import torch

from bench.contracts import ContractError, Parts
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes, small_networks
from bench.trees import leaves
from bench_builtin.games import Gan, Regression
from bench_builtin.gan_losses import NonSaturating
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Dawson, Maml


def fixed_noise_gan(n_critic=1):
    modules = small_networks()
    modules["generator"].latent = 2
    return Gan(noise="fixed", n_critic=n_critic).bind(Parts(modules=modules, critic=Critic, loss=NonSaturating()))


def gradient_of(learner, game, episodes, only=None):
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)

    def objective(m, chunk, draws):
        values = learner.objective(engine, m, chunk, draws)
        return {player: value for player, value in values.items() if only in (None, player)}

    return engine.meta_gradient(objective, meta, episodes, small_draws())[0]["initial"]


@pytest.mark.parametrize("order", [1, 2])
def test_with_one_critic_for_both_the_generator_learns_as_by_maml(order):
    """Support = query under one noise: d_Q = d_S, and the generator's part is that of MAML with three critic moves and one of its own."""
    support = small_episodes()["support"]
    episodes = {"support": support, "query": support}
    rates = {"inner_lr": 0.1, "inner_optimiser": Sgd(), "order": order}
    found = gradient_of(Dawson(**rates), fixed_noise_gan(), episodes)
    want = gradient_of(Maml(steps=1, **rates), fixed_noise_gan(n_critic=3), episodes)
    assert largest_difference(found["generator"], want["generator"]) < 1e-12
    assert largest_difference(found["discriminator"], want["discriminator"]) > 1e-3  # J_D judges against g, MAML against g'


@pytest.mark.parametrize(("mover", "other"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_players_objective_leaves_the_opponents_initialisation_alone(mover, other):
    """In the authors' code either loss updates both networks (algorithms 2.12)."""
    gradient = gradient_of(Dawson(order=2, inner_lr=0.1, inner_optimiser=Sgd()), SmallGan(), small_episodes(), only=mover)
    assert not any(leaf.any() for _, leaf in leaves(gradient[other]))
    assert any(leaf.any() for _, leaf in leaves(gradient[mover]))


def test_the_critic_is_judged_against_the_generator_that_has_not_moved():
    """J_D = L_D^Q(d_S, g): with no critic step of any size it is the joint critic loss, whatever the generator's rate."""
    episodes = small_episodes()
    rates = ({"generator": rate, "discriminator": 0.0} for rate in (0.0, 0.5))
    still, moved = (gradient_of(Dawson(order=2, inner_lr=rate, inner_optimiser=Sgd()), SmallGan(), episodes) for rate in rates)
    assert largest_difference(still["discriminator"], moved["discriminator"]) == 0
    assert largest_difference(still["generator"], moved["generator"]) > 1e-3


def test_the_generators_first_step_is_a_first_step_for_its_optimiser():
    """Adam without momentum takes a first step of the inner rate in every coordinate; counted as its fourth it would be twice that."""
    game, rate = SmallGan(), 0.01
    learner = Dawson(inner_lr=rate, inner_optimiser=Adam(eps=1e-12))
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)
    ends = []

    def rollout(*args, **settings):
        ends.append(Engine.rollout(engine, *args, **settings))
        return ends[-1]

    engine.rollout = rollout
    learner.objective(engine, meta, small_episodes(), small_draws())
    for name, theta in meta["initial"]["generator"].items():
        assert torch.allclose((ends[-1].params["generator"][name] - theta).abs(), torch.tensor(rate, dtype=theta.dtype), rtol=1e-6)


def test_a_game_without_a_critic_is_refused():
    game = Regression().bind(Parts(modules={"model": torch.nn.Linear(1, 1)}, critic=Critic))
    with pytest.raises(ContractError, match="needs a generator and a discriminator, this game has model"):
        Dawson().init(torch.Generator(), game)


class TestDawson(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Dawson(inner_lr=0.05, inner_optimiser=Sgd())


class TestDawsonOfSecondOrder(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Dawson(order=2, inner_lr=0.05, inner_optimiser=Sgd(), generator_steps=2)
