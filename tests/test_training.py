"""The outer loop's accounts: operations counted against arithmetic."""

import pytest
import torch
from torch import nn

from bench.contracts import Parts
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.trial.training import flops_of_outer_step
from bench_builtin.games import Regression
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Maml, Reptile

TASKS, SHOTS, INPUTS, OUTPUTS, STEPS = 3, 10, 4, 5, 2


def linear_regression():
    model = nn.Linear(INPUTS, OUTPUTS)
    return Regression().bind(Parts(modules={"model": model}, critic=Critic))


def episodes():
    part = {"x": torch.randn(TASKS, SHOTS, INPUTS), "y": torch.randn(TASKS, SHOTS, OUTPUTS)}
    return {"support": part, "query": part}


@pytest.mark.parametrize(
    ("learner", "products"),
    [
        (Reptile(uses="support", steps=STEPS, inner_optimiser=Sgd()), 2 * STEPS),  # forward and weight gradient a step
        (Maml(order=1, steps=STEPS, inner_optimiser=Sgd()), 2 * STEPS + 2),  # and the same once on the query
    ],
    ids=["reptile", "first-order maml"],
)
def test_operations_of_a_linear_model_are_its_matrix_products(learner, products):
    engine = Engine(linear_regression(), learner)
    meta = learner.init(torch.Generator(), engine.game)
    counted = flops_of_outer_step(engine, meta, episodes(), Draws(torch.arange(TASKS), torch.float32))
    assert counted == TASKS * products * 2 * SHOTS * INPUTS * OUTPUTS


def test_counting_costs_no_gradient_evaluations():
    learner = Reptile(inner_optimiser=Sgd())
    engine = Engine(linear_regression(), learner)
    flops_of_outer_step(engine, learner.init(torch.Generator(), engine.game), episodes(), Draws(torch.arange(TASKS), torch.float32))
    assert engine.gradient_evaluations == 0
