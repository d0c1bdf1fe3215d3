"""Baselines by joint training: what adaptation makes of them, and where their samples come from."""

from dataclasses import replace

import pytest
import torch

from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, identical, largest_difference, small_draws, small_episodes
from bench.trees import tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import EmaFinetune, Finetune, NoAdapt


class TestNoAdapt(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return NoAdapt()


class TestEmaFinetune(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return EmaFinetune(inner_lr=0.05, inner_optimiser=Adam(eps=1e-2))


class TestCarriedEmaFinetune(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return EmaFinetune(inner_lr=0.05, inner_state="carried")


def started(learner, vectorise=True):
    game = SmallGan()
    return Engine(game, learner, vectorise=vectorise), learner.init(torch.Generator(), game)


def adapted(learner, steps):
    engine, meta = started(learner)
    return engine, meta, engine.rollout(meta, small_episodes(), small_draws(), steps=steps, order=1)


def samples(learner, steps):
    engine, meta, end = adapted(learner, steps)
    return engine.sample(meta, end, 6, small_draws().at("evaluation"), small_episodes()["query"])


def test_without_adaptation_samples_are_the_same_at_every_step():
    start, later = (samples(NoAdapt(), steps) for steps in (0, 7))
    assert torch.equal(start, later)
    assert torch.equal(start, samples(Finetune(), 0))


def test_no_adapt_and_finetune_train_alike():
    """They differ in what held-out tasks make of theta, so in nothing before."""
    ends = []
    for learner in (NoAdapt(), Finetune(), EmaFinetune()):
        engine, meta = started(learner)
        outer = Outer(learner)
        for outer.step in range(3):
            meta, _ = engine.outer_step(meta, small_episodes(), outer, small_draws().at(outer.step))
        ends.append(meta)
    assert all(identical(end, ends[0]) for end in ends[1:])


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.8])
def test_the_average_is_the_geometric_sum_of_the_path(decay):
    """e_K = decay^K theta + sum_k (1 - decay) decay^(K - k) phi_k; its weights sum to 1, so no bias is left to correct."""
    steps = 5
    learner = EmaFinetune(decay=decay, inner_lr=0.05)
    engine, meta, end = adapted(learner, steps)
    weights = [decay**steps, *((1 - decay) * decay ** (steps - k) for k in range(1, steps + 1))]
    assert sum(weights) == pytest.approx(1, rel=1e-12)
    expected = tree_map(lambda *path: sum(w * phi for w, phi in zip(weights, path, strict=True)), *end.path)
    assert largest_difference(learner.deploy(meta, end.params, end.inner), expected) < 1e-12


def test_averaging_changes_samples_and_not_the_path():
    averaged, plain = (adapted(learner, 4) for learner in (EmaFinetune(inner_lr=0.05), Finetune(inner_lr=0.05)))
    assert identical(averaged[2].params, plain[2].params)
    assert not torch.equal(samples(EmaFinetune(inner_lr=0.05), 4), samples(Finetune(inner_lr=0.05), 4))


def test_an_average_without_memory_is_fine_tuning():
    learner = EmaFinetune(inner_lr=0.05, inner_optimiser=Sgd(), decay=0.0)
    assert torch.equal(samples(learner, 4), samples(Finetune(inner_lr=0.05, inner_optimiser=Sgd()), 4))


def test_samples_come_from_theta_before_the_first_step():
    assert torch.equal(samples(replace(EmaFinetune(), decay=0.8), 0), samples(Finetune(), 0))
