"""Closed forms of adaptation and of meta-gradients: the quadratic, the Dirac GAN, the linear critic."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.contracts import Parts, Play, SampleSpec
from bench.errors import ContractError
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import SmallGan, largest_difference, meta_gradient_error, small_draws, small_episodes, small_networks
from bench.trees import leaves, tree_map
from bench_builtin.games import Gan
from bench_builtin.gan_losses import GAN_LOSSES, NonSaturating, Wasserstein
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Finetune, Maml, Reptile
from bench_builtin.networks import Mlp
from bench_builtin.regularisers import R1, GradientPenalty


def gan(modules, loss, *, penalties=None, **rules):
    return Gan(**rules).bind(Parts(modules=modules, critic=Critic, loss=loss, penalties=penalties or {}))


def draws(tasks=1):
    return Draws(torch.arange(tasks) * 7919, torch.float64)


# ------------------------------------------------------------------ four fixed points of one problem
class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Parameter(torch.zeros(2, dtype=torch.float64))


class Quadratic:
    """L(t) = (t - c)^T A (t - c) / 2 with diagonal A: one player, no noise."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        self.modules = {"model": Point()}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        offset = weights["model"]["t"] - batch["c"]
        return {"model": 0.5 * (batch["A"] * offset * offset).sum()}, state


TWO_TASKS = {
    part: {
        "A": torch.tensor([[1.0, 3.0], [4.0, 0.5]], dtype=torch.float64),
        "c": torch.tensor([[1.0, -1.0], [-2.0, 0.5]], dtype=torch.float64),
    }
    for part in ("support", "query")
}


@pytest.mark.parametrize(
    ("learner", "curvature", "fixed_point"),
    [
        (Finetune(uses="query", outer_optimiser=Sgd(), outer_lr=0.3, outer_schedule="constant"), lambda A, P: A, (-1.4, -0.7857)),
        (
            Maml(order=1, steps=3, inner_lr=0.1, inner_optimiser=Sgd(), outer_optimiser=Sgd(), outer_lr=0.3),
            lambda A, P: A * P,
            (-0.6271, -0.5589),
        ),
        (
            Maml(order=2, steps=3, inner_lr=0.1, inner_optimiser=Sgd(), outer_optimiser=Sgd(), outer_lr=0.3),
            lambda A, P: P * A * P,
            (0.2203, -0.2348),
        ),
        (
            Reptile(uses="support", steps=3, inner_lr=0.1, inner_optimiser=Sgd(), outer_lr=0.5, outer_schedule="constant"),
            lambda A, P: 1 - P,
            (-1.2294, -0.7325),
        ),
    ],
    ids=["joint", "first-order maml", "maml", "reptile"],
)
def test_four_learners_have_four_different_fixed_points(learner, curvature, fixed_point):
    """sum W c / sum W with W = A, AP, PAP, I - P and P = (I - lr A)^K (algorithms 2.1)."""
    game = Quadratic()
    engine, outer = Engine(game, learner), Outer(learner)
    meta = learner.init(torch.Generator(), game)
    for outer.step in range(600):
        meta, _ = engine.outer_step(meta, TWO_TASKS, outer, draws(2))
    A, c = TWO_TASKS["support"]["A"], TWO_TASKS["support"]["c"]
    W = curvature(A, (1 - 0.1 * A) ** 3)
    assert torch.allclose(meta["initial"]["model"]["t"], (W * c).sum(0) / W.sum(0), atol=1e-10)
    assert meta["initial"]["model"]["t"].tolist() == pytest.approx(fixed_point, abs=1e-4)


