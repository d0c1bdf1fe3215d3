"""WarpGrad: what a warp does to a step, and the derivative that trains it."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes, small_networks
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Maml, Reptile, WarpGrad

RATE = 0.1


def shaken(meta, size=0.2, seed=0):
    """Warps away from the identity."""
    generator = torch.Generator().manual_seed(seed)
    warp = tree_map(lambda leaf: leaf + size * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta["warp"])
    return {**meta, "warp": warp}


def begun(learner, game):
    return learner.init(torch.Generator().manual_seed(0), game)


def test_identity_warps_adapt_as_no_warps():
    game, draws = SmallGan(), small_draws()
    warped, plain = WarpGrad(inner_lr=RATE, inner_optimiser=Sgd()), Maml(inner_lr=RATE, inner_optimiser=Sgd())
    ends = [
        Engine(game, learner).rollout(begun(learner, game), small_episodes(), draws, steps=5, order=1).params for learner in (warped, plain)
    ]
    assert largest_difference(*ends) == 0


def test_the_initialisation_follows_reptile():
    """theta - phi_K of the warped trajectory, exactly; with identity warps this is Reptile's."""
    game, episodes, draws = SmallGan(), small_episodes(), small_draws()
    settings = {"inner_lr": RATE, "inner_optimiser": Adam(eps=1e-2), "steps": 3, "outer_optimiser": Sgd(), "outer_lr": 0.5}
    warped, reptile = WarpGrad(**settings), Reptile(**settings, uses="support", outer_schedule="constant")
    after = [Engine(game, each).outer_step(begun(each, game), episodes, Outer(each), draws)[0] for each in (warped, reptile)]
    assert largest_difference(after[0]["initial"], after[1]["initial"]) < 1e-12
    meta = shaken(begun(warped, game))
    engine = Engine(game, warped)
    end = engine.rollout(meta, episodes, draws, steps=3, order=1).params
    gradient, _ = engine.meta_gradient(lambda m, e, d: warped.objective(engine, m, e, d), meta, episodes, draws)
    want = tree_map(lambda theta, phi: (theta - phi).mean(0), meta["initial"], end)
    assert largest_difference(gradient["initial"], want) < 1e-12


