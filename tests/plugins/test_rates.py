"""Learned update strategies against MAML, closed forms and limits."""

from dataclasses import replace

import pytest
import torch

from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners.maml import Maml
from bench_builtin.meta_learners.rates import Alfa, MamlPlusPlus, MetaSgd, clipped

INSIDE = {"inner_lr": {"generator": 0.05, "discriminator": 0.1}, "inner_optimiser": Sgd()}
ADAM = {"inner_lr": 0.01, "inner_optimiser": Adam(eps=1e-2)}
LAST_ONLY = {"multi_step_loss": False, "first_order": 0.0}


def meta_of(learner):
    return learner.init(torch.Generator().manual_seed(3), SmallGan())


def gradient_of(learner, meta, **progress):
    engine = Engine(SmallGan(), learner, adaptation_steps=3)
    return engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d, **progress), meta, small_episodes(), small_draws())[0]


def adapted(learner, meta, steps=3):
    return Engine(SmallGan(), learner).rollout(meta, small_episodes(), small_draws(), steps=steps, order=1)


def shaken(meta, scale=0.3):
    """``meta`` moved at random: what holds at the start must hold everywhere else too."""
    rng = torch.Generator().manual_seed(9)
    return tree_map(lambda leaf: leaf + scale * torch.randn(leaf.shape, generator=rng, dtype=leaf.dtype), meta)


# ------------------------------------------------------------------ MAML is the start of them all
@pytest.mark.parametrize("inside", [INSIDE, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("learner", "options"),
    [(MetaSgd, {}), (MamlPlusPlus, LAST_ONLY), (MamlPlusPlus, LAST_ONLY | {"learned_rates": False}), (Alfa, {"learned": ()})],
    ids=["meta-sgd", "maml++", "maml++ without rates", "alfa that generates nothing"],
)
def test_with_constant_rates_each_is_maml_to_the_bit(learner, options, order, inside):
    mine, maml = learner(steps=3, order=order, **inside, **options), Maml(steps=3, order=order, **inside)
    meta = meta_of(mine)
    assert largest_difference(adapted(mine, meta).params, adapted(maml, meta_of(maml)).params) == 0
    assert largest_difference(gradient_of(mine, meta)["initial"], gradient_of(maml, meta_of(maml))["initial"]) == 0


def test_alfa_starts_as_maml_where_only_rates_are_generated():
    alfa, maml = Alfa(steps=3, learned=("rate",), **INSIDE), Maml(steps=3, **INSIDE)
    assert largest_difference(adapted(alfa, meta_of(alfa)).params, adapted(maml, meta_of(maml)).params) == 0


# ------------------------------------------------------------------ Meta-SGD
def test_gradient_of_a_rate_is_minus_query_gradient_times_support_gradient():
    """One SGD step, players at once: dJ/dalpha = - mean_i grad L^Q(phi) o grad L^S(theta), alpha = inner_lr * rate (algorithms 2.5)."""
    game, learner = SmallGan(order="simultaneous"), MetaSgd(steps=1, **INSIDE)
    engine, meta = Engine(game, learner), meta_of(learner)
    episodes, draws = small_episodes(), small_draws()
    gradient, _ = engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, episodes, draws)
    start = engine.begin(meta, episodes["support"], draws)
    end = engine.rollout(meta, episodes, draws, steps=1, order=1)
    support, _ = engine.gradients(meta, start.params, episodes["support"], {}, draws.at("support", 0, 0), game.players, 1)
    query, _ = engine.gradients(meta, end.params, episodes["query"], {}, draws.at("query"), game.players, 1)
    for player, lr in INSIDE["inner_lr"].items():
        want = tree_map(lambda q, s, lr=lr: -lr * (q * s).mean(0), query[player], support[player])
        assert largest_difference(gradient["rates"][player], want) < 1e-12


def test_a_rate_that_turned_negative_climbs():
    learner = MetaSgd(**INSIDE)
    meta = meta_of(learner)
    negative = {**meta, "rates": tree_map(torch.negative, meta["rates"])}
    game = SmallGan(order="simultaneous")  # alternating players would meet other opponents
    down, up = (Engine(game, learner).rollout(m, small_episodes(), small_draws(), steps=1, order=1).params for m in (meta, negative))
    mirrored = tree_map(lambda end, theta: 2 * theta - end, down, meta["initial"])
    assert largest_difference(up, mirrored) < 1e-12


# ------------------------------------------------------------------ MAML++
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("annealing", [0.0, 0.1, 1.0])
def test_weights_of_the_judged_steps_sum_to_one_all_along(steps, annealing):
    learner = MamlPlusPlus(steps=steps, loss_annealing=annealing)
    for progress in (0.0, 0.03, 0.1, 0.5, 1.0):
        weights = learner.loss_weights(progress)
        assert len(weights) == steps
        assert sum(weights) == pytest.approx(1.0, rel=1e-12)
        assert min(weights) > 0