def test_reptile_with_one_step_is_joint_sgd():
    """K = 1 with SGD: theta - outer_lr * inner_lr * mean gradient."""
    game, episodes = SmallGan(order="simultaneous"), small_episodes()
    reptile = Reptile(uses="support", steps=1, inner_lr=0.1, inner_optimiser=Sgd(), outer_lr=0.5, outer_schedule="constant")
    engine = Engine(game, reptile)
    meta = reptile.init(torch.Generator(), game)
    after, _ = engine.outer_step(meta, episodes, Outer(reptile), small_draws())
    start = engine.begin(meta, episodes["support"], small_draws())
    grads, _ = engine.gradients(meta, start.params, episodes["support"], {}, small_draws().at("support", 0, 0), game.players, 1)
    want = tree_map(lambda theta, g: theta - 0.5 * 0.1 * g.mean(0), meta["initial"], grads)
    assert largest_difference(after["initial"], want) < 1e-12


def test_reptile_keeps_no_graph():
    game, reptile = SmallGan(), Reptile()
    end = Engine(game, reptile).rollout(reptile.init(torch.Generator(), game), small_episodes(), small_draws(), steps=3, order=1)
    assert not any(leaf.requires_grad for _, leaf in leaves(end.params))


# ------------------------------------------------------------------ the Dirac GAN (oracle O2)
class DiracGenerator(nn.Module):
    latent = 1

    def __init__(self):
        super().__init__()
        self.t = nn.Parameter(torch.tensor([[1.5]], dtype=torch.float64))

    def forward(self, z):
        return self.t.expand(len(z), 1)


class DiracCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([[0.4]], dtype=torch.float64))

    def forward(self, x):
        return x @ self.p


G_LR, D_LR, TRUTH, STEPS, GAMMA = 0.2, 0.3, 0.7, 6, 0.5


@pytest.mark.parametrize("order", ["simultaneous", "alternating"])
@pytest.mark.parametrize("with_r1", [False, True], ids=["plain", "r1"])
@pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
def test_dirac_gan_follows_its_linear_recursion(order, with_r1, vectorise):
    """e = (theta - c, psi) obeys e_K = M^K e_0, and the meta-gradients are rows of M^K (algorithms 2.0)."""
    game = gan(
        {"generator": DiracGenerator(), "discriminator": DiracCritic()},
        Wasserstein(),
        order=order,
        penalties={"r1": R1(weight=GAMMA)} if with_r1 else None,
    )
    learner = Maml(order=2, steps=STEPS, inner_lr={"generator": G_LR, "discriminator": D_LR}, inner_optimiser=Sgd())
    engine = Engine(game, learner, vectorise=vectorise)
    meta = learner.init(torch.Generator(), game)
    episodes = {part: {"x": torch.full((1, 5, 1), TRUTH, dtype=torch.float64)} for part in ("support", "query")}

    shrink = 1 - D_LR * GAMMA if with_r1 else 1.0
    rows = {"simultaneous": [[1, G_LR], [-D_LR, shrink]], "alternating": [[1 - G_LR * D_LR, G_LR * shrink], [-D_LR, shrink]]}[order]
    power = torch.linalg.matrix_power(torch.tensor(rows, dtype=torch.float64), STEPS)
    end = power @ torch.tensor([1.5 - TRUTH, 0.4], dtype=torch.float64)

    params = engine.rollout(meta, episodes, draws(), steps=STEPS, order=2).params
    assert params["generator"]["t"].item() - TRUTH == pytest.approx(end[0].item(), abs=1e-13)
    assert params["discriminator"]["p"].item() == pytest.approx(end[1].item(), abs=1e-13)

    gradient, _ = engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, episodes, draws())
    want_g = -(power[1] * (end[0] + TRUTH) + end[1] * power[0])
    want_d = power[1] * end[0] + end[1] * power[0] + (GAMMA * end[1] * power[1] if with_r1 else 0)
    assert gradient["initial"]["generator"]["t"].item() == pytest.approx(want_g[0].item(), abs=1e-12)
    assert gradient["initial"]["discriminator"]["p"].item() == pytest.approx(want_d[1].item(), abs=1e-12)

    def probe(m, e, d):
        moved = engine.rollout(m, e, d, steps=STEPS, order=2).params
        return 0.5 * (moved["generator"]["t"].flatten(1)[:, 0] - TRUTH) ** 2

    gradient, _ = engine.meta_gradient(probe, meta, episodes, draws())
    assert gradient["initial"]["generator"]["t"].item() == pytest.approx((end[0] * power[0, 0]).item(), abs=1e-12)
    assert gradient["initial"]["discriminator"]["p"].item() == pytest.approx((end[0] * power[0, 1]).item(), abs=1e-12)


