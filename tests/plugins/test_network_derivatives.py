"""Networks in the engine: meta-gradients against central differences in float64, tasks stacked or looped, learners that change weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.contracts import ContractError, Parts, SampleSpec
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.testing import largest_difference, small_draws
from bench.trees import leaves, tree_map
from bench_builtin.games import Classifier, Gan, Vae
from bench_builtin.gan_losses import NonSaturating
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Anil, Cavia, Hierarchical, Maml
from bench_builtin.networks import Attention, Conv1d, Conv4, Dcgan, MinibatchStd, Mlp, Pac, Resnet
from bench_builtin.regularisers import R1

TASKS, SHOTS, QUERIES = 2, 4, 2
POINTS = SampleSpec("points", (2,))
SIGNAL = SampleSpec("signal", (1, 8))
GREY = SampleSpec("image", (1, 4, 4), -1.0, 1.0)
SMALL = {"latent": 2}
CONV = {"width": 4, "latent": 2}


def labelled(spec):
    return replace(spec, classes=2)


GANS = {
    "mlp-maxout": (Mlp(width=4, activation={"generator": "tanh", "discriminator": "maxout"}, **SMALL), POINTS),
    "mlp-concatenation": (Mlp(width=4, activation="tanh", conditioning="concatenation", **SMALL), labelled(POINTS)),
    "dcgan-projection": (Dcgan(**CONV), labelled(GREY)),
    "attention": (Attention(**CONV), GREY),
    "resnet": (Resnet(width=2, latent=2, norm="rms"), GREY),
    "conv1d": (Conv1d(norm="group", **CONV), SIGNAL),
    "pac": (Pac(network=Mlp(width=4, activation="tanh", **SMALL)), POINTS),
    "pac-labelled": (Pac(network=Dcgan(**CONV)), labelled(GREY)),
    "minibatch-std": (MinibatchStd(network=Mlp(width=4, activation="tanh", **SMALL)), POINTS),
}
OTHERS = {
    "vae": (Vae(), Attention(**CONV), GREY),
    "classifier": (Classifier(), Conv4(width=4), labelled(GREY)),
}
GAMES = {**{name: (Gan(), network, spec) for name, (network, spec) in GANS.items()}, **OTHERS}
MIXING = ("pac", "pac-labelled", "minibatch-std")


def smooth(module):
    """With leaky ReLUs replaced, whose kinks differences can step over."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.LeakyReLU | nn.ReLU):
                setattr(parent, name, nn.SiLU())
    return module


def play(name, **penalties):
    rules, network, spec = GAMES[name]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        modules = {player: smooth(network.build(role, spec)).double() for player, role in rules.roles.items()}
    return rules.bind(Parts(modules=modules, critic=Critic, loss=NonSaturating(), penalties=penalties, spec=spec)), spec


def episodes(spec):
    generator = torch.Generator().manual_seed(1)

    def part(n):
        x = torch.rand((TASKS, n, *spec.shape), generator=generator).double() * 2 - 1
        y = torch.eye(spec.classes).double()[torch.arange(n) % max(spec.classes, 1)] if spec.classes else None
        return {"x": x} if y is None else {"x": x, "y": y.expand(TASKS, *y.shape)}

    return {"support": part(SHOTS), "query": part(QUERIES)}


def differentiated(name, *, vectorise, **penalties):
    """Engine, learner, meta with gates opened, its gradient, and the objective."""
    game, spec = play(name, **penalties)
    learner = Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=1)
    engine = Engine(game, learner, vectorise=vectorise)
    generator = torch.Generator().manual_seed(4)
    meta = tree_map(
        lambda leaf: leaf + 0.1 * torch.randn(leaf.shape, generator=generator).double(),
        learner.init(torch.Generator().manual_seed(3), game),
    )
    data, draws = episodes(spec), small_draws(TASKS)

    def objective(m, e=data, d=draws):
        return learner.objective(engine, m, e, d)

    return game, meta, engine.meta_gradient(lambda m, e, d: objective(m, e, d), meta, data, draws)[0], objective


def worst_error(game, meta, gradient, objective):
    """Largest relative error, over players, along a random direction of their weights."""
    generator, errors = torch.Generator().manual_seed(5), []
    for player in game.players:
        own = meta["initial"][player]
        direction = tree_map(lambda leaf: torch.randn(leaf.shape, generator=generator).double(), own)

        def along(h, player=player, own=own, direction=direction):
            moved = {**meta, "initial": {**meta["initial"], player: tree_map(lambda w, d: w + h * d, own, direction)}}
            return float(objective(moved)[player].detach().mean())

        got = sum(float((gradient["initial"][player][name] * direction[name]).sum()) for name in own)
        best = float("inf")
        for h in (1e-4, 1e-5, 1e-3):
            slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
            best = min(best, abs(got - slope) / (abs(got) + 1e-12))
            if best < 1e-7:
                break
        errors.append(best)
    return max(errors)


@pytest.mark.parametrize("name", GAMES)
def test_second_order_meta_gradients_are_right(name):
    assert worst_error(*differentiated(name, vectorise=True)) < 1e-6


@pytest.mark.parametrize("name", ["attention", "resnet", "conv1d", "dcgan-projection", "mlp-concatenation"])
def test_third_derivatives_are_right_under_a_gradient_penalty(name):
    assert worst_error(*differentiated(name, vectorise=True, r1=R1(weight=1.0))) < 1e-6


@pytest.mark.parametrize("name", GAMES)
def test_tasks_together_are_tasks_one_by_one(name):
    together, one_by_one = (differentiated(name, vectorise=vectorise)[2] for vectorise in (True, False))
    assert largest_difference(together, one_by_one) < 1e-9


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "learner",
    [Cavia(form="film", context=3), Cavia(form="concatenated", context=3), Cavia(form="low-rank", context=3), Hierarchical(), Anil()],
    ids=["film", "concatenated", "low-rank", "hierarchical", "anil"],
)
def test_learners_that_change_weights_take_every_network(name, learner):
    """Whatever they adapt moves in a step, and stays finite."""
    game, spec = play(name)
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator().manual_seed(3), game)
    end = engine.rollout(meta, episodes(spec), small_draws(TASKS), steps=1, order=1)
    before, after = dict(leaves(end.path[0])), dict(leaves(end.params))
    assert all(torch.isfinite(leaf).all() for leaf in after.values())
    for player in game.players:
        assert any(not torch.equal(leaf, before[path]) for path, leaf in after.items() if path[0] == player)


def test_a_support_that_can_not_be_packed_is_said_before_anything_moves():
    game, _ = play("pac")
    learner = Maml()
    engine, meta = Engine(game, learner), learner.init(torch.Generator(), game)
    odd = {part: {"x": torch.zeros(TASKS, 3, 2).double()} for part in ("support", "query")}
    with pytest.raises(ContractError, match="packs of m = 2 samples can't be made of a batch of 3"):
        engine.rollout(meta, odd, small_draws(TASKS), steps=1, order=1)
