"""Built-in metrics keep their contract and read generators as they should."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench_builtin.metrics as builtin
from bench.contracts import Adapted, MetricError, Modes, Output

METRICS = builtin.METRICS
ANGLES = 2 * np.pi * np.arange(8) / 8
RING = Modes(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.01)
GENERATIVE = [
    name
    for name, metric in METRICS.items()
    if not getattr(metric, "needs_predictions", False) and not getattr(metric, "needs_labels", False)
]
OF_REAL = {"recognisability-real"}  # outputs that say nothing of generated samples


def draw(rng, tasks, n):
    return RING.centres[rng.integers(8, size=(tasks, n))] + RING.scale * rng.normal(size=(tasks, n, 2))


def adapted(*, tasks=4, shots=8, fake=None, seed=0):
    rng = np.random.default_rng(seed)
    query, support = draw(rng, tasks, 16), draw(rng, tasks, shots)
    fake = draw(rng, tasks, 64) if fake is None else fake
    return Adapted(fake, query, support, fake, query, support, modes=[RING] * tasks)


@pytest.mark.parametrize("name", GENERATIVE)
def test_a_metric_returns_its_outputs_per_task_or_pooled(name):
    metric = METRICS[name]()
    values = metric.measure(adapted())
    assert set(values) == set(metric.outputs)
    assert set(metric.pooled) <= set(metric.outputs)
    assert all(isinstance(output, Output) for output in metric.outputs.values())
    for output, value in values.items():
        assert value.shape == (() if output in metric.pooled else (4,))
        assert value.dtype == np.float64
        assert np.isfinite(value).all()


@pytest.mark.parametrize("name", GENERATIVE)
def test_a_bad_task_is_undefined_and_never_an_exception(name):
    clean = adapted()
    fake = clean.fake.copy()
    fake[1, 5, 0] = np.nan
    metric = METRICS[name]()
    values, before = metric.measure(adapted(fake=fake)), metric.measure(clean)
    for output, value in values.items():
        if output in metric.pooled:
            assert np.isnan(value)
        elif output in OF_REAL:
            np.testing.assert_array_equal(value, before[output])
        else:
            assert np.isnan(value[1])
            np.testing.assert_array_equal(value[[0, 2, 3]], before[output][[0, 2, 3]])


@pytest.mark.parametrize("name", GENERATIVE)
def test_one_shot_tasks_are_measured(name):
    values = METRICS[name]().measure(adapted(shots=1))
    undefined = {output for output, value in values.items() if np.isnan(value).any()}
    assert undefined <= {"energy-to-support", "energy-gap"}  # unbiased distances need two samples of each


def test_output_names_are_unique_over_all_metrics():
    names = [output for metric in METRICS.values() for output in metric.outputs]
    assert len(names) == len(set(names))


def test_a_collapsed_generator_is_worse_wherever_modes_count():
    healthy, collapsed = adapted(tasks=40), adapted(tasks=40, fake=np.zeros((40, 64, 2)) + RING.centres[0])

    def mean(name, output, what):
        return METRICS[name]().measure(what)[output].mean()

    for name, output in [("energy", "energy"), ("kid", "kid"), ("fid", "fid"), ("modes", "reverse-kl")]:
        assert mean(name, output, collapsed) > mean(name, output, healthy) + 0.1
    for name, output in [("recall", "recall"), ("coverage", "coverage"), ("vendi", "vendi"), ("modes", "modes")]:
        assert mean(name, output, collapsed) < mean(name, output, healthy) - 0.1
    assert mean("vendi", "pairwise-distance", collapsed) == 0
    assert mean("modes", "modes", healthy) == pytest.approx(1, abs=0.01)


def test_memorising_the_support_shows():
    honest = adapted(tasks=60)
    copies = adapted(tasks=60, fake=np.tile(honest.support, (1, 8, 1)))
    values = METRICS["memorisation"]().measure(copies)
    assert (values["novelty"] == 0).all()
    assert values["energy-gap"].mean() > METRICS["memorisation"]().measure(honest)["energy-gap"].mean() + 0.05
    assert METRICS["energy"]().measure(copies)["energy-to-support"].mean() < -0.05


def test_copies_of_the_support_are_duplicates_and_data_copying():
    honest = adapted(tasks=60)
    copies = adapted(tasks=60, fake=np.tile(honest.support, (1, 8, 1)))
    assert (METRICS["data-copying"]().measure(copies)["data-copying"] < -3).all()
    assert abs(METRICS["data-copying"]().measure(honest)["data-copying"].mean()) < 4 / np.sqrt(60)
    assert (METRICS["duplicates"]().measure(copies)["duplicates"] > METRICS["duplicates"]().measure(honest)["duplicates"] + 0.3).all()


def test_samples_of_other_tasks_are_not_recognised():
    places = 10.0 * np.arange(4)[:, None, None]
    near = places + np.random.default_rng(0).normal(size=(4, 8, 2))
    values = METRICS["recognisability"]().measure(Adapted(near[::-1], near, near, near[::-1], near, near))
    np.testing.assert_array_equal(values["recognisability"], 0)
    np.testing.assert_array_equal(values["recognisability-real"], 1)


def test_a_frechet_metric_that_has_seen_other_real_samples_gives_the_same_bits():
    metric, looks = METRICS["fid"](), [adapted(seed=seed) for seed in (0, 1)]
    looks.append(replace(looks[0], fake_features=looks[1].fake_features))  # another step of the first
    for look in (looks[0], looks[2], looks[1], looks[0]):
        fresh = METRICS["fid"]().measure(look)
        for output, values in metric.measure(look).items():
            np.testing.assert_array_equal(values, fresh[output])


def test_too_few_pooled_samples_for_fid_infinity_are_undefined_and_said_so(caplog):
    few = adapted(tasks=1)  # 16 real samples of 2 features
    metric = METRICS["fid-infinity"]()
    assert np.isfinite(metric.measure(few)["fid-infinity"])
    fewer = replace(few, query_features=few.query_features[:, :15])
    assert np.isnan(metric.measure(fewer)["fid-infinity"])
    assert "15 real samples" in caplog.text
    assert "needs 16" in caplog.text


def test_no_high_quality_sample_counts_as_one_mode():
    values = METRICS["modes"]().measure(adapted(fake=np.zeros((4, 64, 2))))
    np.testing.assert_allclose(values["reverse-kl"], np.log(8))
    np.testing.assert_array_equal(values["modes"], 0)


def test_mean_squared_error_is_the_regression_metric():
    assert [name for name, metric in METRICS.items() if "regression" in metric.kinds] == ["mse"]
    predictions, targets = np.array([[[1.0], [2.0]], [[0.0], [np.inf]]]), np.array([[[0.0], [4.0]], [[0.0], [0.0]]])
    none = np.zeros((2, 2, 1))
    values = METRICS["mse"]().measure(Adapted(predictions, none, none, none, none, none, targets=targets))
    np.testing.assert_array_equal(values["mse"], [2.5, np.nan])
    with pytest.raises(MetricError, match="one target a prediction"):
        METRICS["mse"]().measure(Adapted(predictions, none, none, none, none, none))


def test_metrics_of_modes_need_modes():
    assert [name for name, metric in METRICS.items() if metric.needs_modes] == ["modes", "high-quality"]
    plain = adapted()
    with pytest.raises(MetricError, match="known modes"):
        METRICS["modes"]().measure(Adapted(plain.fake, plain.query, plain.support, plain.fake, plain.query, plain.support))


def test_metrics_use_the_public_interface_only():
    for path in Path(builtin.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench.")}
        assert modules <= {"bench.contracts", "bench.hookspecs", "bench.measure"}