def test_game_jacobian_of_the_dirac_gan_is_antisymmetric():
    """Field (-psi, theta - c) has J = [[0, -1], [1, 0]], so J^T v = (v_D, -v_G): symmetric solvers would be wrong."""
    game = gan({"generator": DiracGenerator(), "discriminator": DiracCritic()}, Wasserstein(), order="simultaneous")
    learner = Maml(inner_optimiser=Sgd())
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)
    batch = {"x": torch.full((1, 5, 1), TRUTH, dtype=torch.float64)}
    start = engine.begin(meta, batch, draws())
    cotangent = {"generator": {"t": torch.full((1, 1, 1), 2.0).double()}, "discriminator": {"p": torch.full((1, 1, 1), 5.0).double()}}
    pulled = engine.vjp(meta, start.params, batch, {}, draws(), cotangent)
    assert pulled["generator"]["t"].item() == pytest.approx(5.0)
    assert pulled["discriminator"]["p"].item() == pytest.approx(-2.0)
    fields = engine.query_gradients(meta, start, batch, draws())
    assert fields["generator"]["discriminator"]["p"].item() == pytest.approx(-1.5)  # L_G = -psi theta
    assert fields["discriminator"]["generator"]["t"].item() == pytest.approx(0.4)  # L_D = psi (theta - c)


# ------------------------------------------------------------------ the linear critic: third derivatives end to end
class LinearCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[2.0], [1.0]], dtype=torch.float64))

    def forward(self, x):
        return x @ self.w


class NoLoss:
    def discriminator_loss(self, real, fake):
        return 0.0 * (real.mean() + fake.mean())

    def generator_loss(self, real, fake):
        return 0.0 * fake.mean()


@pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
def test_gradient_penalty_on_a_linear_critic_follows_its_recursion(vectorise):
    """|w| - 1 shrinks by 1 - 2 lr weight a step, and so does its meta-gradient (algorithms 2.25): a third-order path."""
    weight, lr, steps = 0.5, 0.1, 3
    modules = {"generator": small_networks()["generator"], "discriminator": LinearCritic()}
    modules["generator"].latent = 2
    game = gan(modules, NoLoss(), penalties={"gp": GradientPenalty(weight=weight)})
    learner = Maml(order=2, steps=steps, inner_lr=lr, inner_optimiser=Sgd())
    engine = Engine(game, learner, vectorise=vectorise)
    meta = learner.init(torch.Generator(), game)

    def residual(m, e, d):
        end = engine.rollout(m, e, d, steps=steps, order=2, players=("discriminator",)).params["discriminator"]["w"]
        return (end.flatten(1).square().sum(1).sqrt() - 1) ** 2

    gradient, values = engine.meta_gradient(
        residual, meta, small_episodes(), small_draws(), wrt=lambda path: "all" if "discriminator" in path else None
    )
    w = meta["initial"]["discriminator"]["w"]
    start = w.norm() - 1
    shrink = (1 - 2 * lr * weight) ** steps
    assert values["all"].tolist() == pytest.approx([float((shrink * start) ** 2)] * 3, rel=1e-10)
    assert torch.allclose(gradient["initial"]["discriminator"]["w"], 2 * shrink**2 * start * w / w.norm(), rtol=1e-9)
    assert not any(leaf.any() for _, leaf in leaves(gradient["initial"]["generator"]))


