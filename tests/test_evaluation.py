"""Adapt, sample and measure: known answers with networks that copy, repeat, drift or break on purpose."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.contracts import Episode, SampleSpec
from bench.episodes import TaskStream
from bench.game.engine import Engine
from bench.suite.model import Component, Protocol
from bench.trial import evaluation
from bench.trial.assemble import Setup
from bench.trial.evaluation import evaluate
from bench_builtin.feature_extractors import Identity, Pixels
from bench_builtin.metrics import METRICS
from bench_builtin.task_distributions import Digits, GaussianRings, NWay, Sinusoids

TASKS, SHOTS, REAL = 3, 5, 8
NEEDS = ("needs_predictions", "needs_labels", "needs_modes")
EVERY = tuple(name for name, metric in METRICS.items() if not any(getattr(metric, need, False) for need in NEEDS))


class Plain:
    """phi = theta - 0.1 * steps taken: the networks' output says how many steps there were."""

    trains = True

    def init(self, rng, game):
        return {"initial": {"model": {name: weight.detach().clone() for name, weight in game.modules["model"].named_parameters()}}}

    def begin(self, meta, support, draws):
        return meta["initial"], {"model": {}}

    def weights(self, meta, params):
        return params

    def update(self, meta, player, step, params, grads, inner, support):
        return {name: weight - 0.1 * grads[name] for name, weight in params.items()}, inner


class Scripted:
    """A game of one number, whose loss is that number and whose samples, or predictions, are whatever a test says."""

    players, schedule = ("model",), (("model",),)

    def __init__(self, sample, predicts=False):
        self.predicts = predicts
        self.modules = {"model": nn.Linear(1, 1, bias=False)}
        nn.init.zeros_(self.modules["model"].weight)
        self.drawn = sample

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        return {"model": weights["model"]["weight"].sum()}, state

    def sample(self, weights, batch, n, draws):
        return self.drawn(-10 * weights["model"]["weight"].sum(), batch, n, draws)  # adaptation steps taken


class Trial:
    """What evaluation asks of a trial."""

    seed, trial_id = 0, "0" * 8

    def __init__(self, protocol):
        self.protocol = protocol


def setup_of(sample, *, tasks=None, extractor=None, metrics=EVERY, samples=REAL, chunk=2, predicts=False):
    tasks = tasks or GaussianRings()
    count = min(TASKS, tasks.size("meta-test") or TASKS)
    protocol = Protocol.model_validate(
        {
            "shots": SHOTS,
            "query": 4,
            "reference": REAL,
            "samples": samples,
            "task_chunk": chunk,
            "tasks": {"meta_val": 2, "meta_test": count},
        }
    ).to_dict()
    stream = TaskStream(tasks, ["tasks", {}], seed=0, protocol=protocol)
    engine = Engine(Scripted(sample, predicts or tasks.sample_spec.kind == "regression"), Plain())
    return Setup(
        trial=Trial(protocol),
        registry=None,
        stream=stream,
        plain_stream=stream,
        modules=engine.modules,
        trainer=engine,
        adapter=engine,
        metrics=tuple((Component("metrics", name), METRICS[name]()) for name in metrics),
        extractor=extractor or (Identity() if tasks.sample_spec.kind != "image" else Pixels()),
        vectorised=True,
    )


def evaluated(setup, steps=(0, 2), split="meta-test", **options):
    meta = setup.learner.init(torch.Generator(), setup.adapter.game)
    return evaluate(setup, meta, split, steps, outer_step=7, **options)


def of_samples(found):
    """The columns of what is measured of samples, without what is measured of the game."""
    columns = found.rows.columns
    kept = [row for row, metric in enumerate(columns["metric"]) if not metric.startswith(("gradient-norm-", "vanishing-steps-"))]
    return {name: [values[row] for row in kept] for name, values in columns.items()}


def values(found, metric, what="value"):
    """{(adaptation step, task): value}."""
    columns = found.rows.columns
    rows = zip(columns["metric"], columns["adaptation_step"], columns["task_id"], columns[what], strict=True)
    return {(step, task): value for name, step, task, value in rows if name == metric}


def real(steps, batch, n, draws):
    return batch["x"][:n]


def queries(setup, split="meta-test"):
    return [episode.query["x"].reshape(REAL, -1).astype(np.float64) for episode in setup.stream.held_out(split)[0]]


