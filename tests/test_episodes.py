"""Tasks are crossed by construction: what is measured on depends on the suite's seed and the task distribution only."""

import inspect
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.contracts import Episode, SampleSpec
from bench.driver.run import RunOptions, prepare
from bench.episodes import TaskStream
from bench.errors import DataError
from bench.suite.model import Protocol
from bench.trial.assemble import assemble
from bench_builtin.task_distributions import Digits, GaussianRings, Glyphs, Sinusoids

TWIN = Path(__file__).parent / "suites" / "twin.yaml"
HELD_OUT = ("meta-val", "meta-test")


class Numbered:
    """Class c holds the numbers c, c + 1/1000, c + 2/1000, ...: a sample tells where it comes from."""

    kind = "points"
    sample_spec = SampleSpec("points", (1,))

    def __init__(self, classes=50):
        self.classes = classes

    def size(self, split):
        return self.classes

    def episode(self, split, task, *, shots, query, rng):
        samples = (task + rng.permutation(900)[: shots + query, None] / 1000).astype(np.float32)
        return Episode(f"{split}-{task}", {"x": samples[:shots]}, {"x": samples[shots:]})

    def fingerprint(self):
        return ""


def stream(distribution=None, *, seed=0, shuffled=False, name="tasks", **protocol):
    settings = Protocol.model_validate({"shots": 3, "query": 4, "task_batch": 5, "tasks": {"meta_val": 2, "meta_test": 2}, **protocol})
    return TaskStream(distribution or Digits(), name, seed=seed, protocol=settings.to_dict(), shuffled=shuffled)


def content(episodes):
    return [(episode.task_id, episode.support["x"].tobytes(), episode.query["x"].tobytes()) for episode in episodes]


def classes(batch):
    """Classes of numbered samples, per task: support and query together."""
    both = torch.cat([batch["support"]["x"], batch["query"]["x"]], 1).flatten(1)
    return [set(row.floor().int().tolist()) for row in both]


# ------------------------------------------------------------------ held-out tasks
@pytest.mark.parametrize("split", HELD_OUT)
@pytest.mark.parametrize("make", [Digits, GaussianRings])
def test_held_out_tasks_and_noise_know_neither_replicate_nor_learner(make, split):
    assert list(inspect.signature(TaskStream.held_out).parameters) == ["self", "split"]
    plain, again, control = stream(make()), stream(make()), stream(make(), shuffled=True)
    again.training(3, 0)  # whatever was trained on before
    for other in (again, control):
        assert content(other.held_out(split)[0]) == content(plain.held_out(split)[0])
        assert other.held_out(split)[1] == plain.held_out(split)[1]


def test_all_cells_of_a_suite_measure_on_the_same_tasks_and_start_from_the_replicates_networks(tmp_path):
    planned = prepare(TWIN, RunOptions(output=tmp_path / "results", device="cpu"))
    trials = [trial for trial in planned.plan.trials if trial.gan_loss.name == "wasserstein" and not trial.regularisers]
    held_out, initial = set(), {}
    for trial in trials:
        setup = assemble(trial, tmp_path)
        episodes, keys = setup.stream.held_out("meta-test")
        held_out.add((tuple(content(episodes)), tuple(keys)))
        weights = b"".join(weight.detach().numpy().tobytes() for module in setup.modules.values() for weight in module.parameters())
        initial.setdefault(trial.replicate, set()).add(weights)
    assert len(trials) > 10
    assert len(held_out) == 1
    assert [len(weights) for weights in initial.values()] == [1, 1]
    assert initial[0] != initial[1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"name": "other tasks"}])
@pytest.mark.parametrize("make", [Digits, GaussianRings])
def test_another_seed_or_distribution_has_other_tasks_and_noise(make, change):
    (episodes, keys), (others, other_keys) = (stream(make(), **settings).held_out("meta-test") for settings in ({}, change))
    assert not {support for _, support, _ in content(episodes)} & {support for _, support, _ in content(others)}
    assert not set(keys) & set(other_keys)


@pytest.mark.parametrize("make", [GaussianRings, Sinusoids])
def test_the_splits_of_a_continuum_are_different_tasks(make):
    held_out = stream(make())
    val, test = (held_out.held_out(split) for split in HELD_OUT)
    trained, _ = held_out.training(0, 0)
    queries = [*(episode.query["x"] for episode in (*val[0], *test[0])), *trained["query"]["x"].numpy()]
    assert len({np.asarray(query).tobytes() for query in queries}) == 2 + 2 + 5
    assert not set(val[1]) & set(test[1])