def test_gradient_penalty_takes_the_norm_per_sample():
    """On a linear critic it is weight (|w| - 1)^2 whatever the samples; public meta-GANs give other numbers (algorithms 5.5)."""
    critic = Critic(LinearCritic(), {"w": torch.tensor([[2.0], [1.0]], dtype=torch.float64)})
    real, fake = torch.randn(4, 2).double(), torch.randn(6, 2).double()
    play = Play(real, fake, fake, None, critic, lambda z: z, {})
    value, _ = GradientPenalty(weight=10).penalty("discriminator", play, {}, Draws(torch.tensor(1), torch.float64))
    assert value.item() == pytest.approx(10 * (5**0.5 - 1) ** 2, rel=1e-9)
    value, _ = R1(weight=3).penalty("discriminator", play, {}, Draws(torch.tensor(1), torch.float64))
    assert value.item() == pytest.approx(3 / 2 * 5, rel=1e-12)


# ------------------------------------------------------------------ unrolling, and rules of what weights may be
def dirac_step(learner, **rules):
    """theta and psi after one adaptation step from 1.5 and 0.4, and the meta-gradient of the generator's loss on the query."""
    game = gan({"generator": DiracGenerator(), "discriminator": DiracCritic()}, Wasserstein(), order="simultaneous", **rules)
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)
    episodes = {part: {"x": torch.full((1, 3, 1), TRUTH, dtype=torch.float64)} for part in ("support", "query")}
    end = engine.rollout(meta, episodes, draws(), steps=1, order=1)
    return end.params["generator"]["t"].item(), end.params["discriminator"]["p"].item()


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_unrolled_generator_foresees_the_critic(steps):
    """On the Dirac GAN dL_G/dtheta = -psi - steps * lr * (c - 2 theta): the critic it will meet is psi + steps * lr * (c - theta)."""
    theta, psi, lr = 1.5, 0.4, 0.05
    learner = Maml(order=1, inner_lr={"generator": G_LR, "discriminator": D_LR}, inner_optimiser=Sgd())
    after = dirac_step(learner, unroll=steps, unroll_lr=lr)
    assert after[0] == pytest.approx(theta - G_LR * (-psi - steps * lr * (TRUTH - 2 * theta)), rel=1e-12)
    assert after[1] == pytest.approx(psi - D_LR * (theta - TRUTH), rel=1e-12)


def test_unrolled_meta_gradient_equals_differences():
    spec, network = SampleSpec("points", (2,)), Mlp(width=8, depth=1, latent=2, activation="tanh")
    modules = {role: network.build(role, spec).double() for role in ("generator", "discriminator")}
    game = gan(modules, NonSaturating(), unroll=2, unroll_lr=0.1)
    assert meta_gradient_error(Maml(order=2, inner_lr=0.05, inner_optimiser=Sgd(), steps=2), game) < 1e-6


def test_unrolling_is_charged():
    """A generator's step that foresees n discriminator steps: n gradients more, and their pull-backs."""
    spent = []
    for steps in (0, 3):
        game = gan({"generator": DiracGenerator(), "discriminator": DiracCritic()}, Wasserstein(), unroll=steps)
        learner = Maml(order=1, inner_optimiser=Sgd())
        engine, meta = Engine(game, learner), learner.init(torch.Generator(), game)
        episodes = {part: {"x": torch.full((2, 3, 1), TRUTH, dtype=torch.float64)} for part in ("support", "query")}
        engine.rollout(meta, episodes, draws(2), steps=1, order=1)
        spent.append(engine.gradient_evaluations)
    assert spent == [2 * 2, 2 * (2 + 3 + 3)]


def test_unrolling_needs_an_opponent_that_adapts():
    learner = Maml(order=1, adapts=("generator.*",), inner_optimiser=Sgd())
    with pytest.raises(ContractError, match="unrolling takes steps of the discriminator"):
        dirac_step(learner, unroll=1)


class Box:
    """Weights of the critic stay in [-limit, limit]."""

    def __init__(self, limit):
        self.limit = limit

    def project(self, player, name, weight):
        return weight.clamp(-self.limit, self.limit)


