"""Inner optimisers that start anew for each task, and those that go on from outer step to outer step."""

from dataclasses import replace

import pytest
import torch

from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Maml, Reptile

GOES_ON = Reptile(  # outer SGD at rate 1: the next outer step starts where adaptation ended
    uses="support",
    inner_lr=0.02,
    inner_optimiser=Adam(beta1=0.9, beta2=0.99, eps=1e-12),
    inner_state="carried",
    outer_lr=1.0,
    outer_schedule="constant",
    outer_optimiser=Sgd(),
)


class Point(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.t = torch.nn.Parameter(torch.tensor([1.5, -0.5], dtype=torch.float64))


class Quartic:
    """L(t) = sum (t - c)^4: one player, no noise."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        self.modules = {"model": Point()}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        return {"model": (weights["model"]["t"] - batch["c"]).pow(4).sum()}, state


def outer_steps(learner, centres, steps=4):
    """theta after one outer step on each list of centres (T, 2)."""
    game = Quartic()
    engine, outer = Engine(game, learner, adaptation_steps=steps), Outer(learner)
    meta = learner.init(torch.Generator(), game)
    for outer.step, c in enumerate(centres):
        part = {"c": torch.tensor(c, dtype=torch.float64)}
        meta, _ = engine.outer_step(meta, {"support": part, "query": part}, outer, small_draws(len(c)))
    return meta["initial"]["model"]["t"], engine


def test_with_one_task_a_carried_adam_is_one_long_run_of_adam():
    """Moments and their bias correction go on, over an outer step with another task."""
    tasks = ([[0.2, 0.4]], [[-0.7, 1.0]])
    theirs = Point().t
    adam = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.99), eps=1e-12)
    for ((centre,),) in zip(tasks, strict=True):
        for _ in range(4):
            adam.zero_grad()
            (theirs - torch.tensor(centre).double()).pow(4).sum().backward()
            adam.step()
    ours, engine = outer_steps(GOES_ON, tasks)
    assert torch.allclose(ours, theirs, rtol=1e-9)
    assert engine.inner["model"]["moves"] == 8
    anew, _ = outer_steps(replace(GOES_ON, inner_state="reset"), tasks)
    assert not torch.allclose(anew, theirs, rtol=1e-3)


def test_tasks_hand_on_the_mean_of_their_states():
    """The velocity after one step of momentum is the gradient, so the next step starts with the tasks' mean gradient."""
    learner = replace(GOES_ON, inner_optimiser=Sgd(momentum=0.5))
    start, centres = Point().t.detach(), torch.tensor([[0.2, 0.4], [-0.7, 1.0], [2.0, 0.0]]).double()
    _, engine = outer_steps(learner, [centres.tolist()], steps=1)
    carried = engine.inner["model"]["optimiser"]["velocity"]["t"]
    assert torch.allclose(carried, (4 * (start - centres) ** 3).mean(0), rtol=1e-12)


@pytest.mark.parametrize(("inner_state", "remembers"), [("reset", False), ("carried", True)])
def test_only_a_carried_state_makes_adaptation_depend_on_what_came_before(inner_state, remembers):
    game, learner = SmallGan(), replace(GOES_ON, inner_state=inner_state)
    engine = Engine(game, learner)
    meta = learner.init(torch.Generator(), game)
    fresh = engine.rollout(meta, small_episodes(), small_draws(), steps=3, order=1).params
    engine.outer_step(meta, tree_map(lambda leaf: leaf + 1, small_episodes()), Outer(learner), small_draws())
    later = engine.rollout(meta, small_episodes(), small_draws(), steps=3, order=1).params
    assert (largest_difference(later, fresh) > 1e-3) == remembers


def test_chunks_of_tasks_carry_the_same_state():
    game, ends = SmallGan(), []
    for chunk in (None, 1, 2):
        engine = Engine(game, GOES_ON, task_chunk=chunk)
        engine.outer_step(GOES_ON.init(torch.Generator(), game), small_episodes(), Outer(GOES_ON), small_draws())
        ends.append(engine.carried)
    assert max(largest_difference(end, ends[0]) for end in ends) < 1e-12


def test_a_carried_state_carries_no_graph():
    """The derivative of an outer step ends where the step began."""
    game, learner = SmallGan(), Maml(inner_lr=0.05, inner_optimiser=Sgd(momentum=0.9), inner_state="carried")
    engine = Engine(game, learner, adaptation_steps=2)
    engine.outer_step(learner.init(torch.Generator(), game), small_episodes(), Outer(learner), small_draws())
    assert not any(leaf.requires_grad for _, leaf in leaves(engine.carried))


class TestCarriedReptile(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return GOES_ON


class TestCarriedMaml(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Maml(inner_lr=0.01, inner_optimiser=Adam(beta1=0.5, eps=1e-2), inner_state="carried", steps=2)


class TestCarriedWithoutTensors(MetaLearnerContract):
    """Plain SGD has no state to store beside the number of its moves."""

    @pytest.fixture
    def learner(self):
        return Reptile(inner_lr=0.01, inner_optimiser=Sgd(), inner_state="carried")
