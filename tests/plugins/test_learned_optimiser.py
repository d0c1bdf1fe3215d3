"""The learned optimiser against MAML, against PyTorch's LSTM, and by its symmetry: all coordinates are treated alike."""

import math

import pytest
import torch

from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, meta_gradient_error, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import LearnedOptimiser, Maml
from bench_builtin.meta_learners.learned_optimiser import coordinates, lstm_step, seen

RATE = 0.05


def begun(learner, game):
    return learner.init(torch.Generator().manual_seed(0), game)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inner", [Sgd(), Adam(eps=1e-2)], ids=["sgd", "adam"])
def test_with_an_output_layer_of_zero_it_is_maml(order, inner):
    """Trajectory and gradient of the initialisation, bit by bit; the output layer itself has a gradient, so it does not stay there."""
    game, gradients = SmallGan(), []
    for learner in (cls(inner_lr=RATE, inner_optimiser=inner, steps=3, order=order) for cls in (LearnedOptimiser, Maml)):
        engine = Engine(game, learner)
        meta = begun(learner, game)
        objective = lambda m, e, d, learner=learner, engine=engine: learner.objective(engine, m, e, d)  # noqa: E731
        gradients.append(engine.meta_gradient(objective, meta, small_episodes(), small_draws())[0])
    assert largest_difference(gradients[0]["initial"], gradients[1]["initial"]) == 0
    assert all(own["output"].any() for own in gradients[0]["optimiser"].values())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("inner_lr", [0.0, RATE], ids=["as published", "corrects sgd"])
def test_hypergradient_equals_finite_differences(layers, inner_lr):
    learner = LearnedOptimiser(
        order=2,
        hidden=3,
        layers=layers,
        output_layer="random",
        output_scale=0.1,
        precision=4.0,
        inner_lr=inner_lr,
        inner_optimiser=Sgd(),
        steps=3,
    )
    assert meta_gradient_error(learner, SmallGan()) < 1e-6


def test_the_recurrence_is_that_of_pytorch():
    cell = torch.nn.LSTMCell(2, 3).double()
    weights = {"input": cell.weight_ih.T, "hidden": cell.weight_hh.T, "bias": cell.bias_ih + cell.bias_hh}
    ours = {"hidden": torch.zeros(5, 3, dtype=torch.float64), "cell": torch.zeros(5, 3, dtype=torch.float64)}
    theirs = (ours["hidden"], ours["cell"])
    for inputs in torch.randn(4, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        # PyTorch's gates: input, forget, cell, output; ours keep the cell's last
        order = torch.cat([torch.arange(0, 6), torch.arange(9, 12), torch.arange(6, 9)])
        ours = lstm_step(
            {"input": weights["input"][:, order], "hidden": weights["hidden"][:, order], "bias": weights["bias"][order]}, inputs, ours
        )
        theirs = cell(inputs, theirs)
        assert torch.allclose(ours["hidden"], theirs[0], atol=1e-14)
        assert torch.allclose(ours["cell"], theirs[1], atol=1e-14)


def test_permuted_coordinates_move_permuted():
    """One network for all coordinates: a permutation of a player's coordinates passes through three steps."""
    game = SmallGan()
    learner = LearnedOptimiser(output_layer="random", output_scale=0.1, inner_lr=RATE, inner_optimiser=Sgd())
    meta = begun(learner, game)
    theta = {"w": coordinates(meta["initial"]["generator"])}
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(theta["w"].shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    order = torch.randperm(len(theta["w"]), generator=generator)

    def end(at, gradients):
        params, inner = learner.begin({**meta, "initial": {"generator": {"w": at}}}, {}, small_draws())
        params, inner = params["generator"], inner["generator"]
        for step, gradient in enumerate(gradients):
            params, inner = learner.update(meta, "generator", step, params, {"w": gradient}, inner, {})
        return params["w"]

    straight = end(theta["w"], grads)
    assert largest_difference({"w": end(theta["w"][order], [gradient[order] for gradient in grads])}, {"w": straight[order]}) < 1e-14
    assert largest_difference({"w": straight}, theta) > 1e-2


def test_corrections_return_to_the_coordinate_whose_gradient_was_seen():
    """From zero memory the correction is a function of the coordinate's gradient alone, whatever its layer."""
    game = SmallGan()
    learner = LearnedOptimiser(output_layer="random", inner_lr=0.0)
    meta = begun(learner, game)
    params, inner = learner.begin(meta, {}, small_draws())
    own = params["discriminator"]
    grads = tree_map(lambda leaf: torch.arange(leaf.numel(), dtype=leaf.dtype).reshape(leaf.shape) % 4, own)
    moved, _ = learner.update(meta, "discriminator", 0, own, grads, inner["discriminator"], {})
    by_gradient = {}
    for name, leaf in own.items():
        for gradient, move in zip(grads[name].flatten().tolist(), (moved[name] - leaf).flatten().tolist(), strict=True):
            assert move == pytest.approx(by_gradient.setdefault(gradient, move), abs=1e-15)
    assert len(set(by_gradient.values())) == 4


def test_what_the_lstm_sees_of_a_gradient():
    p = 10.0
    grads = torch.tensor([math.e, -1.0, math.exp(-10.0), -math.exp(-12.0), 0.0], dtype=torch.float64)
    want = torch.tensor([[0.1, 1], [0, -1], [-1, 1], [-1, -math.exp(-2.0)], [-1, 0]], dtype=torch.float64)
    assert torch.allclose(seen(grads, p), want, atol=1e-12)


def test_a_gradient_of_zero_has_a_derivative():
    grads = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(seen(grads, 10.0).sum(), grads)
    assert torch.isfinite(derivative).all()


def test_memory_starts_anew_unless_it_is_carried():
    """Carried, the next outer step starts from the mean over tasks of what the last one ended with."""
    for carried in ("reset", "carried"):
        learner = LearnedOptimiser(hidden=3, inner_state=carried)
        engine = Engine(SmallGan(), learner, adaptation_steps=2)
        meta = begun(learner, engine.game)
        engine.outer_step(meta, small_episodes(), Outer(learner), small_draws())
        memory = engine.begin(meta, small_episodes()["support"], small_draws()).inner["generator"]["memory"]
        assert all(bool(leaf.any()) == (carried == "carried") for _, leaf in leaves(memory))


def test_two_layers_have_a_memory_each():
    game = SmallGan()
    learner = LearnedOptimiser(layers=2, hidden=4)
    _, inner = learner.begin(begun(learner, game), {}, small_draws())
    sizes = {path: leaf.shape for path, leaf in leaves(inner["generator"]["memory"])}
    count = sum(weight.numel() for weight in game.modules["generator"].parameters())
    assert sizes == {(layer, part): (count, 4) for layer in "01" for part in ("cell", "hidden")}


class TestLearnedOptimiser(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return LearnedOptimiser(inner_lr=RATE, inner_optimiser=Sgd(), hidden=4, output_layer="random")


class TestSecondOrderWithAdamInsideAndTwoLayers(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return LearnedOptimiser(
            order=2, inner_lr=0.01, inner_optimiser=Adam(eps=1e-2), hidden=3, layers=2, precision=4.0, output_layer="random", steps=2
        )


class TestWithMomentumInside(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return LearnedOptimiser(inner_lr=RATE, inner_optimiser=Sgd(momentum=0.5), hidden=3, output_layer="random")
