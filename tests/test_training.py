"""The outer loop: its accounts, and that neither a stop nor a smaller budget before leaves a trace in what it ends with."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from bench.contracts import Parts
from bench.errors import ContractError
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import SmallGan, small_episodes
from bench.trees import flatten, tree_map
from bench.trial import training as outer_loop
from bench.trial.places import is_due, spacing, thinned
from bench.trial.rows import Rows
from bench.trial.training import Validation, flops_of_outer_step, meta_train
from bench_builtin.games import Regression
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Finetune, Hypernetwork, Maml, MamlPlusPlus, Reptile

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


# ------------------------------------------------------------------ where curves are taken
@given(st.floats(1e-3, 1e9), st.integers(1, 1000))
def test_a_spacing_is_the_smallest_power_of_two_with_few_enough_multiples(amount, most):
    unit = spacing(amount, most)
    assert math.frexp(unit)[0] == 0.5
    assert amount / unit <= most < amount / (unit / 2)


def taken(costs, amount, most):
    """Places of a training whose outer steps cost so much, its end included, as :func:`meta_train` takes them."""
    places, spent, step = [], 0, 0
    for step, cost in enumerate(costs):
        if spent >= amount:
            break
        if is_due(spent, places, spacing(amount, most)):
            places.append((step, spent))
        spent += cost
    else:
        step = len(costs)
    return places, [*places, (step, spent)] if places[-1][0] != step else places


@given(st.lists(st.integers(1, 9), min_size=30, max_size=60), st.integers(1, 30), st.integers(1, 30), st.integers(1, 10))
@settings(deadline=None, max_examples=50)
def test_a_longer_budgets_places_are_among_a_shorter_ones(costs, amount, more, most):
    _, short = taken(costs, amount, most)
    long, end = taken(costs, amount + more, most)
    assume(end[-1][0] > short[-1][0])  # one that ends at the same outer step is the same
    assert thinned(short, spacing(amount + more, most)) == [place for place in long if place[0] <= short[-1][0]]
    assert len(short) <= most + 2  # the start, and an end that is no multiple


# ------------------------------------------------------------------ going on
AXES = {"outer_steps": (9, 17), "gradient_evaluations": (90, 170)}
OUTSIDE = {"outer_lr": 0.01, "outer_optimiser": Adam(), "outer_schedule": "constant"}
GOES_ON = {
    "second-order maml": lambda: Maml(inner_lr=0.05, inner_optimiser=Sgd(), **OUTSIDE),
    "carried inner state": lambda: Reptile(inner_lr=0.02, inner_optimiser=Adam(), inner_state="carried", **OUTSIDE),
}


class Tasks:
    """Other episodes and draws at every outer step, equal for equal steps."""

    def training(self, replicate, step):
        return tree_map(lambda x: x + math.sin(step), small_episodes()), Draws(torch.arange(3) + 10 * step, torch.float64)


def trained(learner, axis, amount, **more):
    """Everything that a training on the small GAN ends with; its validations measure the meta parameters."""

    def measure(meta, step):
        rows = Rows()
        for name, leaf in flatten(meta).items():
            rows.add(split="meta-val", outer_step=step, metric=name, value=float(leaf.sum()))
        return rows

    engine = Engine(SmallGan(), learner, adaptation_steps=2)
    training = meta_train(
        engine,
        Tasks(),
        engine.init(torch.Generator().manual_seed(1)),
        Outer(learner),
        replicate=0,
        axis=axis,
        amount=amount,
        validation=Validation(3, measure),
        **more,
    )
    state = {"meta": training.meta, "outer": training.outer.state, "carried": engine.carried}
    counts = (training.step, training.spent, training.gradient_evaluations, training.samples_seen, training.flops)
    return {name: leaf.tolist() for name, leaf in flatten(state).items()}, training.rows.columns, counts, training.validated


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("learner", GOES_ON)
def test_a_prolonged_training_is_a_fresh_one(tmp_path, learner, axis):
    """Bit for bit, curves included, though the shorter one had taken other points of them."""
    short, long = AXES[axis]
    before = trained(GOES_ON[learner](), axis, short, checkpoint=tmp_path / "short")
    prolonged = trained(GOES_ON[learner](), axis, long, checkpoint=tmp_path / "long", shorter=tmp_path / "short")
    fresh = trained(GOES_ON[learner](), axis, long)
    assert prolonged == fresh
    assert before[0] != fresh[0]
    assert any(name.startswith("carried") for name in fresh[0]) == ("carried" in learner)
    assert {step for step, _ in before[-1]} - {step for step, _ in fresh[-1]}  # its end, at least


class StopError(Exception):
    pass


@pytest.mark.parametrize("stops_at", [1, 5, 9])
@pytest.mark.parametrize("learner", GOES_ON)
def test_a_training_that_is_stopped_anywhere_ends_as_if_it_had_not_been(tmp_path, monkeypatch, learner, stops_at):
    monkeypatch.setattr(outer_loop, "CHECKPOINT_SECONDS", 0.0)
    steps = itertools.count(1)

    def stop(progress):
        if next(steps) == stops_at:
            raise StopError

    with pytest.raises(StopError):
        trained(GOES_ON[learner](), "outer_steps", 9, checkpoint=tmp_path / "stopped", on_progress=stop)
    resumed = trained(GOES_ON[learner](), "outer_steps", 9, checkpoint=tmp_path / "stopped")
    assert resumed == trained(GOES_ON[learner](), "outer_steps", 9)


def horizon_use(learner, **more):
    game = SmallGan()
    training = meta_train(
        Engine(game, learner, adaptation_steps=2), Tasks(), learner.init(torch.Generator().manual_seed(1), game), Outer(learner),
        replicate=0, axis="outer_steps", amount=2, **more,
    )  # fmt: skip
    return training.horizon_use


@pytest.mark.parametrize(
    ("learner", "reason"),
    [
        (Maml(), ""),
        (Finetune(outer_schedule="constant"), ""),
        (Finetune(), "outer_schedule late-linear follows"),
        (Reptile(), "outer_schedule linear follows"),
        (MamlPlusPlus(outer_schedule="constant"), "MamlPlusPlus reads which share of the budget is spent"),
        (Hypernetwork(code=2, width=2, rank=1, sample_size=2), ""),
        (Hypernetwork(code=2, width=2, rank=1, sample_size=2, training="two-stage"), "Hypernetwork reads which share"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_looks_at_the_whole_budget_is_noticed(learner, reason):
    found = horizon_use(learner)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_a_checkpoint_that_validations_choose_depends_on_where_they_lie():
    assert "chosen among validations" in horizon_use(Maml(), validation=Validation(1, lambda meta, step: Rows(), lambda rows: 0.0))


def test_an_unknown_schedule_names_the_known():
    learner = Maml()
    object.__setattr__(learner, "outer_schedule", "cosinus")
    with pytest.raises(ContractError, match=r"Maml\.outer_schedule is 'cosinus'; it must be one of constant, linear"):
        Outer(learner)
