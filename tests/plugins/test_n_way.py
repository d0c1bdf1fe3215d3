"""Labelled tasks made of the tasks of another distribution: who is in them, in which order, and what the harness makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.contracts import ContractError, DataError, Episode, SampleSpec
from bench.episodes import TaskStream
from bench.suite.model import Protocol
from bench.testing import TaskDistributionContract
from bench.trial.sampling import SamplingEngine
from bench_builtin.meta_learners import Kde, Memorise
from bench_builtin.task_distributions import Digits, Glyphs, NWay, Sinusoids, Spirals

WAYS = 3


class Numbered:
    """Class c holds the numbers c, c + 1/1000, c + 2/1000, ...: a sample tells where it comes from."""

    kind = "points"
    sample_spec = SampleSpec("points", (1,))

    def size(self, split):
        return 12

    def episode(self, split, task, *, shots, query, rng):
        samples = (task + rng.permutation(900)[: shots + query, None] / 1000).astype(np.float32)
        return Episode(f"{split}-{task}", {"x": samples[:shots]}, {"x": samples[shots:]})

    def fingerprint(self):
        return "numbered"


def drawn(tasks, *, shots=2, query=4, seed=0, split="meta-train"):
    return tasks.episode(split, 0, shots=shots, query=query, rng=np.random.default_rng(seed))


def classes(part):
    return np.floor(np.asarray(part["x"])[..., 0]).astype(int)


@pytest.mark.parametrize(
    "make", [lambda: NWay(tasks=Glyphs(size=8), ways=3), lambda: NWay(tasks=Digits(), ways=2), lambda: NWay(tasks=Spirals(), ways=2)]
)
class TestNWay(TaskDistributionContract):
    @pytest.fixture
    def tasks(self, make):
        return make()


# ------------------------------------------------------------------ episodes
def test_each_label_is_one_class_in_support_and_query_and_classes_differ():
    for seed in range(20):
        episode = drawn(NWay(tasks=Numbered(), ways=WAYS), seed=seed)
        support, query = classes(episode.support).reshape(-1, WAYS), classes(episode.query).reshape(-1, WAYS)
        assert (support == support[0]).all()
        assert (query == support[0]).all()
        assert len(set(support[0])) == WAYS


def test_a_class_has_every_label_and_every_class_comes_up():
    tasks = NWay(tasks=Numbered(), ways=WAYS)
    seen = {(label, c) for seed in range(200) for label, c in enumerate(classes(drawn(tasks, seed=seed, shots=1).support))}
    assert seen == {(label, c) for label in range(WAYS) for c in range(12)}


def test_the_classes_and_the_support_do_not_depend_on_the_query():
    tasks = NWay(tasks=Numbered(), ways=WAYS)
    few, many = (drawn(tasks, query=query) for query in (1, 9))
    assert np.array_equal(few.support["x"], many.support["x"])


def test_labelled_tasks_have_the_data_of_their_classes():
    tasks = NWay(tasks=Glyphs(size=16), ways=5)
    assert tasks.fingerprint() == Glyphs(size=16).fingerprint()
    assert tasks.sample_spec == replace(Glyphs(size=16).sample_spec, classes=5)
    assert tasks.size("meta-test") is None


@pytest.mark.parametrize("inner", [Sinusoids(), NWay(tasks=Digits(), ways=2)])
def test_only_unlabelled_samples_make_classes(inner):
    with pytest.raises(ContractError, match="one class each"):
        NWay(tasks=inner, ways=2)


def test_too_few_classes_are_an_error_with_a_cure():
    with pytest.raises(DataError, match="3-way tasks need 3 classes, and meta-test has 2; lower ways to 2 at most"):
        drawn(NWay(tasks=Digits(), ways=3), split="meta-test")


# ------------------------------------------------------------------ streams
def stream(tasks=None, *, shuffled=False, **protocol):
    settings = Protocol.model_validate({"shots": 2, "query": 4, "task_batch": 5, "tasks": {"meta_val": 2, "meta_test": 3}, **protocol})
    streams = [
        TaskStream(tasks or NWay(tasks=Numbered(), ways=WAYS), "tasks", seed=0, protocol=one, shuffled=shuffled)
        for one in settings.by_shots()
    ]
    return streams if len(streams) > 1 else streams[0]


def test_shots_and_query_are_per_class():
    batch, _ = stream().training(0, 0)
    assert {part: {name: tuple(values.shape) for name, values in batch[part].items()} for part in batch} == {
        "support": {"x": (5, 2 * WAYS, 1), "y": (5, 2 * WAYS, WAYS)},
        "query": {"x": (5, 4 * WAYS, 1), "y": (5, 4 * WAYS, WAYS)},
    }


def test_a_smaller_support_has_all_classes_and_is_the_beginning_of_a_larger_one():
    few, many = stream(shots=(1, 4))
    for one, other in zip(few.held_out("meta-test")[0], many.held_out("meta-test")[0], strict=True):
        assert len(one.support["x"]) == WAYS
        for name in ("x", "y"):
            assert np.array_equal(one.support[name], other.support[name][:WAYS])
            assert np.array_equal(one.query[name], other.query[name])
    (few_batch, _), (many_batch, _) = few.training(0, 0), many.training(0, 0)
    assert torch.equal(few_batch["support"]["x"], many_batch["support"]["x"][:, :WAYS])


def test_train_shots_are_per_class_too():
    assert stream(train_shots=3).training(0, 0)[0]["support"]["x"].shape == (5, 3 * WAYS, 1)


def test_in_shuffled_tasks_a_label_stands_for_any_class():
    """Labels come in turn as ever, and say nothing: each of a label's six samples is of a random class of twelve."""
    shuffled = stream(shuffled=True)
    distinct = []
    for step in range(10):
        batch, _ = shuffled.training(0, step)
        assert batch["support"]["x"].shape == (5, 2 * WAYS, 1)
        assert torch.equal(batch["query"]["y"], torch.eye(WAYS).repeat(4, 1).expand(5, -1, -1))
        both = torch.cat([batch["support"]["x"], batch["query"]["x"]], 1).floor().reshape(5, 6, WAYS)
        distinct += [len(set(both[task, :, label].tolist())) for task in range(5) for label in range(WAYS)]
    assert np.mean(distinct) == pytest.approx(12 * (1 - (11 / 12) ** 6), abs=0.3)  # distinct classes among six draws


# ------------------------------------------------------------------ learners without a game
class NoGame:
    players, schedule, modules = (), (), {}

    def state(self):
        return {}


def test_samplers_draw_each_class_from_its_own_support():
    tasks = stream()
    for learner in (Memorise(), Kde(bandwidth=1e-4)):
        engine = SamplingEngine(NoGame(), learner, tasks, replicate=0)
        meta = engine.init(torch.Generator())
        episodes, keys = tasks.held_out("meta-test")
        batch, draws = tasks.stack(episodes), tasks.draws(keys)
        end = engine.begin(meta, batch["support"], draws)
        samples = engine.sample(meta, end, 8, draws, batch["query"]).numpy()
        for episode, own in zip(episodes, samples, strict=True):
            classes_of = classes(episode.support)[:WAYS]
            assert np.array_equal(np.floor(own[:, 0] + 0.005).astype(int), classes_of[np.arange(8) % WAYS])


def test_a_bandwidth_is_that_of_single_classes():
    """Classes of a task lie far apart, samples of a class within 1: h must be of the second scale."""
    engine = SamplingEngine(NoGame(), Kde(bandwidth="meta-train", tasks=5), stream(), replicate=0)
    assert float(engine.init(torch.Generator())["bandwidth"]) < 0.5