class Fit:
    """Least squares of one linear layer, one player: its gradient is (W x + b - y) x^T by hand."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.modules = {"model": nn.Sequential(nn.Linear(2, 3)).double()}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        predicted = functional_call(self.modules["model"], dict(weights["model"]), (batch["x"],))
        return {"model": 0.5 * (predicted - 1).square().sum()}, state


def test_a_step_is_preconditioned_by_omega_omega_transposed():
    """What the layer runs with moves by -lr P g, P = Omega Omega^T, and P is positive semi-definite."""
    game, learner, episodes, draws = Fit(), WarpGrad(inner_lr=RATE, inner_optimiser=Sgd()), small_episodes(), small_draws()
    engine, meta = Engine(game, learner), shaken(begun(learner, game), size=1.0)
    start = engine.begin(meta, episodes["support"], draws).params
    end = engine.rollout(meta, episodes, draws, steps=1, order=1).params
    before, after = (engine.map("weights", lambda params: learner.weights(meta, params), params)["model"] for params in (start, end))
    omega = meta["warp"]["model"]["forward"]["0"]
    P = omega @ omega.T
    assert torch.linalg.eigvalsh(P).min() >= 0
    for x, W, b, new_W, new_b in zip(
        episodes["support"]["x"], before["0.weight"], before["0.bias"], after["0.weight"], after["0.bias"], strict=True
    ):
        misfit = x @ W.T + b - 1
        assert torch.allclose(new_W, W - RATE * P @ misfit.T @ x, atol=1e-12)
        assert torch.allclose(new_b, b - RATE * P @ misfit.sum(0), atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Linear(3, 4), (2, 3)),
        (nn.Conv1d(4, 6, 3), (2, 4, 5)),
        (nn.Conv2d(3, 4, 3, stride=2), (2, 3, 7, 7)),
        (nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1), (2, 3, 4, 4)),
        (nn.ConvTranspose2d(3, 3, 3), (2, 3, 4, 4)),
    ],
    ids=["linear", "conv in time", "conv", "transposed conv", "square transposed conv"],
)
def test_a_warped_layer_is_the_layer_followed_by_omega(layer, inputs):
    layer = layer.double()
    game = type("Single", (Fit,), {"__init__": lambda self: setattr(self, "modules", {"model": nn.Sequential(layer)})})()
    learner = WarpGrad()
    meta = shaken(begun(learner, game))
    ((_, omega),) = leaves(meta["warp"])
    x = torch.randn(inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    warped = functional_call(game.modules["model"], learner.weights(meta, meta["initial"])["model"], (x,))
    assert torch.allclose(warped, torch.einsum("oc,bc...->bo...", omega, layer(x)), atol=1e-12)


def test_wide_layers_norms_and_grouped_convolutions_are_not_warped():
    layers = nn.Sequential(
        nn.Linear(2, 8), nn.GroupNorm(2, 8), nn.Linear(8, 3), nn.Conv1d(4, 4, 3, groups=2), nn.ConvTranspose1d(4, 4, 3, groups=2)
    ).double()
    game = type("Single", (Fit,), {"__init__": lambda self: setattr(self, "modules", {"model": layers})})()
    assert WarpGrad(largest=4).init(torch.Generator(), game)["warp"]["model"].keys() == {"forward"}
    assert WarpGrad(largest=4).init(torch.Generator(), game)["warp"]["model"]["forward"].keys() == {"2"}
    narrow = WarpGrad(largest=1)
    meta = narrow.init(torch.Generator(), game)
    assert meta["warp"] == {}
    assert narrow.weights(meta, meta["initial"])["model"].keys() == meta["initial"]["model"].keys()


class TestWarpGrad(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return WarpGrad(inner_lr=RATE, inner_optimiser=Sgd(), steps=3)

    @pytest.mark.parametrize("optimiser", [Sgd(), Adam(eps=1e-2)], ids=["sgd", "adam"])
    @pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
    def test_meta_gradient_equals_finite_differences(self, game, optimiser, vectorise):
        """Of the warps, with the points of adaptation held where they are: each is worth what one step from it is on the query."""
        learner = WarpGrad(inner_lr=RATE, inner_optimiser=optimiser, steps=3)
        engine, episodes, draws = Engine(game, learner, vectorise=vectorise), small_episodes(), small_draws()
        meta = shaken(begun(learner, game))
        points = [engine.begin(meta, episodes["support"], draws)]
        for _ in range(2):
            points.append(engine.rollout(meta, episodes, draws, steps=1, order=1, start=points[-1]))
        generator = torch.Generator().manual_seed(8)
        way = tree_map(lambda leaf: torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta["warp"])
        gradient, values = engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, episodes, draws)

        def worth(player, h):
            mine = {**way, **{other: tree_map(torch.zeros_like, own) for other, own in way.items() if other != player}}
            moved = {**meta, "warp": tree_map(lambda leaf, step: leaf + h * step, meta["warp"], mine)}
            ends = (engine.rollout(moved, episodes, draws, steps=1, order=1, start=point) for point in points)
            losses = [engine.losses(moved, end.params, episodes["query"], end.state, draws.at("query"))[0][player] for end in ends]
            return float(torch.stack(losses).mean())

        for player in game.players:
            slope = sum(float((g * w).sum()) for (_, g), (_, w) in zip(leaves(gradient["warp"][player]), leaves(way[player]), strict=True))
            h = 1e-4
            difference = (8 * (worth(player, h) - worth(player, -h)) - (worth(player, 2 * h) - worth(player, -2 * h))) / (12 * h)
            assert slope == pytest.approx(difference, rel=1e-6)
            assert float(values[player].mean()) == pytest.approx(worth(player, 0.0), rel=1e-12)


class TestWarpGradWithNorms(MetaLearnerContract):
    """Layers that have no warp beside layers that have one."""

    @pytest.fixture
    def game(self):
        return SmallGan(modules=small_networks(norm=lambda: nn.GroupNorm(2, 8)))

    @pytest.fixture
    def learner(self):
        return WarpGrad(inner_lr=RATE, inner_optimiser=Sgd(), steps=2, inner_state="carried")

    @pytest.mark.skip(reason="the points of adaptation are constants of the objective; see TestWarpGrad")
    def test_meta_gradient_equals_finite_differences(self):
        pass