# ------------------------------------------------------------------ known answers
def test_generated_samples_that_are_the_real_ones_are_close_to_perfect():
    """Unbiased energy of a set to itself: 2 (N - 1) / N m - m - m = -2 m / N with m the mean distance of pairs."""
    setup = setup_of(real)
    found = evaluated(setup)
    energies = [energy for (step, _), energy in values(found, "energy").items() if step == 0]
    for query, energy in zip(queries(setup), energies, strict=True):
        pairs = np.linalg.norm(query[:, None] - query[None], axis=-1).sum() / (REAL * (REAL - 1))
        assert energy == pytest.approx(-2 * pairs / REAL, rel=1e-5)
    assert set(values(found, "recall").values()) == {1.0}
    assert set(values(found, "precision").values()) == {1.0}
    assert np.allclose(list(values(found, "fid").values()), 0, atol=1e-6)
    assert found.diverged == ""


def one_by_one(samples):
    """Samples of the tasks in their order, for chunks of one task and a single measurement."""
    following = iter(samples)
    return lambda steps, batch, n, draws: torch.as_tensor(next(following))


@pytest.mark.parametrize("tasks", [GaussianRings(), Digits()], ids=["points", "images"])
def test_a_constant_generator_reaches_the_ceiling_exactly(tasks):
    """The ceiling is the mean of the support, repeated; here that is what is generated."""
    supports = [episode.support["x"] for episode in setup_of(real, tasks=tasks).stream.held_out("meta-test")[0]]
    constant = one_by_one([np.repeat(support.mean(0, keepdims=True), REAL, axis=0) for support in supports])
    found = evaluated(setup_of(constant, tasks=tasks, chunk=1), steps=(0,))
    reached = {name: (values(found, name), values(found, name, "ceiling")) for name in found.rows.columns["metric"]}
    for name, (value, ceiling) in reached.items():
        assert list(value.values()) == pytest.approx(list(ceiling.values()), rel=1e-9, abs=1e-12, nan_ok=True), name
    assert sum(all(np.isfinite(list(value.values()))) for value, _ in reached.values()) >= 8


def test_the_ceiling_is_the_same_at_every_step_and_for_every_generator():
    one, other = (evaluated(setup_of(sample)) for sample in (real, lambda steps, batch, n, draws: batch["x"][:n] + steps))
    for metric in ("energy", "fid", "recall"):
        ceilings = [values(found, metric, "ceiling") for found in (one, other)]
        assert ceilings[0] == ceilings[1]
        assert all(ceilings[0][0, task] == value for (_, task), value in ceilings[0].items())


def test_steps_are_counted_from_the_start_and_a_drift_costs_its_length():
    """Samples that move away by one unit a step: energy grows by nearly two per unit once they are far."""
    setup = setup_of(lambda steps, batch, n, draws: batch["x"][:n] + 100 * steps)
    energy = values(evaluated(setup, steps=(0, 1, 3)), "energy")
    for task in {task for _, task in energy}:
        assert energy[1, task] == pytest.approx(2 * 100 * np.sqrt(2), rel=0.03)
        assert energy[3, task] == pytest.approx(2 * 300 * np.sqrt(2), rel=0.03)
        assert abs(energy[0, task]) < 1


def test_a_generator_of_the_support_is_measured_against_other_samples():
    """It is perfect by its distance to the support, and known for a copy by its distance to the nearest support sample."""
    supports = [episode.support["x"] for episode in setup_of(real).stream.held_out("meta-test")[0]]
    found = evaluated(setup_of(one_by_one(supports), chunk=1, samples=SHOTS), steps=(0,))
    assert set(values(found, "novelty").values()) == {0.0}
    to_support, to_query = (values(found, name) for name in ("energy-to-support", "energy"))
    assert all(to_support[key] < 0 for key in to_support)
    assert sum(to_query.values()) > sum(to_support.values())


def test_noise_depends_on_the_task_only():
    """Neither on the step, nor on the chunk that a task is computed in, nor on its neighbours."""

    def noise(steps, batch, n, draws):
        return draws.normal("z", (n, 2))

    whole, single = (evaluated(setup_of(noise, chunk=chunk)).samples["generated"] for chunk in (3, 1))
    assert np.array_equal(whole, single)
    assert np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole[0, 0], whole[0, 1])


