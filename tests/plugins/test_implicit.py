"""iMAML for games against closed forms and against differentiation through many steps."""

import pytest
import torch
from torch import nn

from bench.contracts import Parts
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes, small_networks
from bench.trees import leaves, tree_map
from bench_builtin.games import Gan
from bench_builtin.gan_losses import Wasserstein
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Imaml

TASKS, SIZE = 3, 3


def settled(**settings):
    """Enough plain steps to stand still, and a solver that is exact."""
    return Imaml(**{"strength": 1.5, "inner_lr": 0.1, "inner_optimiser": Sgd(), "steps": 200, "iterations": 2 * SIZE, **settings})


def task_draws(tasks=TASKS):
    return Draws(torch.arange(tasks) * 7919, torch.float64)


class Point(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        self.t = nn.Parameter(torch.randn(SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


class LinearField:
    """Players g and d with dL_p/dphi_p = (J phi)_p - c_p, J (2 SIZE, 2 SIZE) without any symmetry: rotation, and curvature to settle."""

    players, schedule = ("generator", "discriminator"), (("generator", "discriminator"),)

    def __init__(self):
        self.modules = {"generator": Point(1), "discriminator": Point(2)}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        g, d, c, J = weights["generator"]["t"], weights["discriminator"]["t"], batch["c"], batch["J"]
        own = {"generator": (g, slice(0, SIZE), d), "discriminator": (d, slice(SIZE, None), g)}
        values = {}
        for player in players:
            mine, rows, theirs = own[player]
            other = slice(SIZE, None) if player == "generator" else slice(0, SIZE)
            values[player] = 0.5 * mine @ J[rows, rows] @ mine + mine @ J[rows, other] @ theirs - mine @ c[rows]
        return values, state


def linear_episodes():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def part():
        J = draw(TASKS, 2 * SIZE, 2 * SIZE)
        for own in (slice(0, SIZE), slice(SIZE, None)):  # a player's own block is a Hessian: symmetric, here positive too
            J[:, own, own] = 0.3 * J[:, own, own] @ J[:, own, own].mT + 0.5 * torch.eye(SIZE)
        return {"J": J, "c": draw(TASKS, 2 * SIZE)}

    return {"support": part(), "query": part()}


class Quadratic:
    """L(t) = (t - c)^T A (t - c) / 2, one player."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        self.modules = {"model": Point()}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        offset = weights["model"]["t"] - batch["c"]
        return {"model": 0.5 * offset @ batch["A"] @ offset}, state


def test_a_quadratic_has_its_closed_form():
    """phi* = (A + lam I)^-1 (A c + lam theta) and dJ/dtheta = (I + A / lam)^-1 A' (phi* - c') with the query's A', c' (algorithms 2.11)."""
    generator = torch.Generator().manual_seed(4)

    def part():
        root = torch.randn(TASKS, SIZE, SIZE, generator=generator, dtype=torch.float64)
        return {"A": root @ root.mT / SIZE, "c": torch.randn(TASKS, SIZE, generator=generator, dtype=torch.float64)}

    episodes, game, lam = {"support": part(), "query": part()}, Quadratic(), 1.5
    learner = settled(strength=lam)
    engine, meta = Engine(game, learner), learner.init(torch.Generator(), game)
    found = learner.implicit_gradient(engine, meta, episodes, task_draws())["model"]["t"]
    end = engine.rollout(meta, episodes, task_draws(), steps=200, order=1).params["model"]["t"]
    eye, theta = torch.eye(SIZE, dtype=torch.float64), meta["initial"]["model"]["t"]
    for A, c, query_A, query_c, phi, gradient in zip(
        *(episodes[name][leaf] for name in ("support", "query") for leaf in ("A", "c")), end, found, strict=True
    ):
        settles = torch.linalg.solve(A + lam * eye, A @ c + lam * theta)
        assert torch.allclose(phi, settles, atol=1e-12)
        assert torch.allclose(gradient, torch.linalg.solve(eye + A / lam, query_A @ (settles - query_c)), atol=1e-12)


@pytest.mark.parametrize("solver", ["gmres", "bicgstab", "cgne"])
def test_a_two_player_game_equals_differentiation_through_its_steps(solver):
    """The trajectory is at rest long before its end, so the unrolled derivative is the equilibrium's."""
    game, episodes = LinearField(), linear_episodes()
    learner = settled(solver=solver, iterations=4 * SIZE)
    engine, meta = Engine(game, learner, remember=1000), learner.init(torch.Generator(), game)

    def unrolled(m, chunk, draws):
        end = engine.rollout(m, chunk, draws, steps=200, order=2)
        return engine.losses(m, end.params, chunk["query"], end.state, draws.at("query"))[0]

    want, _ = engine.meta_gradient(unrolled, meta, episodes, task_draws())
    found = tree_map(lambda leaf: leaf.mean(0), learner.implicit_gradient(engine, meta, episodes, task_draws()))
    assert largest_difference(found, want["initial"]) < 1e-10


def test_an_outer_step_descends_the_mean_over_tasks_in_any_chunks():
    game, episodes = LinearField(), linear_episodes()
    learner = settled(outer_optimiser=Sgd(), outer_lr=0.25)
    meta = learner.init(torch.Generator(), game)
    steps = [Engine(game, learner, task_chunk=size).outer_step(meta, episodes, Outer(learner), task_draws())[0] for size in (None, 2)]
    gradient = learner.implicit_gradient(Engine(game, learner), meta, episodes, task_draws())
    want = tree_map(lambda theta, leaf: theta - 0.25 * leaf.mean(0), meta["initial"], gradient)
    assert max(largest_difference(step["initial"], want) for step in steps) < 1e-12


@pytest.mark.parametrize("solver", ["gmres", "bicgstab", "cgne"])
def test_a_diverged_task_spoils_numbers_and_raises_nothing(solver):
    game, episodes = LinearField(), linear_episodes()
    episodes["support"]["c"][1] = float("nan")
    learner = settled(solver=solver, steps=3)
    engine = Engine(game, learner)
    found = learner.implicit_gradient(engine, learner.init(torch.Generator(), game), episodes, task_draws())
    finite = [bool(torch.isfinite(found["generator"]["t"][task]).all()) for task in range(TASKS)]
    assert finite == [True, False, True]


def test_a_constant_part_of_the_field_is_no_obstacle():
    """A Wasserstein critic's last bias has the gradient 0 whatever the parameters."""
    modules = small_networks()
    modules["generator"].latent = 2
    game = Gan(noise="fixed").bind(Parts(modules=modules, critic=Critic, loss=Wasserstein()))
    learner = settled(steps=3, solver="cgne", iterations=3)
    found = learner.implicit_gradient(Engine(game, learner), learner.init(torch.Generator(), game), small_episodes(), small_draws())
    assert all(torch.isfinite(leaf).all() for _, leaf in leaves(found))


@pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
def test_products_with_the_jacobian_are_those_of_finite_differences_and_adjoint_to_each_other(vectorise):
    """J v = (F(phi + h v) - F(phi - h v)) / 2 h, and u^T (J v) = (J^T u)^T v for each task."""
    game, learner = SmallGan(order="simultaneous"), settled()
    engine, episodes, draws = Engine(game, learner, vectorise=vectorise), small_episodes(), small_draws()
    meta = learner.init(torch.Generator(), game)
    params = engine.begin(meta, episodes["support"], draws).params
    generator = torch.Generator().manual_seed(6)
    u, v = (tree_map(lambda leaf: torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), params) for _ in range(2))
    where = (episodes["support"], {}, draws)

    def field(h):
        return engine.gradients(meta, tree_map(lambda leaf, way: leaf + h * way, params, v), *where, game.players, 1)[0]

    def inner(one, other):
        return sum((a * b).flatten(1).sum(1) for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True))

    pushed = engine.jvp(meta, params, *where, v)
    difference = tree_map(lambda above, below: (above - below) / 2e-5, field(1e-5), field(-1e-5))
    assert largest_difference(pushed, difference) < 1e-7
    assert torch.allclose(inner(u, pushed), inner(engine.vjp(meta, params, *where, u), v), rtol=1e-10)


class TestImaml(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Imaml(inner_lr=0.05, inner_optimiser=Sgd(), steps=3, iterations=4)

    def test_an_outer_step_is_charged_for_every_derivative_it_takes(self, learner, game, meta):
        """By arithmetic, as products with J pass no ``update``: 3 steps of 2 players, their 2 query gradients, and for either player 4
        products with J^T, each a field of 2 gradients and their 2 pull-backs."""
        engine = Engine(game, learner)
        engine.outer_step(meta, small_episodes(), Outer(learner), small_draws())
        assert engine.gradient_evaluations == TASKS * (3 * 2 + 2 + 2 * 4 * (2 + 2))
