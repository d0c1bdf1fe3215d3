"""The class oracle: it sees what it is judged by, from step 0 on, and every report says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.cli import main
from bench.episodes import TaskStream
from bench.errors import ExitCode
from bench.frame import ledger_frame
from bench.game.engine import Engine
from bench.suite.model import Component, Protocol
from bench.testing import MetaLearnerContract
from bench.trial.assemble import Setup
from bench.trial.evaluation import evaluate
from bench_builtin.feature_extractors import Identity
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import ClassOracle, Scratch
from bench_builtin.metrics import METRICS
from bench_builtin.task_distributions import GaussianRings


class TestClassOracle(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return ClassOracle(inner_lr=0.05)


class Mean:
    """A game of one point t with L = |t - mean of the batch|^2 / 2; a sample is that point."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        self.modules = {"model": nn.Linear(2, 1, bias=False)}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        return {"model": 0.5 * (weights["model"]["weight"][0] - batch["x"].mean(0)).square().sum()}, state

    def sample(self, weights, batch, n, draws):
        return weights["model"]["weight"].expand(n, 2)


class Trial:
    """What evaluation asks of a trial."""

    seed, trial_id = 0, "0" * 8

    def __init__(self, protocol):
        self.protocol = protocol


def points(learner, steps=(0, 1)):
    """Where the point is after ``steps``, (K, T, 2), the tasks, and where it started."""
    tasks = {"meta_val": 1, "meta_test": 3}
    given = {"shots": 5, "query": 4, "reference": 20, "samples": 8, "task_chunk": 2, "tasks": tasks}
    protocol = Protocol.model_validate(given).to_dict()
    stream, engine = TaskStream(GaussianRings(), ["rings", {}], seed=0, protocol=protocol), Engine(Mean(), learner)
    setup = Setup(
        trial=Trial(protocol),
        registry=None,
        stream=stream,
        plain_stream=stream,
        modules=engine.modules,
        trainer=engine,
        adapter=engine,
        metrics=((Component("metrics", "energy"), METRICS["energy"]()),),
        extractor=Identity(),
        vectorised=True,
    )
    meta = learner.init(torch.Generator(), engine.game)
    found = evaluate(setup, meta, "meta-test", steps, outer_step=0)
    return found.samples["generated"][:, :, 0], stream.held_out("meta-test")[0], meta["initial"]["model"]["weight"].numpy()


@pytest.mark.parametrize("head_start", [0, 3])
def test_it_adapts_to_support_and_held_out_samples_for_its_head_start(head_start):
    """t_k - m = (1 - lr)^(head_start + k) (t_0 - m), m the mean of all real samples of the task."""
    reached, tasks, start = points(ClassOracle(head_start=head_start, inner_lr=0.25, inner_optimiser=Sgd()), steps=(0, 2))
    means = np.stack([np.concatenate([task.support["x"], task.query["x"]]).mean(0) for task in tasks])
    for step, found in zip((0, 2), reached, strict=True):
        assert np.allclose(found, means + 0.75 ** (head_start + step) * (start - means), atol=1e-5)


def test_others_see_the_support_only_and_start_at_once():
    reached, tasks, start = points(Scratch(inner_lr=0.25, inner_optimiser=Sgd()), steps=(0, 2))
    means = np.stack([task.support["x"].mean(0) for task in tasks])
    assert np.allclose(reached[0], np.broadcast_to(start, means.shape))
    assert np.allclose(reached[1], means + 0.75**2 * (start - means), atol=1e-5)


# ------------------------------------------------------------------ in a suite
SUITE = """
question: How far from the bound?
name: bound
replicates: 1
primary: {metric: energy, adaptation_step: 1, compare: [class-oracle, scratch]}
budget: {gradient_evaluations: 100}
protocol: {shots: 6, query: 6, samples: 12, adaptation_steps: {train: 1, test: [0, 1]}, tasks: {meta_val: 2, meta_test: 3}}
games: [gan]
task_distributions: [gaussian-rings]
networks: [{mlp: {width: 8}}]
gan_losses: [non-saturating]
meta_learners: [scratch, {class-oracle: {head_start: 20}}]
metrics: [energy]
"""


def test_its_cells_run_under_a_name_that_says_what_it_is(tmp_path):
    suite, results = tmp_path / "bound.yaml", tmp_path / "results"
    suite.write_text(SUITE)
    assert main(["run", str(suite), "--output", str(results), "--executor", "inline", "--device", "cpu"]) == ExitCode.OK
    assert ledger_frame(results).set_index("arm")["status"].to_dict() == {"scratch": "ok", "class-oracle (privileged)": "ok"}
    assert set(bench.load_results(results)["meta_learner"]) == {"scratch", "class-oracle"}
    text = next(results.rglob("report.md")).read_text()
    assert "class-oracle (privileged)" in text
    assert "an upper bound to read the others against, not ranked" in text


def test_a_copy_of_it_is_no_exception():
    """The mark belongs to the class, not to a setting that a suite could change."""
    assert ClassOracle.privileged
    assert replace(ClassOracle(), head_start=3).privileged
    assert not getattr(Scratch, "privileged", False)
