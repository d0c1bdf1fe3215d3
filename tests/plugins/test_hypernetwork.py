"""The hypernetwork against MAML and joint training, against hand-computed emissions, and where regression has an exact answer."""

import pytest
import torch
from torch import nn

from bench.contracts import ContractError, Parts, SampleSpec
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.games import Regression
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Finetune, Hypernetwork, Maml
from bench_builtin.meta_learners.hypernetwork import code_of, progress_of, sample_size
from bench_builtin.networks import Dcgan, Mlp

RATE = 0.05
SIZE = {"sample_size": 2}  # the contract's generator does not say how many latent numbers it takes


def begun(learner, game):
    return learner.init(torch.Generator().manual_seed(0), game)


def emitting(meta, seed=1):
    """Heads away from 0."""
    generator = torch.Generator().manual_seed(seed)
    heads = tree_map(lambda leaf: leaf + 0.3 * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta["heads"])
    return {**meta, "heads": heads}


def initial_gradient(learner, game, objective, meta=None):
    engine = Engine(game, learner)
    return engine.meta_gradient(lambda m, e, d: objective(engine, m, e, d), meta or begun(learner, game), small_episodes(), small_draws())[
        0
    ]


@pytest.mark.parametrize("emission", ["one-shot", "repeated"])
@pytest.mark.parametrize("order", [1, 2])
def test_heads_of_zero_are_maml(emission, order):
    """Bit by bit; the heads have gradients, so they do not stay there."""
    game, settings = SmallGan(), {"inner_lr": RATE, "inner_optimiser": Sgd(), "steps": 3, "order": order}
    learner, maml = Hypernetwork(**settings, **SIZE, emission=emission), Maml(**settings)
    found, want = (initial_gradient(each, game, each.objective) for each in (learner, maml))
    assert largest_difference(found["initial"], want["initial"]) == 0
    assert all(leaf.any() for path, leaf in leaves(found["heads"]) if path[-1] == "spread")


def test_heads_of_zero_without_a_step_are_joint_training():
    game = SmallGan()
    learner, joint = Hypernetwork(inner_lr=0.0, inner_optimiser=Sgd(), **SIZE), Finetune(uses="task")
    found, want = (initial_gradient(each, game, stage) for each, stage in ((learner, learner.joint_loss), (joint, joint.objective)))
    assert largest_difference(found["initial"], want["initial"]) == 0


@pytest.mark.parametrize("encoder", ["mlp", "linear"])
def test_the_order_of_the_support_does_not_matter(encoder):
    game, learner = SmallGan(), Hypernetwork(encoder=encoder, **SIZE)
    meta, x = emitting(begun(learner, game)), small_episodes()["support"]["x"][0]
    straight, turned = (learner.begin(meta, {"x": samples}, small_draws())[0] for samples in (x, x[[3, 0, 4, 1, 2]]))
    assert largest_difference(straight, turned) < 1e-14
    assert largest_difference(straight, learner.begin(meta, {"x": x + 1}, small_draws())[0]) > 1e-3