def test_weights_of_the_judged_steps_have_the_papers_limits():
    """1/K each at first; 0.03/K before the last step at the end; halfway between, half of the first."""
    learner = MamlPlusPlus(steps=5, loss_annealing=0.2)
    assert learner.loss_weights(0.0) == pytest.approx([0.2] * 5)
    assert learner.loss_weights(0.1) == pytest.approx([0.1] * 4 + [0.6])
    for late in (0.2, 1.0):
        assert learner.loss_weights(late) == pytest.approx([0.006] * 4 + [0.976])


def test_multi_step_loss_is_the_weighted_sum_of_shorter_adaptations():
    """J = sum_k w_k J(phi_k), and J(phi_k) is what an adaptation of k steps ends with."""
    learner = MamlPlusPlus(steps=3, loss_annealing=1.0, first_order=0.0, learned_rates=False, **INSIDE)
    meta = meta_of(learner)
    parts = [gradient_of(Maml(steps=k, **INSIDE), meta) for k in (1, 2, 3)]
    want = tree_map(lambda *g: sum(w * one for w, one in zip(learner.loss_weights(0.4), g, strict=True)), *parts)
    assert largest_difference(gradient_of(learner, meta, progress=0.4), want) < 1e-12


def test_own_path_weighs_the_steps_too():
    learner = MamlPlusPlus(steps=2, first_order=0.0, learned_rates=False, cross_player="own-path", **INSIDE)
    meta = meta_of(learner)
    parts = [gradient_of(Maml(steps=k, cross_player="own-path", **INSIDE), meta) for k in (1, 2)]
    assert largest_difference(gradient_of(learner, meta), tree_map(lambda a, b: (a + b) / 2, *parts)) < 1e-12


def test_derivative_order_changes_at_the_share_of_the_budget():
    learner = MamlPlusPlus(steps=3, first_order=0.25, **INSIDE)
    meta = meta_of(learner)
    for progress, order in ((0.0, 1), (0.24, 1), (0.25, 2), (1.0, 2)):
        fixed = replace(learner, first_order=0.0, order=order)
        assert largest_difference(gradient_of(learner, meta, progress=progress), gradient_of(fixed, meta, progress=progress)) == 0
    assert replace(learner, order=1).order_at(1.0) == 1


def test_each_step_has_a_rate_and_longer_adaptation_reuses_the_last():
    """Rates 1, 0, 0, ... reach what one step reaches; with the last rate 0 nothing moves after training's length."""
    learner = MamlPlusPlus(steps=3, **INSIDE)
    meta = meta_of(learner)
    only_first = {**meta, "rates": tree_map(lambda r: r * torch.tensor([1.0, 0.0, 0.0], dtype=r.dtype), meta["rates"])}
    one = adapted(learner, only_first, steps=1).params
    assert largest_difference(adapted(learner, only_first, steps=7).params, one) == 0
    only_last = {**meta, "rates": tree_map(lambda r: r * torch.tensor([0.0, 0.0, 1.0], dtype=r.dtype), meta["rates"])}
    still, once, twice = (adapted(learner, only_last, steps=k).params for k in (2, 3, 4))
    assert largest_difference(still, adapted(learner, meta, steps=0).params) == 0
    assert largest_difference(once, still) > 1e-3
    assert largest_difference(twice, once) > 1e-3


def test_every_judged_step_is_charged():
    """K inner gradients a player, and pulling back: K more and K judged steps for each of two players."""
    counts = []
    for options in ({}, {"multi_step_loss": False}):
        learner = MamlPlusPlus(steps=4, first_order=0.0, **INSIDE, **options)
        engine = Engine(SmallGan(), learner)
        engine.outer_step(meta_of(learner), small_episodes(), Outer(learner), small_draws())
        counts.append(engine.gradient_evaluations)
    tasks, steps, players = 3, 4, 2
    inner = steps * players
    assert counts == [tasks * (inner + players * (steps + inner)), tasks * (inner + players * (1 + inner))]


# ------------------------------------------------------------------ ALFA
def test_a_constant_generator_is_maml_with_decay():
    """phi_K = theta b^K - a sum_j b^(K-1-j) grad_j, with a and b from the biases of the output layer alone."""
    learner = Alfa(steps=4, learned=("rate", "decay"), decay=0.5, **INSIDE)
    meta, shift = meta_of(learner), {"rate": 0.7, "decay": -0.4}
    for player, strategy in meta["strategy"].items():
        layers = len(meta["initial"][player])
        strategy["network"]["output"]["bias"] = torch.tensor([shift["rate"]] * layers + [shift["decay"]] * layers).double()
    engine, episodes, draws = Engine(SmallGan(order="simultaneous"), learner), small_episodes(), small_draws()
    end = engine.rollout(meta, episodes, draws, steps=4, order=1)
    factor = {what: 2 * torch.sigmoid(torch.tensor(value).double()) for what, value in shift.items()}
    for player, lr in INSIDE["inner_lr"].items():
        a, b = lr * factor["rate"], 1 - lr * 0.5 * factor["decay"]
        want = tree_map(lambda theta, b=b: theta * b**4, end.path[0][player])
        for k in range(4):
            grads, _ = engine.gradients(meta, end.path[k], episodes["support"], {}, draws.at("support", k, 0), (player,), 1)
            want = tree_map(lambda w, g, a=a, b=b, k=k: w - a * b ** (3 - k) * g, want, grads[player])
        assert largest_difference(end.params[player], want) < 1e-12