def test_predictions_are_measured_at_the_query_inputs():
    """Regression: the true targets give error 0, targets shifted by one give 1, and the ceiling is the mean target of the support."""
    for shift in (0.0, 1.0):
        setup = setup_of(lambda steps, batch, n, draws, shift=shift: batch["y"] + shift, tasks=Sinusoids(), metrics=("mse",))
        found = evaluated(setup)
        assert list(values(found, "mse").values()) == pytest.approx([shift**2] * (2 * TASKS), abs=1e-6)
    episodes, _ = setup.stream.held_out("meta-test")
    expected = [float(np.square(episode.query["y"] - episode.support["y"].mean()).mean()) for episode in episodes]
    assert list(values(found, "mse", "ceiling").values()) == pytest.approx(expected * 2, rel=1e-5)


# ------------------------------------------------------------------ what is recorded
def test_every_task_step_and_metric_has_a_row_with_its_sizes():
    setup = setup_of(real, samples=6)
    found = evaluated(setup, steps=(0, 1, 4))
    columns = of_samples(found)
    outputs = [name for _, metric in setup.metrics for name in metric.outputs]
    pooled = sum(name in metric.pooled for _, metric in setup.metrics for name in metric.outputs)
    assert len(columns["value"]) == 3 * ((len(outputs) - pooled) * TASKS + pooled)
    assert set(columns["metric"]) == set(outputs)
    assert Counter(columns["adaptation_step"]) == dict.fromkeys((0, 1, 4), len(columns["value"]) // 3)
    assert set(columns["outer_step"]) == {7}
    assert set(columns["split"]) == {"meta-test"}
    sizes = {
        task == "pooled": (real_size, fake_size)
        for task, real_size, fake_size in zip(columns["task_id"], columns["n_real"], columns["n_fake"], strict=True)
    }
    assert sizes == {False: (REAL, 6), True: (REAL * TASKS, 6 * TASKS)}


def test_only_one_metric_is_measured_where_one_is_asked_for():
    found = evaluated(setup_of(real), split="meta-val", only="energy")
    assert set(of_samples(found)["metric"]) == {"energy"}
    assert len(of_samples(found)["value"]) == 2 * 2
    assert set(found.rows.columns["split"]) == {"meta-val"}


def test_a_few_samples_are_kept_for_people_to_look_at():
    kept = evaluated(setup_of(real, samples=6)).samples
    assert kept["steps"].tolist() == [0, 2]
    assert kept["generated"].shape == (2, TASKS, 6, 2)
    assert kept["support"].shape == (TASKS, SHOTS, 2)
    assert kept["query"].shape == (TASKS, REAL, 2)
    assert kept["modes_centres"].shape == (TASKS, 5, 2)
    assert len(kept["task_ids"]) == TASKS
    assert not any(array.dtype.hasobject for array in kept.values())


def fingerprints(setup, split="meta-test"):
    found = of_samples(evaluated(setup, split=split))
    return dict(zip(found["metric"], found["fingerprint"], strict=True))


def test_a_fingerprint_names_what_two_values_must_share_to_be_compared():
    plain = fingerprints(setup_of(real))
    assert len(set(plain.values())) == len(EVERY)  # outputs of one metric share theirs
    assert fingerprints(setup_of(lambda steps, batch, n, draws: batch["x"][:n] * 0)) == plain
    fewer = fingerprints(setup_of(real, samples=REAL - 1))
    assert not set(fewer.values()) & set(plain.values())

    class Scaled(Identity):
        def fingerprint(self):
            return "other weights"

    assert not set(fingerprints(setup_of(real, extractor=Scaled())).values()) & set(plain.values())
    other_metric = setup_of(real)
    (component, metric), *others = other_metric.metrics
    metric = type("Newer", (type(metric),), {"version": 2})()
    changed = fingerprints(replace(other_metric, metrics=((component, metric), *others)))
    assert {name for name in plain if changed[name] != plain[name]} == set(metric.outputs)
    elsewhere = setup_of(real)
    elsewhere.stream.name = "other tasks"
    assert not set(fingerprints(elsewhere).values()) & set(plain.values())


# ------------------------------------------------------------------ eight bits
class Grey:
    """Images of one grey level per task, on the grid of 8 bits."""

    kind = "image"
    sample_spec = SampleSpec("image", (1, 8, 8), -1.0, 1.0)

    def size(self, split):
        return None

    def episode(self, split, task, *, shots, query, rng):
        pixels = (rng.integers(0, 256, (shots + query, 1, 8, 8)) / 127.5 - 1).astype(np.float32)
        return Episode(f"grey-{task}", {"x": pixels[:shots]}, {"x": pixels[shots:]})

    def fingerprint(self):
        return ""


def test_images_are_measured_as_files_would_store_them():
    """Less than half a grey level off, or beyond the range, is the same file; a level off is another one."""
    level = 2 / 255

    def off(by):
        return lambda steps, batch, n, draws: batch["x"][:n] + by

    exact, close, next_level = (evaluated(setup_of(off(by), tasks=Grey()), steps=(0,)) for by in (0.0, 0.45 * level, 1.0 * level))
    assert values(close, "energy") == values(exact, "energy")
    assert values(next_level, "energy") != values(exact, "energy")
    assert set(values(exact, "novelty")) == set(values(close, "novelty"))

    def beyond(steps, batch, n, draws):
        return torch.where(batch["x"][:n] > 0.5, batch["x"][:n] * 50, batch["x"][:n])

    def clipped(steps, batch, n, draws):
        return torch.where(batch["x"][:n] > 0.5, (batch["x"][:n] * 50).clamp(max=1), batch["x"][:n])

    far, near = (evaluated(setup_of(sample, tasks=Grey()), steps=(0,)) for sample in (beyond, clipped))
    assert values(far, "energy") == values(near, "energy")
    assert far.samples["generated"].max() > 20  # what is kept is what was generated


def test_quantisation_is_idempotent_and_for_images_only():
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1.5, 1.5, (2, 3, 1, 8, 8)).astype(np.float32)
    once = evaluation._as_stored(samples, Grey.sample_spec)
    assert np.array_equal(evaluation._as_stored(once, Grey.sample_spec), once)
    assert once.min() == -1
    assert once.max() == 1
    assert len(np.unique(once)) <= 256
    assert np.abs(once - samples.clip(-1, 1)).max() <= 1 / 255 + 1e-6
    for spec in (SampleSpec("points", (2,)), SampleSpec("image", (1, 8, 8))):
        assert evaluation._as_stored(samples, spec) is samples


