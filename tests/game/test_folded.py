"""Folded networks: the same numbers and derivatives as ``torch.vmap``, and left to it where they would not be."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.contracts import Parts, SampleSpec
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.game.folded import folded_pass, mapped_pass, why_not
from bench.game.outer import Outer
from bench.testing import largest_difference, small_draws, small_episodes
from bench_builtin.games import Gan
from bench_builtin.gan_losses import NonSaturating
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Maml, Reptile
from bench_builtin.networks import Dcgan, Mlp
from bench_builtin.regularisers import GradientPenalty

TASKS, SAMPLES = 3, 4


class Piece(nn.Module):
    """Layers before a function of their output."""

    def __init__(self, *layers, then=lambda x: x):
        super().__init__()
        self.body, self.then = nn.Sequential(*layers), then

    def forward(self, x):
        return self.then(self.body(x))


NETWORKS = {  # name: (module, shape of a sample)
    "linear": (nn.Sequential(nn.Linear(5, 7), nn.SiLU(), nn.Linear(7, 2, bias=False)), (5,)),
    "linear on tokens": (nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh()), (3, 5)),
    "many columns": (nn.Conv2d(6, 2, 3, stride=2, padding=1), (6, 7, 8)),
    "few columns": (nn.Conv2d(1, 16, (4, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (1, 8, 9)),
    "groups": (nn.Conv2d(4, 6, 3, padding="same", groups=2), (4, 5, 5)),
    "circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 5)),
    "transposed, many columns": (nn.ConvTranspose2d(2, 8, 4, stride=2, padding=1), (2, 3, 4)),
    "transposed, few columns": (nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1, dilation=1), (16, 3, 4)),
    "one-dimensional": (nn.Sequential(nn.Conv1d(3, 4, 3, 2), nn.ReLU(), nn.ConvTranspose1d(4, 2, 3)), (3, 9)),
    "group norm": (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(36, 1)), (1, 5, 5)),
    "norm without gain": (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False)), (4,)),
    "several outputs": (Piece(nn.Linear(4, 6), then=lambda x: (x[:, :2], x[:, 2:].tanh())), (4,)),
}


def stacked(module, shape):
    """Weights that differ by task, and samples, in float64."""
    torch.manual_seed(1)
    weights = {name: torch.randn(TASKS, *leaf.shape, dtype=torch.float64) for name, leaf in module.named_parameters()}
    return {name: leaf.requires_grad_() for name, leaf in weights.items()}, torch.randn(TASKS, SAMPLES, *shape, dtype=torch.float64)


def reason(module, shape):
    shapes = {name: tuple(leaf.shape) for name, leaf in module.named_parameters()}
    return why_not(module, shapes, ((SAMPLES, *shape),), torch.device("cpu"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_folded_network_has_the_values_and_both_derivatives_of_a_mapped_one(name):
    module, shape = NETWORKS[name]
    assert reason(module, shape) == ""
    weights, x = stacked(module, shape)
    found = []
    for way in (folded_pass, mapped_pass):
        inputs = x.clone().requires_grad_()
        made = way(module, weights, (inputs,))
        value = sum(one.sin().sum() for one in (made if isinstance(made, tuple) else (made,)))
        leaves = [inputs, *weights.values()]
        first = torch.autograd.grad(value, leaves, create_graph=True)
        second = torch.autograd.grad(sum(one.square().sum() for one in first), leaves)
        found.append([value, *first, *second])
    for folded, mapped in zip(*found, strict=True):
        assert (folded - mapped).abs().max() <= 1e-12 * mapped.abs().max().clamp_min(1)


class Gained(nn.Module):
    """A weight of its own, used outside any layer."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * self.gain


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).tanh())


LEFT_ALONE = {
    "mean over samples": (Piece(nn.Linear(4, 4), then=lambda x: x - x.mean(0)), "stay apart"),
    "pairs of samples": (Piece(nn.Linear(4, 4), then=lambda x: x + x.roll(1, 0)), "stay apart"),
    "batch statistics": (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False, track_running_stats=False)), "stay apart"),
    "a weight outside layers": (Gained(), "no rule"),
    "tied weights": (Tied(), "share a weight"),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_not_a_function_of_single_samples_is_left_to_vmap(name):
    module, why = LEFT_ALONE[name]
    assert why in reason(module, (4,))


