"""Meta-gradients against central differences in float64, over pairs of learner, loss, penalties, network and order of play."""

import itertools

import pytest
import torch
from torch import nn

from bench.contracts import Parts, SampleSpec
from bench.errors import ContractError
from bench.game.checks import check_third_order
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.testing import SmallGan, largest_difference, meta_gradient_error, small_draws, small_episodes, small_networks
from bench.trees import tree_map
from bench_builtin.games import Gan
from bench_builtin.gan_losses import GAN_LOSSES, Wasserstein
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Finetune, Maml
from bench_builtin.networks import Dcgan, Mlp
from bench_builtin.regularisers import (
    R1,
    R2,
    BalancedConsistency,
    Consistency,
    Dragan,
    FeatureMatching,
    GradientPenalty,
    LatentConsistency,
    LeCam,
    ModeSeeking,
    OneSidedPenalty,
    Orthogonal,
    SpectralNorm,
)

LEARNERS = {
    "finetune": lambda: Finetune(),
    "maml": lambda: Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=2),
    "maml-momentum": lambda: Maml(inner_lr=0.05, inner_optimiser=Sgd(momentum=0.5), steps=2),
    "maml-adam": lambda: Maml(inner_lr=0.01, inner_optimiser=Adam(eps=1e-2), steps=2),
}
LOSSES = dict(GAN_LOSSES)
PENALTIES = {  # terms add up, and none is so large that it hides another; the contract tests take each alone
    "none": {},
    "slopes": {"gp": GradientPenalty(weight=0.3), "lp": OneSidedPenalty(weight=0.3), "r1": R1(), "r2": R2(), "dragan": Dragan(weight=0.3)},
    "versions": {
        "consistency": Consistency(),
        "balanced": BalancedConsistency(),
        "latent": LatentConsistency(noise=0.3),
        "lecam": LeCam(decay=0.5),
        "features": FeatureMatching(),
        "modes": ModeSeeking(),
    },
    "weights": {"orthogonal": Orthogonal(weight=0.1), "spectral-norm": SpectralNorm()},
}
NETWORKS = {
    "tanh": Mlp(width=8, depth=1, latent=2, activation="tanh"),
    "group-norm": Mlp(width=16, depth=1, latent=2, activation="tanh", norm="group"),
    "rms-norm": Mlp(width=8, depth=1, latent=2, activation="silu", norm="rms"),
}
ORDERS = ("alternating", "simultaneous")
AXES = (tuple(LEARNERS), tuple(LOSSES), tuple(PENALTIES), tuple(NETWORKS), ORDERS)
PRODUCT = tuple(itertools.product(*AXES))


def covering_array() -> list[tuple[str, ...]]:
    """A few cells that contain every pair of values of two axes: greedily, most uncovered pairs first."""
    pairs = {(i, cell[i], j, cell[j]) for cell in PRODUCT for i, j in itertools.combinations(range(len(AXES)), 2)}
    chosen: list[tuple[str, ...]] = []
    while pairs:
        best = max(PRODUCT, key=lambda cell: sum((i, cell[i], j, cell[j]) in pairs for i, j in itertools.combinations(range(len(AXES)), 2)))
        pairs -= {(i, best[i], j, best[j]) for i, j in itertools.combinations(range(len(AXES)), 2)}
        chosen.append(best)
    return chosen


def play(loss, penalties, network, order):
    spec = SampleSpec(kind="points", shape=(2,))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        modules = {role: NETWORKS[network].build(role, spec).double() for role in ("generator", "discriminator")}
    return Gan(order=order).bind(Parts(modules=modules, critic=Critic, loss=LOSSES[loss](), penalties=PENALTIES[penalties]))


def check(cell):
    learner, loss, penalties, network, order = cell
    error = meta_gradient_error(LEARNERS[learner](), play(loss, penalties, network, order), rules=tuple(PENALTIES[penalties].values()))
    assert error is not None
    assert error < 1e-5


@pytest.mark.parametrize("cell", covering_array(), ids="+".join)
def test_every_pair_of_components_has_right_derivatives(cell):
    check(cell)


@pytest.mark.exhaustive
@pytest.mark.parametrize("cell", PRODUCT, ids="+".join)
def test_every_combination_has_right_derivatives(cell):
    check(cell)


@pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
def test_convolutions_under_a_gradient_penalty_have_right_third_derivatives(vectorise):
    spec = SampleSpec(kind="image", shape=(1, 8, 8), low=-1.0, high=1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {role: Dcgan(width=8, latent=2, norm="group").build(role, spec).double() for role in ("generator", "discriminator")}
    # Leaky ReLU has kinks that finite differences can step over; a smooth stand-in keeps the truth exact.
    for module in modules.values():
        for parent in module.modules():
            for name, child in parent.named_children():
                if isinstance(child, nn.LeakyReLU):
                    setattr(parent, name, nn.SiLU())
    game = Gan().bind(Parts(modules=modules, critic=Critic, loss=Wasserstein(), penalties={"gp": GradientPenalty(weight=1.0)}))
    generator = torch.Generator().manual_seed(0)
    images = {part: {"x": torch.rand((2, 3, 1, 8, 8), generator=generator).double() * 2 - 1} for part in ("support", "query")}
    learner = Maml(inner_lr=0.01, inner_optimiser=Sgd(), steps=2)
    engine = Engine(game, learner, vectorise=vectorise)
    meta, draws = learner.init(generator, game), small_draws(2)
    gradient, _ = engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, images, draws)
    direction = tree_map(lambda leaf: torch.randn(leaf.shape, generator=generator).double(), meta["initial"]["discriminator"])

    def along(h):
        moved = {
            "initial": {**meta["initial"], "discriminator": tree_map(lambda w, d: w + h * d, meta["initial"]["discriminator"], direction)}
        }
        return float(learner.objective(engine, moved, images, draws)["discriminator"].detach().mean())

    got = sum(float((gradient["initial"]["discriminator"][name] * direction[name]).sum()) for name in direction)
    errors = [abs(got - (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)) / abs(got) for h in (1e-3, 1e-4, 1e-5)]
    assert min(errors) < 1e-6


def test_task_chunks_change_a_meta_gradient_by_rounding_only():
    game, learner = SmallGan(), Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=2)
    meta = learner.init(torch.Generator(), game)
    grads = []
    for chunk in (None, 1, 2):
        engine = Engine(game, learner, task_chunk=chunk)
        grads.append(
            engine.meta_gradient(lambda m, e, d, engine=engine: learner.objective(engine, m, e, d), meta, small_episodes(), small_draws())[
                0
            ]
        )
    assert max(largest_difference(grad, grads[0]) for grad in grads) < 1e-12


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d, nn.InstanceNorm1d])
def test_fused_norms_are_refused_where_third_derivatives_are_needed(norm):
    modules = small_networks(norm=lambda: norm(8, **({} if norm is nn.LayerNorm else {"track_running_stats": False})).double())
    with pytest.raises(ContractError, match="wrong third derivatives"):
        check_third_order(modules, [R1()], order=2)
    check_third_order(modules, [R1()], order=1)
    check_third_order(modules, [], order=2)
    check_third_order(small_networks(norm=lambda: nn.GroupNorm(2, 8).double()), [R1()], order=2)
