"""Recomputed steps: the same numbers and derivatives as remembered ones, for less memory and the same price."""

from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from bench.contracts import SampleSpec
from bench.game.engine import REMEMBERED, Engine
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Maml
from bench_builtin.networks import Mlp
from bench_builtin.regularisers import GradientPenalty

LEARNERS = {
    "sgd": Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=3),
    "momentum": Maml(inner_lr=0.05, inner_optimiser=Sgd(momentum=0.9), steps=3),
    "adam": Maml(inner_lr=0.01, inner_optimiser=Adam(beta1=0.5, eps=1e-3), steps=3),
    "zero-sum": Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=3, meta_objective="zero-sum"),
    "own path": Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=3, cross_player="own-path"),
}


def differentiated(engine, objective, episodes=None):
    """Gradient and values of an objective, and what they cost."""
    meta = engine.learner.init(torch.Generator(), engine.game)
    engine.watched = {}
    gradient, values = engine.meta_gradient(objective, meta, episodes or small_episodes(), small_draws())
    return gradient, values, (engine.gradient_evaluations, engine.samples_seen, engine.watched)


def both_ways(game, learner, objective=None, **settings):
    """The same, with steps remembered and recomputed; ``objective(engine, meta, episodes, draws)``."""
    engines = [Engine(game, learner, remember=remember, **settings) for remember in (3, 2)]
    return [differentiated(e, lambda m, c, d, e=e: (objective or learner.objective)(e, m, c, d)) for e in engines]


@pytest.mark.parametrize("settings", [{}, {"vectorise": False}, {"task_chunk": 2}], ids=["vmap", "loop", "chunks"])
@pytest.mark.parametrize("third_order", [False, True], ids=["plain", "gradient penalty"])
@pytest.mark.parametrize("name", LEARNERS)
def test_recomputed_steps_have_the_same_values_derivatives_and_price(name, third_order, settings):
    game = SmallGan(penalties={"gp": GradientPenalty(weight=1.0)} if third_order else None)
    (gradient, values, price), (again, same, costs) = both_ways(game, LEARNERS[name], **settings)
    assert largest_difference(values, same) < 1e-13
    assert largest_difference(gradient, again) < 1e-12
    assert costs[:2] == price[:2]
    assert costs[2] == pytest.approx(price[2], rel=1e-12)


def test_every_step_on_the_way_may_be_judged():
    """The path of a recomputed rollout is differentiable too, as a loss of several steps needs it."""

    def along_the_way(engine, meta, chunk, draws):
        end = engine.rollout(meta, chunk, draws, steps=3, order=2)
        judged = [engine.losses(meta, params, chunk["query"], end.state, draws.at("query"))[0] for params in end.path]
        return {player: sum(values[player] * (k + 1) for k, values in enumerate(judged)) for player in engine.players}

    (gradient, _, price), (again, _, costs) = both_ways(SmallGan(), LEARNERS["sgd"], along_the_way)
    assert largest_difference(gradient, again) < 1e-12
    assert costs[0] == price[0]


class LearnedRates(Maml):
    """A rate per player that is learned: meta acts in the update itself."""

    def init(self, rng, game):
        return {**super().init(rng, game), "rate": {player: {"log": torch.tensor(-3.0).double()} for player in game.players}}

    def update(self, meta, player, step, params, grads, inner, support):
        return tree_map(lambda p, g: p - meta["rate"][player]["log"].exp() * g, params, grads), inner


def test_what_meta_does_inside_a_step_has_its_derivative():
    (gradient, *_), (again, *_) = both_ways(SmallGan(), LearnedRates(steps=3))
    assert largest_difference(gradient, again) < 1e-12
    assert all(leaf.abs() > 1e-4 for _, leaf in leaves(again["rate"]))


def test_a_support_that_depends_on_meta_has_its_derivative():
    """As where inputs are learned: the batch is an input of a step like any other."""

    def moved_support(engine, meta, chunk, draws):
        shift = meta["initial"]["generator"]["2.bias"]
        support = {"x": chunk["support"]["x"] + shift}
        end = engine.rollout(meta, {**chunk, "support": support}, draws, steps=3, order=2)
        return engine.losses(meta, end.params, chunk["query"], end.state, draws.at("query"))[0]

    (gradient, *_), (again, *_) = both_ways(SmallGan(), LEARNERS["sgd"], moved_support)
    assert largest_difference(gradient, again) < 1e-12