def test_held_out_tasks_are_different_ones():
    episodes, keys = stream(Numbered(), tasks={"meta_val": 2, "meta_test": 50}).held_out("meta-test")
    assert {episode.task_id for episode in episodes} == {f"meta-test-{task}" for task in range(50)}
    assert len(set(keys)) == 50


def test_more_held_out_tasks_are_the_same_ones_and_some():
    few, many = (stream(Numbered(), tasks={"meta_val": 2, "meta_test": n}).held_out("meta-test") for n in (5, 20))
    assert content(many[0])[:5] == content(few[0])
    assert many[1][:5] == few[1]


def test_the_budget_of_adaptation_does_not_change_the_tasks():
    plain, other = (stream(**settings) for settings in ({}, {"adaptation_steps": {"train": 9, "test": (0, 9)}, "task_chunk": 1}))
    assert content(plain.held_out("meta-test")[0]) == content(other.held_out("meta-test")[0])


def test_real_samples_of_held_out_tasks_are_the_reference():
    episodes, _ = stream(query=4, reference=11).held_out("meta-test")
    assert {(len(episode.support["x"]), len(episode.query["x"])) for episode in episodes} == {(3, 11)}


@pytest.mark.parametrize(("split", "field"), [("meta-val", "meta_val"), ("meta-test", "meta_test")])
def test_more_tasks_than_there_are_is_an_error_with_a_cure(split, field):
    counts = {"meta_val": 2, "meta_test": 2, field: 3}
    with pytest.raises(
        DataError, match=rf"protocol\.tasks\.{field} asks for 3 {split} tasks, but the task distribution has 2; lower it to 2"
    ):
        stream(tasks=counts).held_out(split)


def test_a_distribution_that_is_only_measured_on_gives_what_it_has():
    there = stream(Numbered(4), tasks={"meta_val": 2, "meta_test": 50})
    there.scarce = True
    assert {episode.task_id for episode in there.held_out("meta-test")[0]} == {f"meta-test-{task}" for task in range(4)}


# ------------------------------------------------------------------ several numbers of shots
def along_shots(make, several=(1, 3, 8), **settings):
    """A stream per number of shots of one axis; the protocols are those of its cells."""
    settings = Protocol.model_validate({"shots": several, "query": 4, "tasks": {"meta_val": 2, "meta_test": 2}, **settings})
    return [TaskStream(make(), "tasks", seed=0, protocol=protocol) for protocol in settings.by_shots()]


class Greedy(Numbered):
    """Uses its random numbers in another way for every size that it is asked for."""

    def episode(self, split, task, *, shots, query, rng):
        rng.integers(10, size=shots + query)
        return super().episode(split, task, shots=shots, query=query, rng=rng)


@pytest.mark.parametrize("split", HELD_OUT)
@pytest.mark.parametrize("make", [Digits, GaussianRings, Sinusoids, Glyphs, Greedy])
def test_a_smaller_support_is_the_beginning_of_a_larger_one_and_the_reference_stays(make, split):
    streams = along_shots(make, reference=6)
    *smaller, (largest, noise) = [one.held_out(split) for one in streams]
    for shots, (episodes, keys) in zip((1, 3), smaller, strict=True):
        assert keys == noise
        for few, many in zip(episodes, largest, strict=True):
            assert few.task_id == many.task_id
            for name in many.support:
                assert np.array_equal(few.support[name], many.support[name][:shots])
                assert np.array_equal(few.query[name], many.query[name])


@pytest.mark.parametrize("shuffled", [False, True])
def test_training_tasks_are_nested_too(shuffled):
    batches = []
    for one in along_shots(Greedy):
        one.shuffled = shuffled
        batches.append(one.training(0, 0)[0])
    for shots, batch in zip((1, 3, 8), batches, strict=True):
        assert torch.equal(batch["support"]["x"], batches[-1]["support"]["x"][:, :shots])
        assert torch.equal(batch["query"]["x"], batches[-1]["query"]["x"])


def test_one_number_of_shots_draws_what_it_did():
    (alone,) = along_shots(Numbered, several=(8,))
    assert content(alone.held_out("meta-test")[0]) == content(along_shots(Numbered)[-1].held_out("meta-test")[0])
    assert content(alone.held_out("meta-test")[0]) == content(stream(Numbered(), shots=8).held_out("meta-test")[0])


# ------------------------------------------------------------------ meta-train tasks
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("make", [Digits, GaussianRings])
def test_training_tasks_and_noise_depend_on_replicate_step_and_seed(make, shuffled):
    batches, keys = set(), set()
    for seed, replicate, step in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]:
        batch, draws = stream(make(), seed=seed, shuffled=shuffled).training(replicate, step)
        batches.add(batch["support"]["x"].numpy().tobytes())
        keys |= set(draws.key.tolist())
    assert len(batches) == 4
    assert len(keys) == 4 * 5