# ------------------------------------------------------------------ divergence
def broken(value, *, step=2.0, first_below=None):
    """From ``step`` on, the tasks whose first query number is below ``first_below`` give ``value``."""

    def sample(steps, batch, n, draws):
        hit = (steps > step - 0.5) & (batch["x"].flatten()[0] < first_below)
        return torch.where(hit, torch.full_like(batch["x"][:n], value), batch["x"][:n])

    return sample


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "nan_sample"), (float("inf"), "inf"), (1e9, "exploded")])
def test_a_task_that_breaks_is_told_with_class_and_step_and_leaves_the_others_alone(value, kind):
    whole = setup_of(real)
    firsts = [query[0, 0] for query in queries(whole)]
    bad = [episode.task_id for episode, first in zip(whole.stream.held_out("meta-test")[0], firsts, strict=True) if first == min(firsts)]
    middle = float(np.sort(firsts)[:2].mean())
    found, undisturbed = evaluated(setup_of(broken(value, first_below=middle)), steps=(0, 1, 2, 4)), evaluated(whole, steps=(0, 1, 2, 4))
    assert found.diverged == f"{kind} at adaptation step 2 on 1 of 3 meta-test tasks"
    assert undisturbed.diverged == ""
    for metric in ("energy", "kid", "fid", "recall"):
        after, before = values(found, metric), values(undisturbed, metric)
        for (step, task), got in after.items():
            if step < 2 or task not in bad:
                assert got == before[step, task], (metric, step, task)
            elif kind != "exploded":
                assert np.isnan(got), (metric, step, task)
    if kind != "exploded":
        assert all(np.isnan(got) == (step >= 2) for (step, _), got in values(found, "fid-pooled").items())