def test_long_rollouts_are_recomputed_and_short_ones_are_not():
    game, learner = SmallGan(), LEARNERS["sgd"]
    engine = Engine(game, learner)
    meta = tree_map(lambda leaf: leaf.requires_grad_(), learner.init(torch.Generator(), game))
    for steps, expected in ((REMEMBERED, False), (REMEMBERED + 1, True)):
        end = engine.rollout(meta, small_episodes(), small_draws(), steps=steps, order=2)
        assert ("_Recomputed" in end.params["generator"]["0.weight"].grad_fn.name()) == expected


# ------------------------------------------------------------------ memory
class Saved:
    """Bytes that autograd keeps alive for its backward passes: each storage once, now and at most so far."""

    def __init__(self):
        self.owners, self.now, self.peak = Counter(), 0, 0

    def pack(self, tensor):
        return _Kept(self, tensor.detach())  # the tensor itself would make a cycle

    def count(self, tensor, more):
        storage = tensor.untyped_storage()
        self.owners[storage.data_ptr()] += more
        if self.owners[storage.data_ptr()] == (1 if more > 0 else 0):
            self.now += more * storage.nbytes()
            self.peak = max(self.peak, self.now)


class _Kept:
    def __init__(self, saved, tensor):
        self.saved, self.tensor = saved, tensor
        saved.count(tensor, 1)

    def __del__(self):
        self.saved.count(self.tensor, -1)


def peak_bytes(steps, *, remember, momentum):
    spec = SampleSpec(kind="points", shape=(2,))
    modules = {role: Mlp(width=16, latent=2, activation="tanh").build(role, spec).double() for role in ("generator", "discriminator")}
    game, learner = SmallGan(modules=modules), Maml(inner_lr=0.01, inner_optimiser=Sgd(momentum=momentum), steps=steps)
    generator, saved = torch.Generator().manual_seed(0), Saved()
    episodes = {part: {"x": torch.randn((2, 32, 2), generator=generator).double()} for part in ("support", "query")}
    engine, meta = Engine(game, learner, remember=remember), learner.init(generator, game)
    with saved_tensors_hooks(saved.pack, lambda kept: kept.tensor):
        engine.meta_gradient(lambda m, c, d: learner.objective(engine, m, c, d), meta, episodes, small_draws(2))
    assert saved.now == 0  # nothing outlives the meta-gradient
    return saved.peak, sum(leaf.nbytes for _, leaf in leaves(meta)) * len(episodes["support"]["x"])


@pytest.mark.parametrize(("momentum", "kept"), [(0.0, 1), (0.9, 2)], ids=["parameters", "parameters and velocities"])
def test_a_recomputed_step_keeps_its_inputs_and_nothing_else(momentum, kept):
    """Peak memory of a whole meta-gradient grows by the bytes that a step moves, exactly; a remembered step keeps its graph."""
    (few, moved), (many, _) = (peak_bytes(steps, remember=0, momentum=momentum) for steps in (3, 8))
    assert many - few == 5 * kept * moved
    (few, _), (many, _) = (peak_bytes(steps, remember=8, momentum=momentum) for steps in (3, 8))
    assert many - few > 5 * 10 * moved


# ------------------------------------------------------------------ purity
@dataclass(frozen=True, kw_only=True)
class Forgetful(Maml):
    """Halves its steps after some calls, which it counts on the side."""

    calls: tuple[list[int], ...] = ([0],)

    def update(self, meta, player, step, params, grads, inner, support):
        self.calls[0][0] += 1
        lr = self.inner_lr * 0.5 ** (self.calls[0][0] > 12)
        return tree_map(lambda p, g: p - lr * g, params, grads), inner


def test_the_contract_tells_who_keeps_state_on_the_side():
    """A step that is not a pure function of its inputs would get the derivative of another step."""
    contract, game = MetaLearnerContract(), SmallGan()

    def tried(rule):
        learner = Forgetful(inner_lr=0.1, inner_optimiser=Sgd(), calls=([0],))
        with pytest.raises(AssertionError):
            rule(learner, game, learner.init(torch.Generator(), game))

    tried(contract.test_meta_gradient_is_the_same_however_it_is_computed)
    tried(contract.test_a_learner_is_nothing_but_its_settings)