def test_a_linear_encoder_emits_by_hand():
    """Delta_l = scale * U(E^T mean(x) + b) V, on the matrix (outputs, everything else) of each layer."""
    game = SmallGan()
    learner = Hypernetwork(encoder="linear", code=3, rank=2, emission_scale=0.5, **SIZE)
    meta, x = emitting(begun(learner, game)), small_episodes()["support"]["x"][0]
    params, _ = learner.begin(meta, {"x": x}, small_draws())
    for player, own in meta["initial"].items():
        encoder = meta["encoder"][player]["output"]
        code = encoder["weight"].T @ x.mean(0) + encoder["bias"]
        for name, theta in own.items():
            head = meta["heads"][player][name]
            outputs, inputs = (theta.shape[0], theta.numel() // theta.shape[0])
            rank = min(2, outputs, inputs)
            U = torch.einsum("c,cor->or", code, head["spread"].reshape(3, outputs, rank))
            assert head["basis"].shape == (rank, inputs)
            assert torch.allclose(params[player][name] - theta, 0.5 * (U @ head["basis"]).reshape(theta.shape), atol=1e-14)
            assert torch.linalg.matrix_rank((params[player][name] - theta).reshape(outputs, inputs)) <= rank


def test_repeated_emission_adds_to_every_step_and_sees_how_far_it_is():
    game = SmallGan()
    learner = Hypernetwork(emission="repeated", inner_lr=0.0, inner_optimiser=Sgd(), **SIZE)
    meta, support = emitting(begun(learner, game)), {"x": small_episodes()["support"]["x"][0]}
    params, inner = learner.begin(meta, support, small_draws())
    assert largest_difference(params, meta["initial"]) == 0
    grads = tree_map(torch.ones_like, params["generator"])
    for step in (0, 4):
        moved, _ = learner.update(meta, "generator", step, params["generator"], grads, inner["generator"], support)
        code = code_of(meta["encoder"]["generator"], support)
        sight = torch.cat([code, torch.tensor([1 / (1 + step), 0.0], dtype=code.dtype)])  # log of a root mean square of 1
        want = learner.emitted(meta, "generator", sight)
        assert largest_difference(tree_map(torch.sub, moved, params["generator"]), want) < 1e-10


def test_a_gradient_of_zero_has_a_finite_summary():
    grads = {"w": torch.zeros(3, dtype=torch.float64, requires_grad=True)}
    summary = progress_of(0, grads)
    (derivative,) = torch.autograd.grad(summary.sum(), grads["w"])
    assert torch.isfinite(summary).all()
    assert torch.isfinite(derivative).all()


# ------------------------------------------------------------------ two stages
class Mean:
    """L(t) = |t - mean(x)|^2 / 2: T plain steps go (1 - (1 - lr)^T) of the way from theta to the mean of the support."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        point = nn.Module()
        point.t = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))
        self.modules = {"model": point}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        return {"model": 0.5 * (weights["model"]["t"] - batch["x"].mean(0)).square().sum()}, state


def test_two_stages_recover_where_base_training_goes():
    """The displacement is affine in the mean of the support, which a linear encoder can say: regression finds it, for new tasks as well."""
    game, rate, base_steps = Mean(), 0.1, 7
    learner = Hypernetwork(
        training="two-stage",
        encoder="linear",
        code=4,
        sample_size=2,
        emission_scale=1.0,
        joint_share=0.0,
        base_steps=base_steps,
        inner_lr=rate,
        inner_optimiser=Sgd(),
        outer_optimiser=Sgd(momentum=0.9),
        outer_lr=0.1,
    )
    engine, outer = Engine(game, learner), Outer(learner)
    meta = theta = begun(learner, game)
    draws = Draws(torch.arange(8), torch.float64)
    episodes = small_episodes(tasks=8)
    for outer.step in range(300):
        meta, _ = engine.outer_step(meta, episodes, outer, draws)
    new = {"x": torch.tensor([[2.0, -1.0], [1.0, 4.0], [0.0, 0.0]], dtype=torch.float64)}
    start = learner.begin(meta, new, draws)[0]["model"]["t"]
    t = theta["initial"]["model"]["t"]
    assert largest_difference(meta["initial"], theta["initial"]) == 0
    assert torch.allclose(start, t + (1 - (1 - rate) ** base_steps) * (new["x"].mean(0) - t), atol=1e-6)


def test_each_stage_moves_its_own_part_of_meta():
    """Also under an outer optimiser whose memory would carry the first stage's motion on."""
    game = SmallGan()
    learner = Hypernetwork(training="two-stage", joint_share=0.5, base_steps=2, inner_optimiser=Sgd(), **SIZE)
    engine, outer = Engine(game, learner), Outer(learner)
    meta = begun(learner, game)
    for outer.step, outer.progress in enumerate((0.0, 0.4, 0.5, 0.9)):
        after, _ = engine.outer_step(meta, small_episodes(), outer, small_draws())
        moved = {name for name in meta if largest_difference(after[name], meta[name]) > 0}
        assert moved <= ({"initial"} if outer.progress < 0.5 else {"encoder", "heads"})
        assert moved
        meta = after


def test_the_first_stage_is_joint_training():
    game = SmallGan()
    settings = {"outer_lr": 0.1, "outer_optimiser": Sgd()}
    learner, joint = Hypernetwork(training="two-stage", **settings, **SIZE), Finetune(uses="task", outer_schedule="constant", **settings)
    after = [Engine(game, each).outer_step(begun(each, game), small_episodes(), Outer(each), small_draws())[0] for each in (learner, joint)]
    assert largest_difference(after[0]["initial"], after[1]["initial"]) == 0


def test_two_stages_fit_one_emission_only():
    with pytest.raises(ContractError, match="got emission: repeated; use emission: one-shot"):
        Hypernetwork(training="two-stage", emission="repeated")


# ------------------------------------------------------------------ what a support sample is
def game_of(network, spec, roles):
    return type("Bare", (), {"players": roles, "modules": {role: network.build(role, spec) for role in roles}})()


@pytest.mark.parametrize(
    ("network", "spec", "roles", "size"),
    [
        (Mlp(), SampleSpec(kind="points", shape=(3,)), ("generator", "discriminator"), 3),
        (Dcgan(), SampleSpec(kind="image", shape=(2, 8, 12), low=-1.0, high=1.0), ("generator", "discriminator"), 192),
        (Mlp(), SampleSpec(kind="regression", shape=(5,), targets=(2,)), ("model",), 7),
    ],
    ids=["points", "image", "regression"],
)
def test_the_size_of_a_sample_is_read_off_the_networks(network, spec, roles, size):
    assert sample_size(game_of(network, spec, roles)) == size


def test_networks_that_do_not_tell_are_an_error_with_a_cure():
    game = type("Bare", (), {"players": ("model",), "modules": {"model": nn.Conv1d(1, 1, 3)}})()
    with pytest.raises(ContractError, match="give sample_size"):
        sample_size(game)


def test_targets_of_a_support_are_seen():
    spec = SampleSpec(kind="regression", shape=(1,), targets=(1,))
    game = Regression().bind(Parts(modules={"model": Mlp(width=4, depth=1).build("model", spec).double()}, critic=Critic))
    learner = Hypernetwork()
    meta, x = emitting(begun(learner, game)), torch.ones(3, 1, dtype=torch.float64)
    one, other = (learner.begin(meta, {"x": x, "y": level * x}, small_draws())[0] for level in (1.0, 2.0))
    assert largest_difference(one, other) > 1e-3


# ------------------------------------------------------------------ the contract
class TestOneShot(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Hypernetwork(order=2, inner_lr=RATE, inner_optimiser=Sgd(), steps=2, code=3, width=4, rank=2, **SIZE)


class TestRepeated(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Hypernetwork(emission="repeated", order=2, inner_lr=0.01, inner_optimiser=Adam(eps=1e-2), steps=2, code=3, width=4, **SIZE)


class TestFirstOrder(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Hypernetwork(emission="repeated", inner_lr=RATE, inner_optimiser=Sgd(), **SIZE)


class TestTwoStage(MetaLearnerContract):
    """Its gradient has no derivative through adaptation: theta and the base models are constants of the second stage."""

    @pytest.fixture
    def learner(self):
        return Hypernetwork(training="two-stage", joint_share=0.0, base_steps=3, inner_lr=RATE, inner_optimiser=Sgd(), **SIZE)