def test_projection_holds_after_adaptation_steps_and_outer_steps_and_for_its_player_alone():
    game, learner, episodes = SmallGan(), Maml(order=1, inner_lr=0.5, inner_optimiser=Sgd(), outer_lr=0.5), small_episodes()
    free, bound = Engine(game, learner), Engine(game, learner, rules=[Box(0.05)])
    meta = learner.init(torch.Generator(), game)
    ends = [engine.rollout(meta, episodes, small_draws(), steps=1, order=1).params for engine in (free, bound)]
    assert largest_difference(ends[1]["discriminator"], tree_map(lambda w: w.clamp(-0.05, 0.05), ends[0]["discriminator"])) == 0
    metas = [engine.outer_step(meta, episodes, Outer(learner), small_draws())[0]["initial"] for engine in (free, bound)]
    assert (
        max(leaf.abs().max() for _, leaf in leaves(metas[1]["discriminator"]))
        <= 0.05
        < max(leaf.abs().max() for _, leaf in leaves(metas[0]["discriminator"]))
    )
    assert max(leaf.abs().max() for _, leaf in leaves(metas[1]["generator"])) > 0.05


class Halved:
    """The critic runs with half of its weights."""

    def reparametrise(self, player, module, weights):
        return {name: weight / 2 for name, weight in weights.items()}


def test_reparametrised_losses_are_those_of_the_other_weights():
    game, learner, episodes = SmallGan(), Maml(), small_episodes()
    meta = learner.init(torch.Generator(), game)
    half = {"initial": {**meta["initial"], "discriminator": tree_map(lambda w: w / 2, meta["initial"]["discriminator"])}}
    values = []
    for start, rules in ((half, []), (meta, [Halved()])):
        engine = Engine(game, learner, rules=rules)
        begun = engine.begin(start, episodes["support"], small_draws())
        values.append(engine.losses(start, begun.params, episodes["query"], {}, small_draws())[0])
    assert all(torch.equal(values[0][player], values[1][player]) for player in game.players)


# ------------------------------------------------------------------ zero steps, scope, optimisers
def test_zero_adaptation_steps_is_the_joint_gan_step():
    """Oracle O4."""
    game = SmallGan()
    meta = Finetune().init(torch.Generator(), game)
    episodes, draws = small_episodes(), small_draws()

    def joint(m, e, d):
        start = engine.begin(m, e["support"], d)
        return engine.losses(m, start.params, e["query"], start.state, d.at("query"))[0]

    learner = replace(Maml(inner_optimiser=Sgd()), steps=0)
    engine = Engine(game, learner)
    got, _ = engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, episodes, draws)
    want, _ = engine.meta_gradient(joint, meta, episodes, draws)
    assert largest_difference(got, want) == 0


def test_zero_learning_rates_are_zero_steps():
    game, meta = SmallGan(), Finetune().init(torch.Generator(), SmallGan())
    still = Maml(inner_lr=0.0, inner_optimiser=Sgd(), steps=3)
    none = replace(still, steps=0)
    grads = []
    for learner in (still, none):
        engine = Engine(game, learner)
        grads.append(
            engine.meta_gradient(lambda m, e, d, a=learner, b=engine: a.objective(b, m, e, d), meta, small_episodes(), small_draws())[0]
        )
    assert largest_difference(*grads) < 1e-12


def test_the_generators_meta_step_leaves_the_discriminator_alone():
    game, learner = SmallGan(), Maml(inner_optimiser=Sgd())
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)
    gradient, _ = engine.meta_gradient(
        lambda m, e, d: {"generator": learner.objective(engine, m, e, d)["generator"]}, meta, small_episodes(), small_draws()
    )
    assert all(not leaf.any() for _, leaf in leaves(gradient["initial"]["discriminator"]))
    assert any(leaf.any() for _, leaf in leaves(gradient["initial"]["generator"]))


def test_own_path_is_another_meta_gradient_for_a_game():
    game, grads = SmallGan(), []
    for choice in ("full", "own-path"):
        learner = Maml(inner_optimiser=Sgd(), inner_lr=0.1, steps=3, cross_player=choice)
        engine = Engine(game, learner)
        meta = learner.init(torch.Generator(), game)
        grads.append(
            engine.meta_gradient(lambda m, e, d, a=learner, b=engine: a.objective(b, m, e, d), meta, small_episodes(), small_draws())[0]
        )
    assert largest_difference(*grads) > 1e-3


