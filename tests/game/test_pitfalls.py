"""What authors get wrong is refused with a cure, or caught by comparing."""

import pytest
import torch
from torch import nn

from bench.errors import ContractError
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import SmallGan, small_draws, small_episodes, small_networks
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Maml
from bench_builtin.regularisers import OuterClip, OuterWeightDecay


def learner_with(update):
    class Careless(Maml):
        def update(self, meta, player, step, params, grads, inner, support):
            return update(params, grads, inner)

    return Careless(inner_optimiser=Sgd())


def adapt(learner, game=None, vectorise=True):
    game = game or SmallGan()
    engine = Engine(game, learner, vectorise=vectorise)
    return engine.rollout(learner.init(torch.Generator(), game), small_episodes(), small_draws(), steps=1, order=2)


def stepped(params, grads):
    return tree_map(lambda p, g: p - 0.1 * g, params, grads)


def in_place(params, grads, inner):
    for name in grads:
        grads[name].mul_(0.5)
    return stepped(params, grads), inner


@pytest.mark.parametrize(
    ("update", "cure"),
    [
        (lambda p, g, i: (tree_map(lambda a, b: a - 0.1 * b if b.norm() > 1 else a, p, g), i), "torch.where"),
        (lambda p, g, i: (tree_map(lambda a, b: a - 0.1 * b / b.norm().item(), p, g), i), "keep tensors"),
        (lambda p, g, i: (tree_map(lambda a, b: a - 0.1 * b + torch.randn_like(a), p, g), i), "take noise from `draws`"),
        (in_place, "changed one of its arguments in place"),
        (lambda p, g, i: ({name: p[name] for name in list(p)[:2]}, i), "return every leaf it was given"),
        (lambda p, g, i: (stepped(p, g), {"momentum": g}), "return every leaf it was given"),
        (lambda p, g, i: stepped(p, g), "must return a pair"),
        (lambda p, g, i: (stepped(p, g), {"count": 1}), "must be a tensor"),
    ],
    ids=["if on a tensor", "item", "randn", "in place", "lost layers", "grown inner state", "no pair", "int leaf"],
)
def test_careless_updates_are_refused_with_a_cure(update, cure):
    with pytest.raises(ContractError, match=cure):
        adapt(learner_with(update))


@pytest.mark.parametrize(
    ("module", "cure"),
    [(nn.BatchNorm1d(8).double(), "running statistics"), (nn.Dropout(0.5), "dropout draws its own noise")],
    ids=["running statistics", "dropout"],
)
def test_layers_that_leak_between_tasks_are_refused(module, cure):
    with pytest.raises(ContractError, match=cure):
        Engine(SmallGan(modules=small_networks(norm=lambda: module)), Maml())


def test_a_loss_per_sample_is_refused():
    class PerSample:
        def discriminator_loss(self, real, fake):
            return real - fake

        def generator_loss(self, real, fake):
            return fake

    with pytest.raises(ContractError, match="take a mean over samples"):
        adapt(Maml(), SmallGan(loss=PerSample()))


def test_a_penalty_that_calls_autograd_is_refused():
    class Homemade:
        def penalty(self, player, play, state, draws):
            x = play.real.detach().requires_grad_()
            return torch.autograd.grad(play.logits(x).sum(), x, create_graph=True)[0].square().sum(), state

    with pytest.raises(ContractError, match=r"play\.input_gradient"):
        adapt(Maml(), SmallGan(penalties={"homemade": Homemade()}))


def test_an_objective_that_does_not_depend_on_meta_is_refused():
    game, learner = SmallGan(), Maml()
    engine = Engine(game, learner)
    with pytest.raises(ContractError, match="does not depend on meta"):
        engine.meta_gradient(lambda m, e, d: torch.zeros(3), learner.init(torch.Generator(), game), small_episodes(), small_draws())


def test_no_adaptation_is_an_error_rather_than_silence():
    class Deaf(SmallGan):
        def losses(self, weights, batch, players, state, draws):
            return {player: batch["x"].mean() for player in players}, state

    with pytest.raises((ContractError, RuntimeError)):
        adapt(Maml(), Deaf())


# ------------------------------------------------------------------ the outer update
def norms(gradient):
    return {player: float(sum(leaf.square().sum() for _, leaf in leaves(part)) ** 0.5) for player, part in gradient["initial"].items()}