def test_what_is_generated_stays_between_zero_and_twice_the_learned_factor():
    """Whatever the state: gradients of 1e6, weights of 1e6, a network far from its start."""
    learner = Alfa(steps=3, **INSIDE)
    meta = shaken(meta_of(learner), scale=3.0)
    theta, strategy = meta["initial"]["generator"], meta["strategy"]["generator"]
    for size in (0.0, 1.0, 1e6, -1e6):
        grown = tree_map(lambda w, size=size: size * w, theta)
        for step in (0, 2, 50):
            generated = learner.generated(strategy, grown, grown, step)
            bounds = tree_map(lambda f, step=step: 2 * f[min(step, 2)].exp(), strategy["log_factors"])
            for (_, value), (_, bound) in zip(leaves(generated), leaves(bounds), strict=True):
                assert 0 <= value <= bound


def test_the_strategy_sees_the_state():
    """Another gradient, or other weights, give other rates; at the start no state changes them."""
    learner = Alfa(steps=3, learned=("rate",), **INSIDE)
    meta = meta_of(learner)
    theta = meta["initial"]["discriminator"]
    other = tree_map(lambda w: w + 1.0, theta)
    for start, same in ((meta, True), (shaken(meta), False)):
        strategy = start["strategy"]["discriminator"]
        first, by_gradient, by_weights = (learner.generated(strategy, p, g, 0) for p, g in ((theta, theta), (theta, other), (other, theta)))
        assert (largest_difference(by_gradient, first) == 0) == same
        assert (largest_difference(by_weights, first) == 0) == same


@pytest.mark.parametrize("rms", [0.5, 2.0, 50.0])
def test_clipping_keeps_direction_and_bounds_its_size(rms):
    direction = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction = direction * rms / direction.square().mean().sqrt()
    short = clipped(direction, torch.tensor(1.5, dtype=torch.float64))
    assert short.square().mean().sqrt().item() == pytest.approx(min(rms, 1.5), rel=1e-10)
    assert torch.cosine_similarity(short.flatten(), direction.flatten(), dim=0).item() == pytest.approx(1.0, rel=1e-12)


def test_clipping_has_a_derivative_at_a_zero_direction():
    direction = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(clipped(direction, torch.tensor(1.0).double()).sum(), direction)
    assert torch.equal(slope, torch.ones(3, dtype=torch.float64))


def test_alfas_generated_clipping_bounds_a_step():
    """Rate a, threshold c: no layer moves by more than a c in root mean square."""
    learner = Alfa(steps=1, learned=("clipping",), clip=1e-3, **INSIDE)
    meta = meta_of(learner)
    end = adapted(learner, meta, steps=1)
    for (path, after), (_, before) in zip(leaves(end.params), leaves(end.path[0]), strict=True):
        moved = (after - before).flatten(1).square().mean(1).sqrt()
        assert (moved <= INSIDE["inner_lr"][path[0]] * 1e-3 * (1 + 1e-9)).all()
        assert (moved > 0).all()


# ------------------------------------------------------------------ a speed of their own
def test_the_outer_rate_may_name_the_learned_rates():
    learner = MetaSgd(**INSIDE, outer_optimiser=Sgd(), outer_lr={"generator": 0.0, "discriminator": 0.0, "rates": 0.1})
    meta = meta_of(learner)
    after, _ = Engine(SmallGan(), learner).outer_step(meta, small_episodes(), Outer(learner), small_draws())
    assert largest_difference(after["initial"], meta["initial"]) == 0
    assert largest_difference(after["rates"], meta["rates"]) > 0


# ------------------------------------------------------------------ contracts
class TestMetaSgd(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return MetaSgd(steps=2, **INSIDE)


class TestFirstOrderMetaSgdWithAdam(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return MetaSgd(order=1, **ADAM)


class TestMamlPlusPlus(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return MamlPlusPlus(steps=3, first_order=0.0, **INSIDE)


class TestMamlPlusPlusThatBeginsWithTheFirstOrder(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return MamlPlusPlus(steps=3, **INSIDE)


class TestMamlPlusPlusWithAdam(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return MamlPlusPlus(steps=2, first_order=0.0, **ADAM)


class TestAlfa(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Alfa(steps=2, decay=0.1, **INSIDE)


class TestAlfaOnItsOwnPath(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Alfa(steps=2, cross_player="own-path", **INSIDE)


class TestAlfaThatClips(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Alfa(steps=2, learned=("rate", "clipping"), clip=0.05, **ADAM)