def test_first_order_maml_equals_maml_with_constant_inner_gradients():
    """J = I: the meta-gradient is the mean query gradient at phi_K."""
    game = SmallGan()
    learner = Maml(order=1, steps=3, inner_lr=0.1, inner_optimiser=Sgd())
    engine = Engine(game, learner)
    meta, episodes = learner.init(torch.Generator(), game), small_episodes()
    got, _ = engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, episodes, small_draws())
    end = engine.rollout(meta, episodes, small_draws(), steps=3, order=1)
    at_end, _ = engine.gradients(meta, end.params, episodes["query"], {}, small_draws().at("query"), game.players, 1)
    assert largest_difference(got["initial"], tree_map(lambda g: g.mean(0), at_end)) < 1e-12


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_inner_adam_is_torch_adam_where_no_gradient_vanishes(beta1):
    """eps inside the root instead of outside: equal to order eps."""
    weights = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs = weights.clone().requires_grad_()
    reference = torch.optim.Adam([theirs], lr=0.01, betas=(beta1, 0.99), eps=1e-12)
    optimiser = Adam(beta1=beta1, eps=1e-12)
    ours, state = {"w": weights.clone()}, optimiser.start({"w": weights})
    for step in range(5):
        reference.zero_grad()
        theirs.pow(4).sum().backward()
        reference.step()
        direction, state = optimiser.direction({"w": 4 * ours["w"] ** 3}, state, step)
        ours = {"w": ours["w"] - 0.01 * direction["w"]}
    assert torch.allclose(ours["w"], theirs, rtol=1e-10)


def test_inner_adam_has_a_derivative_at_a_zero_gradient():
    """A dead unit's gradient is exactly 0; sqrt(v) would give NaN at second order."""
    optimiser = Adam()
    grad = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    direction, _ = optimiser.direction({"w": grad}, optimiser.start({"w": grad.detach()}), 0)
    (derivative,) = torch.autograd.grad(direction["w"].sum(), grad)
    assert torch.isfinite(derivative).all()


def test_adapting_a_task_does_not_depend_on_what_was_adapted_before():
    """The inner optimiser's state starts anew (algorithms 5.15)."""
    game, learner = SmallGan(), Reptile(inner_optimiser=Adam(beta1=0.9))
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)
    first = engine.rollout(meta, small_episodes(), small_draws(), steps=3, order=1).params
    again = engine.rollout(meta, small_episodes(), small_draws(), steps=3, order=1).params
    assert largest_difference(first, again) == 0


# ------------------------------------------------------------------ the loss table (algorithms 2.24)
@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("minimax", 1.138248, -0.587745),
        ("non-saturating", 1.138248, 1.087745),
        ("least-squares", 1.4375, 1.625),
        ("wasserstein", -1.25, 0.5),
        ("hinge", 1.5, 0.5),
        ("relativistic", 0.671506, 1.921506),
        ("relativistic-average", 0.362046, 1.612046),
    ],
)
def test_loss_table(name, discriminator, generator):
    real, fake = torch.tensor([2.0, -0.5]).double(), torch.tensor([-1.5, 0.5]).double()
    loss = GAN_LOSSES[name]()
    assert loss.discriminator_loss(real, fake).item() == pytest.approx(discriminator, abs=1e-6)
    assert loss.generator_loss(real, fake).item() == pytest.approx(generator, abs=1e-6)


def test_undecided_logits():
    zero = torch.zeros(2).double()
    assert NonSaturating().discriminator_loss(zero, zero).item() == pytest.approx(1.386294, abs=1e-6)
    assert GAN_LOSSES["hinge"]().discriminator_loss(zero, zero).item() == 2
    assert GAN_LOSSES["least-squares"]().discriminator_loss(zero, zero).item() == 0.5
    assert Wasserstein().discriminator_loss(zero, zero).item() == 0
