"""The classifier game: cross-entropy by hand, and learners that tell the classes of a new task apart."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.contracts import Parts, SampleSpec, leaves
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import meta_gradient_error, small_draws
from bench_builtin.games import Classifier
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import META_LEARNERS, Hypernetwork, Maml

WAYS, TASKS = 3, 4
SPEC = SampleSpec("points", (2,), classes=WAYS)
PLAYING = [name for name, make in META_LEARNERS.items() if getattr(make, "plays", True)]


def bound(network=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network or nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, WAYS)).double()
    return Classifier().bind(Parts({"classifier": network}, Critic, spec=SPEC))


def labelled_episodes(shots=2, query=4, tasks=TASKS):
    """Classes are Gaussians around three points of a circle, which a task turns: only the support tells which is which."""
    rng = np.random.default_rng(0)
    turns = rng.uniform(0, 2 * np.pi, (tasks, 1))

    def part(n):
        angle = turns + 2 * np.pi * (np.arange(n * WAYS) % WAYS) / WAYS
        x = np.stack([np.cos(angle), np.sin(angle)], 2) + 0.1 * rng.normal(size=(tasks, n * WAYS, 2))
        y = np.tile(np.eye(WAYS), (tasks, n, 1))
        return {"x": torch.tensor(x), "y": torch.tensor(y)}

    return {"support": part(shots), "query": part(query)}


def draws(tasks=TASKS):
    return small_draws(tasks)


def loss_of(logits, y):
    game = bound(nn.Identity())
    batch = {"x": torch.tensor(logits), "y": torch.tensor(y)}
    return game.losses({"classifier": {}}, batch, ("classifier",), {}, draws())[0]["classifier"].item()


def test_the_loss_is_the_cross_entropy_in_nats():
    assert loss_of([[0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]) == pytest.approx(math.log(3))
    assert loss_of([[math.log(2.0), 0.0]] * 2, [[1.0, 0.0], [0.0, 1.0]]) == pytest.approx(-(math.log(2 / 3) + math.log(1 / 3)) / 2)


def test_a_mixed_label_is_charged_by_its_shares():
    logits = [[1.0, -1.0, 0.5]]
    pure = [loss_of(logits, [row]) for row in np.eye(3).tolist()]
    assert loss_of(logits, [[0.2, 0.5, 0.3]]) == pytest.approx(np.dot([0.2, 0.5, 0.3], pure))


def test_predictions_are_the_logits_at_the_inputs():
    game = bound()
    weights, x = {"classifier": dict(game.modules["classifier"].named_parameters())}, torch.randn(7, 2, dtype=torch.float64)
    assert torch.equal(game.sample(weights, {"x": x}, 3, draws()), game.modules["classifier"](x))
    assert game.predicts


@pytest.mark.parametrize("name", PLAYING)
def test_every_meta_learner_trains_it(name):
    if name == "dawson":
        pytest.skip("needs two players, and says so: see the test of the VAE")
    learner = META_LEARNERS[name]()
    engine, outer = Engine(bound(), learner, adaptation_steps=2), Outer(learner)
    meta = engine.init(torch.Generator().manual_seed(0))
    outer.step, outer.progress = 0, 0.0
    meta, _ = engine.outer_step(meta, labelled_episodes(), outer, draws())
    assert all(leaf.isfinite().all() for _, leaf in leaves(meta))
    end = engine.rollout(meta, labelled_episodes(), draws(), steps=2, order=1)
    assert engine.sample(meta, end, 5, draws(), labelled_episodes()["query"]).shape == (TASKS, 4 * WAYS, WAYS)


@pytest.mark.parametrize(
    "learner",
    [Maml(order=2, inner_lr=0.1, inner_optimiser=Sgd()), Hypernetwork(order=2, inner_lr=0.1, inner_optimiser=Sgd())],
    ids=["maml", "hypernetwork"],
)
def test_meta_gradients_equal_central_differences(learner):
    assert meta_gradient_error(learner, bound(), episodes=labelled_episodes(tasks=3)) < 1e-6


def test_a_hypernetwork_reads_inputs_and_labels():
    encoder = Hypernetwork().init(torch.Generator(), bound())["encoder"]["classifier"]
    assert encoder["hidden"]["weight"].shape[0] == 2 + WAYS


def test_adaptation_beats_chance_and_the_start():
    """The start cannot know how a task is turned; twenty steps on twelve points can."""
    learner = Maml(inner_lr=0.5, inner_optimiser=Sgd())
    engine, episodes = Engine(bound(), learner), labelled_episodes(shots=4, query=20)
    meta = engine.init(torch.Generator().manual_seed(0))
    shares = []
    for steps in (0, 20):
        end = engine.rollout(meta, episodes, draws(), steps=steps, order=1)
        logits = engine.sample(meta, end, 1, draws(), episodes["query"])
        shares.append((logits.argmax(2) == episodes["query"]["y"].argmax(2)).double().mean().item())
    assert shares[1] > max(shares[0], 1 / WAYS) + 0.2