def test_outer_clip_keeps_the_direction_and_bounds_the_norm():
    gradient = {"initial": {"generator": {"w": torch.tensor([3.0, 4.0])}, "discriminator": {"w": torch.tensor([0.3, 0.4])}}}
    clipped = OuterClip(norm=1.0).adjust_gradient({}, gradient)
    assert norms(clipped) == pytest.approx({"generator": 1.0, "discriminator": 0.5})
    assert torch.nn.functional.cosine_similarity(
        clipped["initial"]["generator"]["w"], gradient["initial"]["generator"]["w"], dim=0
    ) == pytest.approx(1)


@pytest.mark.parametrize("decoupled", [True, False])
def test_outer_weight_decay_on_a_zero_gradient_is_geometric(decoupled):
    """theta (1 - lr weight)^t (algorithms 2.14)."""
    learner = Maml(outer_optimiser=Sgd(), outer_lr=0.5)
    outer = Outer(learner, [OuterWeightDecay(weight=0.2, decoupled=decoupled)])
    meta = {"initial": {"generator": {"w": torch.ones(2, dtype=torch.float64)}}}
    for outer.step in range(3):
        meta = outer.descend(meta, tree_map(torch.zeros_like, meta))
    assert meta["initial"]["generator"]["w"].tolist() == pytest.approx([(1 - 0.5 * 0.2) ** 3] * 2)


@pytest.mark.parametrize(("schedule", "factors"), [("constant", [1, 1, 1]), ("linear", [1, 0.5, 0.2]), ("late-linear", [1, 1, 0.4])])
def test_outer_schedules(schedule, factors):
    learner = Maml(outer_optimiser=Sgd(), outer_lr=1.0, outer_schedule=schedule)
    outer, meta = Outer(learner), {"initial": {"generator": {"w": torch.zeros(1)}}}
    for progress, factor in zip((0.0, 0.5, 0.8), factors, strict=True):
        outer.progress = progress
        after = outer.descend(meta, tree_map(torch.ones_like, meta))
        assert after["initial"]["generator"]["w"].item() == pytest.approx(-factor)


def test_players_may_have_outer_rates_of_their_own():
    learner = Maml(outer_optimiser=Sgd(), outer_lr={"generator": 1.0, "discriminator": 0.1})
    meta = {"initial": {"generator": {"w": torch.zeros(1)}, "discriminator": {"w": torch.zeros(1)}}}
    after = Outer(learner).descend(meta, tree_map(torch.ones_like, meta))["initial"]
    assert (after["generator"]["w"].item(), after["discriminator"]["w"].item()) == pytest.approx((-1.0, -0.1))


def test_a_part_of_meta_may_have_an_outer_rate_of_its_own():
    learner = Maml(outer_optimiser=Sgd(), outer_lr={"generator": 1.0, "rates": 0.1})
    meta = {part: {"generator": {"w": torch.zeros(1)}} for part in ("initial", "rates")}
    after = Outer(learner).descend(meta, tree_map(torch.ones_like, meta))
    assert (after["initial"]["generator"]["w"].item(), after["rates"]["generator"]["w"].item()) == pytest.approx((-1.0, -0.1))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"generater": 0.1, "discriminator": 0.1}, "'generater' is neither a player nor a part of meta: discriminator, generator, initial"),
        ({"generator": 0.1}, "no rate for initial.discriminator.w: got rates for generator"),
        ({}, "got rates for nobody"),
    ],
)
def test_outer_rates_that_hide_a_typo_are_refused(rates, message):
    meta = {"initial": {"generator": {"w": torch.zeros(1)}, "discriminator": {"w": torch.zeros(1)}}}
    with pytest.raises(ContractError, match=message):
        Outer(Maml(outer_lr=rates)).descend(meta, meta)


def test_inner_rates_of_unknown_players_are_refused():
    with pytest.raises(ContractError, match="inner_lr: 'critic' is no player of this game: generator, discriminator"):
        Maml(inner_lr={"generator": 0.1, "discriminator": 0.1, "critic": 0.1}).init(torch.Generator(), SmallGan())


def test_a_learner_that_descends_without_an_optimiser_is_told_so():
    class Bare:
        outer_lr = 0.1

    meta = {"initial": {"generator": {"w": torch.zeros(1)}}}
    with pytest.raises(ContractError, match=r"Bare calls outer.descend, which reads its attribute outer_optimiser"):
        Outer(Bare()).descend(meta, meta)