def test_a_mixing_network_runs_in_the_engine_as_if_folding_did_not_exist():
    mixing = {"generator": Mlp(width=8).build("generator", SampleSpec("points", (2,))).double()}
    mixing["discriminator"] = Piece(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1), then=lambda x: x - x.mean(0).square()).double()
    engines, after = outer_steps(mixing, Maml(inner_lr=0.1, inner_optimiser=Sgd(), steps=2), small_episodes())
    assert largest_difference(*after) == 0
    assert [bool(why) for why in engines[0].folds.reasons.values()].count(True) == 2  # the discriminator on support and query


def outer_steps(modules, learner, episodes, **game):
    """New meta of one outer step, folded and by vmap alone."""
    penalties = game.pop("penalties", {})
    bound = Gan(**game).bind(Parts(modules=modules, critic=Critic, loss=NonSaturating(), penalties=penalties))
    engines = [Engine(bound, learner, fold=fold) for fold in (True, False)]
    meta = learner.init(torch.Generator(), bound)
    return engines, [engine.outer_step(meta, episodes, Outer(learner), small_draws())[0] for engine in engines]


LEARNERS = {
    "second order": Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=2, outer_optimiser=Sgd(), outer_lr=1.0),
    "first order": Maml(order=1, inner_lr=0.05, inner_optimiser=Sgd(), steps=2, outer_optimiser=Sgd(), outer_lr=1.0),
    "own path": Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=2, outer_optimiser=Sgd(), outer_lr=1.0, cross_player="own-path"),
    "reptile": Reptile(inner_lr=0.05, inner_optimiser=Sgd(), steps=2, outer_lr=1.0),
}


@pytest.mark.parametrize("order", ["simultaneous", "alternating"])
@pytest.mark.parametrize("name", LEARNERS)
def test_an_outer_step_is_the_same_folded_and_mapped(name, order):
    torch.manual_seed(0)
    modules = {role: Mlp(width=8).build(role, SampleSpec("points", (2,))).double() for role in ("generator", "discriminator")}
    engines, after = outer_steps(modules, LEARNERS[name], small_episodes(), order=order)
    assert largest_difference(*after) < 1e-12
    assert set(engines[0].folds.reasons.values()) == {""}


def test_a_gradient_penalty_on_a_folded_convolutional_critic_has_the_same_third_derivative():
    torch.manual_seed(0)
    spec, network = SampleSpec("image", (1, 8, 8), -1.0, 1.0), Dcgan(width=4, latent=3, norm="group")
    modules = {role: network.build(role, spec).double() for role in ("generator", "discriminator")}
    images = {part: {"x": torch.rand(3, 4, 1, 8, 8, dtype=torch.float64) * 2 - 1} for part in ("support", "query")}
    engines, after = outer_steps(modules, LEARNERS["second order"], images, penalties={"gp": GradientPenalty(weight=1.0)})
    assert largest_difference(*after) < 1e-12
    assert set(engines[0].folds.reasons.values()) == {""}


def test_a_layer_that_someone_watches_is_seen_as_one_task_sees_it():
    """A hook gets the outputs of one task's samples, so the network is not folded while it is there."""
    torch.manual_seed(0)
    modules = {role: Mlp(width=8).build(role, SampleSpec("points", (2,))).double() for role in ("generator", "discriminator")}
    seen = []
    handle = modules["discriminator"].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    try:
        outer_steps(modules, LEARNERS["first order"], small_episodes())
    finally:
        handle.remove()
    assert {len(shape) for shape in seen} == {2}
    assert {shape[0] for shape in seen} <= {5, 6}  # support and query samples of one task


def test_functional_layers_are_known_too():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 4))

        def forward(self, x):
            return functional.linear(x, self.weight)

    assert reason(Functional(), (4,)) == ""