@pytest.mark.parametrize("shuffled", [False, True])
def test_training_tasks_are_the_same_for_every_learner(shuffled):
    """A learner that asks for steps in another order, or again, sees the same tasks."""
    one, other = stream(shuffled=shuffled), stream(shuffled=shuffled)
    other.training(0, 7)
    for _ in range(2):
        (batch, draws), (again, same) = one.training(2, 1), other.training(2, 1)
        assert torch.equal(batch["support"]["x"], again["support"]["x"])
        assert torch.equal(batch["query"]["x"], again["query"]["x"])
        assert torch.equal(draws.key, same.key)


def test_training_batches_are_stacked_with_targets_where_there_are_some():
    batch, draws = stream(Sinusoids()).training(0, 0)
    assert {part: {name: tuple(values.shape) for name, values in batch[part].items()} for part in batch} == {
        "support": {"x": (5, 3, 1), "y": (5, 3, 1)},
        "query": {"x": (5, 4, 1), "y": (5, 4, 1)},
    }
    assert {values.dtype for part in batch.values() for values in part.values()} == {torch.float32}
    assert draws.key.shape == (5,)


def test_a_training_task_has_one_class_and_all_classes_come_up():
    plain = stream(Numbered(10))
    seen = Counter()
    for step in range(40):
        for found in classes(plain.training(0, step)[0]):
            assert len(found) == 1
            seen.update(found)
    assert set(seen) == set(range(10))


def test_a_shuffled_task_mixes_classes_in_support_and_query():
    """Seven samples of fifty classes: at least two of each part's samples differ in class almost always."""
    shuffled = stream(Numbered(50), shuffled=True)
    batch, _ = shuffled.training(0, 0)
    assert batch["support"]["x"].shape == (5, 3, 1)
    assert batch["query"]["x"].shape == (5, 4, 1)
    mixed = [len(found) for step in range(20) for found in classes(shuffled.training(0, step)[0])]
    expected = 50 * (1 - (1 - 1 / 50) ** 7)  # distinct classes among seven draws with replacement
    assert np.mean(mixed) == pytest.approx(expected, abs=0.25)


def test_shuffling_changes_training_only():
    """Pseudo-tasks have the classes of plain training as often: only their grouping is lost."""
    found = Counter()
    for step in range(200):
        for task in classes(stream(Numbered(4), shuffled=True).training(0, step)[0]):
            found.update(task)
    counts = np.array([found[label] for label in range(4)])
    assert counts.min() > 0.8 * counts.mean()
    episodes, _ = stream(Numbered(), shuffled=True).held_out("meta-test")
    assert all(len(set(np.floor(episode.support["x"]).ravel())) == 1 for episode in episodes)


def test_a_trial_on_shuffled_tasks_is_measured_like_its_twin(tmp_path):
    planned = prepare(TWIN, RunOptions(output=tmp_path / "results", device="cpu"))
    control = next(trial for trial in planned.plan.trials if trial.control)
    setup, twin = assemble(control, tmp_path), assemble(replace(control, control=""), tmp_path)
    assert setup.stream.shuffled
    assert not twin.stream.shuffled
    assert content(setup.stream.held_out("meta-val")[0]) == content(twin.stream.held_out("meta-val")[0])
    assert not setup.plain_stream.shuffled  # the warm start is the one that all arms share


def test_train_shots_change_meta_training_alone():
    make, settings = Numbered, {"query": 4, "tasks": {"meta_val": 2, "meta_test": 2}}
    (few,), (more,) = (Protocol.model_validate({"shots": 3, **settings, **extra}).by_shots() for extra in ({}, {"train_shots": 7}))
    few_stream, more_stream = (TaskStream(make(), "tasks", seed=0, protocol=protocol) for protocol in (few, more))
    assert more_stream.training(0, 0)[0]["support"]["x"].shape[1] == 7
    assert few_stream.training(0, 0)[0]["support"]["x"].shape[1] == 3
    shuffled = TaskStream(make(), "tasks", seed=0, protocol=more, shuffled=True).training(0, 0)[0]
    assert [shuffled[part]["x"].shape[1] for part in ("support", "query")] == [7, 4]
    for split in ("meta-val", "meta-test"):
        for one, other in zip(few_stream.held_out(split)[0], more_stream.held_out(split)[0], strict=True):
            assert np.array_equal(one.support["x"], other.support["x"])
            assert np.array_equal(one.query["x"], other.query["x"])
