"""Accuracy, use to a classifier, and the inception score: values by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bench.contracts import Adapted, MetricError
from bench.measure import accuracy, logistic_logits, logistic_weights
from bench_builtin.metrics import METRICS, Accuracy, AugmentedAccuracy, AugmentedCnnAccuracy, InceptionScore
from bench_builtin.metrics.recognition import transformed

WAYS, TASKS, SIDE = 4, 3, 6
PATTERNS = np.random.default_rng(7).normal(size=(WAYS, 1, SIDE, SIDE))
RAW = {"shift": 0.0, "degrees": 0.0}


def flat(samples):
    return np.asarray(samples, dtype=np.float64).reshape(*samples.shape[:2], -1)


def labels_of(n, ways=WAYS, tasks=TASKS):
    return np.broadcast_to(np.eye(ways)[np.arange(n) % ways], (tasks, n, ways))


def noisy(n, noise, seed):
    """Images of the classes in turn, (T, n, 1, SIDE, SIDE)."""
    rng = np.random.default_rng(seed)
    return PATTERNS[np.arange(n) % WAYS] + noise * rng.normal(size=(TASKS, n, 1, SIDE, SIDE))


def adapted(fake, support=None, query=None):
    support = noisy(2 * WAYS, 2.5, 0) if support is None else support
    query = noisy(25 * WAYS, 2.5, 1) if query is None else query
    ways, tasks = (WAYS, TASKS) if fake.shape[2:] == (1, SIDE, SIDE) else (2, 1)
    labels = [labels_of(part.shape[1], ways, tasks) for part in (support, query, fake)]
    features = [flat(part) for part in (fake, query, support)]
    return Adapted(fake, query, support, *features, support_labels=labels[0], query_labels=labels[1], fake_labels=labels[2], features=flat)


# ------------------------------------------------------------------ a classifier's predictions
def test_accuracy_is_the_share_of_right_predictions():
    labels = labels_of(8, tasks=2)
    logits = np.stack([labels[0], np.roll(labels[1], 1, axis=0)])
    look = Adapted(logits, *[logits] * 5, targets=labels)
    np.testing.assert_array_equal(Accuracy().measure(look)["accuracy"], [1.0, 0.0])
    logits[0, 3, 0] = np.nan
    np.testing.assert_array_equal(Accuracy().measure(look)["accuracy"], [np.nan, 0.0])


def test_accuracy_needs_the_labels_of_its_logits():
    logits = np.zeros((1, 2, 3))
    for targets in (None, np.zeros((1, 2, 4))):
        with pytest.raises(MetricError, match="one-hot labels for all logits"):
            Accuracy().measure(Adapted(logits, *[logits] * 5, targets=targets))


def test_the_planner_is_told_what_metrics_need():
    labelled = {name for name, metric in METRICS.items() if getattr(metric, "needs_labels", False)}
    assert labelled == {"accuracy", "augmented-accuracy", "augmented-cnn-accuracy"}
    assert {name for name, metric in METRICS.items() if getattr(metric, "needs_predictions", False)} == {"accuracy", "mse"}


# ------------------------------------------------------------------ augmentation by generated samples
def test_real_samples_help_and_mislabelled_ones_hurt():
    helped = AugmentedAccuracy().measure(adapted(noisy(20 * WAYS, 2.5, 2)))
    misled = AugmentedAccuracy(weight=1.0).measure(adapted(np.roll(noisy(20 * WAYS, 2.5, 2), 1, axis=1)))
    assert (helped["gain-over-none"] > 0.05).all()
    assert (helped["gain-over-classical"] > 0.05).all()
    assert (misled["gain-over-none"] < -0.2).all()


def test_copies_of_the_support_are_worth_nothing_to_prototypes():
    """A class mean does not change where every sample is repeated equally often; copies that are not transformed are such."""
    support = noisy(2 * WAYS, 2.5, 0)
    values = AugmentedAccuracy(**RAW).measure(adapted(np.tile(support, (1, 3, 1, 1, 1)), support))
    np.testing.assert_array_equal(values["accuracy-generated"], values["accuracy-none"])
    np.testing.assert_array_equal(values["accuracy-classical"], values["accuracy-none"])
    np.testing.assert_array_equal(values["gain-over-classical"], 0)


def numbers(*values):
    return np.array(values, dtype=float).reshape(1, -1, 1, 1, 1)


@pytest.mark.parametrize(("weight", "right"), [(1 / 3, 1.0), (0.1, 0.5)])
def test_a_generated_sample_moves_the_prototype_by_its_weight(weight, right):
    """Support 0 | 10, generated 6 | 10: the border moves from 5 to 5 + 3 w / (1 + w), that is to 5.75 for w = 1/3 and 5.27 for 0.1."""
    look = adapted(numbers(6, 10), support=numbers(0, 10), query=numbers(5.5, 9))
    values = AugmentedAccuracy(weight=weight, **RAW).measure(look)
    assert values["accuracy-none"] == [0.5]
    assert values["accuracy-generated"] == [right]
    assert values["gain-over-none"] == [right - 0.5]


def test_the_logistic_classifier_weighs_rows():
    """A support that is copied three times with weight 1/3 is a support that counts twice."""
    support = noisy(2 * WAYS, 2.5, 0)
    look = adapted(np.tile(support, (1, 3, 1, 1, 1)), support)
    values = AugmentedAccuracy(classifier="logistic", ridge=4.0, **RAW).measure(look)

    def alone(ridge):
        return accuracy(
            logistic_logits(flat(look.query), logistic_weights(flat(support), labels_of(2 * WAYS), ridge=ridge)), look.query_labels
        )

    np.testing.assert_allclose(values["accuracy-none"], alone(4.0))
    np.testing.assert_allclose(values["accuracy-generated"], alone(2.0))
    np.testing.assert_allclose(values["accuracy-classical"], alone(2.0))


@pytest.mark.parametrize("classifier", ["protonet", "logistic"])
def test_a_task_with_a_bad_sample_is_undefined_and_leaves_the_others_alone(classifier):
    fake = noisy(3 * WAYS, 1.0, 2)
    whole = AugmentedAccuracy(classifier=classifier).measure(adapted(fake))
    fake[1, 4] = np.nan
    values = AugmentedAccuracy(classifier=classifier).measure(adapted(fake))
    for name, value in values.items():
        made_of_fakes = name not in ("accuracy-none", "accuracy-classical")
        assert np.isnan(value[1]) == made_of_fakes
        np.testing.assert_array_equal(value[[0, 2]], whole[name][[0, 2]])


def test_unlabelled_tasks_have_no_accuracy():
    fake = noisy(8, 1.0, 2)
    with pytest.raises(MetricError, match="needs labelled tasks"):
        AugmentedAccuracy().measure(Adapted(fake, fake, fake, flat(fake), flat(fake), flat(fake)))


def prototypes(support, labels, query):
    """A judge with a closed form: nearest weighted class mean of the pixels."""
    means = np.einsum("tnf,tnc->tcf", flat(support), labels) / labels.sum(axis=1)[..., None]
    return -np.square(flat(query)[:, :, None] - means[:, None]).sum(-1)


def test_the_cnn_is_the_judge_that_it_is_given():
    """With nearest class means for a judge, it is the metric on frozen features."""
    look = adapted(noisy(3 * WAYS, 1.0, 2))
    with pytest.raises(MetricError, match="bench run"):
        AugmentedCnnAccuracy().measure(look)
    cnn = AugmentedCnnAccuracy(weight=0.2).measure(replace(look, judge=prototypes))
    frozen = AugmentedAccuracy(weight=0.2).measure(look)
    assert {name: value.tolist() for name, value in cnn.items()} == {f"cnn-{name}": value.tolist() for name, value in frozen.items()}
    assert len({*cnn["cnn-accuracy-none"], *cnn["cnn-accuracy-generated"]}) > 2


def test_what_no_generated_sample_changes_is_computed_once():
    asked = []

    def judge(*arguments):
        asked.append(arguments[0].shape[1])
        return prototypes(*arguments)

    metric, look = AugmentedCnnAccuracy(), replace(adapted(noisy(3 * WAYS, 1.0, 2)), judge=judge)
    first = metric.measure(look)
    second = metric.measure(replace(look, fake=look.fake + 1.0, fake_features=look.fake_features + 1.0))
    assert asked == [2 * WAYS, 5 * WAYS, 5 * WAYS, 5 * WAYS]
    assert (first["cnn-accuracy-classical"] == second["cnn-accuracy-classical"]).all()
    metric.measure(replace(look, support=look.support.copy()))  # another support: all anew
    assert len(asked) == 7


# ------------------------------------------------------------------ transformed copies
def test_a_copy_that_is_not_moved_is_the_image():
    images = noisy(3, 1.0, 0)
    np.testing.assert_allclose(transformed(images, **RAW), images, atol=1e-12)


def test_a_shift_moves_a_ramp_by_one_number():
    ramp = np.broadcast_to(np.arange(20.0), (1, 5, 1, 20, 20))
    inside = (transformed(ramp, shift=0.1, degrees=0) - ramp)[..., 3:-3]  # beyond, the border is repeated
    by = inside[:, :, :, :1, :1]
    np.testing.assert_allclose(inside, np.broadcast_to(by, inside.shape), atol=1e-9)
    assert np.abs(by).max() <= 0.1 * 20
    assert len(np.unique(by.round(9))) == 5


def test_a_turn_keeps_what_is_round_and_moves_what_is_not():
    axis = np.arange(33) - 16.0
    squares = axis[:, None] ** 2 + axis**2
    wheel, bar = (np.exp(-values / 50)[None, None, None] for values in (squares, squares + 5 * axis[:, None] ** 2))
    assert np.abs(transformed(wheel, shift=0, degrees=90) - wheel).max() < 0.01
    assert np.abs(transformed(bar, shift=0, degrees=90) - bar).max() > 0.1


def test_copies_are_the_same_every_time():
    images = noisy(3, 1.0, 0)
    np.testing.assert_array_equal(transformed(images, shift=0.1, degrees=15), transformed(images, shift=0.1, degrees=15))


# ------------------------------------------------------------------ inception score
def score(fake, query):
    return InceptionScore().measure(Adapted(fake, query, query, fake, query, query))["inception-score"]


def test_separated_tasks_score_their_number_and_equal_samples_score_one():
    centres = 100.0 * np.eye(5)[:, None]
    rng = np.random.default_rng(0)
    query = centres + rng.normal(size=(5, 8, 5))
    assert score(centres + rng.normal(size=(5, 12, 5)), query) == pytest.approx(5, rel=1e-9)
    assert score(np.zeros((5, 12, 5)), query) == pytest.approx(1, rel=1e-9)


def test_one_copied_sample_per_task_scores_best():
    """The weakness that the docstring names."""
    query = 100.0 * np.eye(3)[:, None] + np.random.default_rng(0).normal(size=(3, 8, 3))
    assert score(np.tile(query[:, :1], (1, 9, 1)), query) == pytest.approx(3, rel=1e-9)


def test_no_score_over_survivors():
    query = np.random.default_rng(0).normal(size=(3, 8, 3))
    fake = query.copy()
    fake[1, 0, 0] = np.nan
    assert np.isnan(score(fake, query))