def test_an_infinite_prediction_has_no_error():
    setup = setup_of(lambda steps, batch, n, draws: batch["y"] / (steps < 0.5), tasks=Sinusoids(), metrics=("mse",))
    found = evaluated(setup)
    assert found.diverged == "inf at adaptation step 2 on 3 of 3 meta-test tasks"
    assert {step: np.isnan(got) for (step, _), got in values(found, "mse").items()} == {0: False, 2: True}


def test_the_gravest_class_of_the_first_bad_step_is_told():
    def sample(steps, batch, n, draws):
        samples = torch.where(steps > 0.5, torch.full_like(batch["x"][:n], 1e9), batch["x"][:n])
        return torch.where(steps > 1.5, torch.full_like(samples, float("nan")), samples)

    assert evaluated(setup_of(sample), steps=(0, 1, 2)).diverged == "exploded at adaptation step 1 on 3 of 3 meta-test tasks"
    assert evaluated(setup_of(sample), steps=(0, 2)).diverged == "nan_sample at adaptation step 2 on 3 of 3 meta-test tasks"


def test_collapse_is_a_measurement_and_no_divergence():
    found = evaluated(setup_of(lambda steps, batch, n, draws: batch["x"][:1].expand(n, 2)))
    assert found.diverged == ""
    assert all(np.isfinite(got) for got in values(found, "energy").values())


# ------------------------------------------------------------------ labels and predictions
WAYS = 2


class Recorder:
    """A metric that keeps what it is shown."""

    outputs, pooled, version = {"seen": None}, (), 1

    def __init__(self):
        self.looks = []

    def measure(self, adapted):
        self.looks.append(adapted)
        return {"seen": np.zeros(len(adapted.fake))}


def labelled_setup(sample, **settings):
    return setup_of(sample, tasks=NWay(tasks=Digits(), ways=WAYS), **settings)


def test_metrics_see_labels_and_features_of_labelled_tasks():
    setup, recorder = labelled_setup(real, samples=5), Recorder()
    found = evaluated(replace(setup, metrics=((Component("metrics", "recorder"), recorder),)), steps=(0,))
    look = recorder.looks[-1]
    eye = np.eye(WAYS)
    for labels, n in ((look.support_labels, SHOTS * WAYS), (look.query_labels, REAL * WAYS), (look.fake_labels, 5)):
        assert np.array_equal(labels, np.broadcast_to(eye[np.arange(n) % WAYS], (TASKS, n, WAYS)))
    assert look.targets is None
    assert np.array_equal(look.features(look.query), look.query_features)
    assert set(found.rows.columns["n_real"]) == {REAL * WAYS}


def test_unlabelled_tasks_have_no_labels():
    recorder = Recorder()
    evaluated(replace(setup_of(real), metrics=((Component("metrics", "recorder"), recorder),)), steps=(0,))
    assert [getattr(recorder.looks[-1], f"{part}_labels") for part in ("support", "query", "fake")] == [None] * 3


def test_generated_samples_of_the_right_class_help_a_classifier():
    found = evaluated(labelled_setup(real, metrics=("augmented-accuracy",), samples=REAL * WAYS), steps=(0,))
    assert all(0 <= got <= 1 for got in values(found, "accuracy-none").values())
    assert np.mean([*values(found, "accuracy-generated").values()]) >= np.mean([*values(found, "accuracy-none").values()])


def test_a_classifier_is_judged_by_its_predictions_of_the_query():
    def right(steps, batch, n, draws):
        return 1e6 * torch.where(steps > 1, batch["y"], batch["y"].flip(1))

    found = evaluated(labelled_setup(right, metrics=("accuracy",), predicts=True))
    assert {step: got for (step, _), got in values(found, "accuracy").items()} == {0: 0.0, 2: 1.0}
    assert set(values(found, "accuracy", "ceiling").values()) == {1 / WAYS}  # what a constant prediction scores
    assert found.diverged == ""  # logits may be as large as they like
    assert found.samples["generated"].shape[-1] == WAYS
    assert found.samples["targets"].shape == (*found.samples["query"].shape[:2], WAYS)


def test_predictions_that_are_not_numbers_diverge():
    found = evaluated(labelled_setup(lambda steps, batch, n, draws: batch["y"] / 0, metrics=("accuracy",), predicts=True))
    assert found.diverged == "nan_sample at adaptation step 0 on 3 of 3 meta-test tasks"
    assert np.isnan([*values(found, "accuracy").values()]).all()
