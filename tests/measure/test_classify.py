"""Classifiers of features: closed forms, optimality conditions, and a trusted library."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bench.errors import MetricError
from bench.measure import accuracy, class_means, inception_score, logistic_logits, logistic_weights, prototype_logits


def one_hot(labels, classes):
    return np.eye(classes)[np.asarray(labels)]


def test_accuracy_counts_the_largest_scores():
    scores = np.array([[[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]], [[1.0, 1.0], [1.0, 1.0], [1.0, np.nan]]])
    values = accuracy(scores, np.broadcast_to(one_hot([0, 0, 1], 2), (2, 3, 2)))
    np.testing.assert_array_equal(values, [1 / 3, np.nan])


def test_constant_scores_find_the_first_class_only():
    assert accuracy(np.zeros((1, 10, 5)), one_hot(np.arange(10) % 5, 5)[None])[0] == pytest.approx(1 / 5)


def test_class_means_are_weighted_means():
    features = np.array([[[0.0], [4.0], [10.0]]])
    labels = one_hot([0, 0, 1], 2)[None]
    np.testing.assert_allclose(class_means(features, labels)[0, :, 0], [2.0, 10.0])
    np.testing.assert_allclose(class_means(features, labels, [3.0, 1.0, 0.2])[0, :, 0], [1.0, 10.0])
    with pytest.raises(MetricError, match="every class needs a sample"):
        class_means(features, one_hot([0, 0, 0], 2)[None])


def test_two_prototypes_make_the_known_softmax():
    """A point at 0 between prototypes at 1 and -2: p = softmax(-1, -4)."""
    logits = prototype_logits(np.zeros((1, 1, 1)), np.array([[[1.0], [-2.0]]]))
    np.testing.assert_allclose(logits[0, 0], [-1.0, -4.0])


def overlapping(tasks=3, n=30, features=4, classes=3):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    return rng.normal(size=(tasks, n, features)) + rng.normal(size=(classes, features))[labels], np.tile(
        one_hot(labels, classes), (tasks, 1, 1)
    )


@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_logistic_regression_is_at_its_optimum_and_agrees_with_scikit_learn(ridge):
    features, labels = overlapping()
    weights = np.where(np.arange(30) < 12, 1.0, 1 / 3)
    found = logistic_weights(features, labels, weights, ridge=ridge)
    for task in range(len(features)):
        trusted = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000)
        trusted.fit(features[task], labels[task].argmax(1), sample_weight=weights)
        np.testing.assert_allclose(found[task, :-1].T, trusted.coef_, atol=1e-5)
    np.testing.assert_allclose(logistic_logits(features, found)[0], features[0] @ found[0, :-1] + found[0, -1])


def test_more_features_than_samples_and_separable_classes_have_an_optimum_too():
    features, labels = overlapping(tasks=2, n=6, features=40)
    found = logistic_weights(features, labels, ridge=0.5)
    logits = logistic_logits(features, found)
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    stationary = features.swapaxes(1, 2) @ (p - labels) + 0.5 * found[:, :-1]
    assert np.abs(stationary).max() < 1e-5
    assert (accuracy(logits, labels) == 1).all()


def test_a_tasks_classifier_does_not_depend_on_its_neighbours():
    features, labels = overlapping()
    alone = logistic_weights(features[1:2], labels[1:2])
    np.testing.assert_allclose(logistic_weights(features, labels)[1], alone[0], atol=1e-5)


# ------------------------------------------------------------------ inception score
@pytest.mark.parametrize("classes", [2, 7])
def test_certain_and_balanced_samples_score_the_number_of_classes(classes):
    assert inception_score(1e4 * one_hot(np.arange(3 * classes) % classes, classes)) == pytest.approx(classes, rel=1e-12)


def test_samples_that_look_alike_score_one():
    assert inception_score(np.tile([0.3, -2.0, 1.0], (5, 1))) == pytest.approx(1, rel=1e-12)
    assert inception_score(1e4 * one_hot([2, 2, 2], 4)) == pytest.approx(1, rel=1e-12)


def test_unbalanced_certainty_scores_the_exponential_of_the_entropy():
    """Certain samples of shares 3/4 and 1/4: exp of the entropy of the shares."""
    shares = np.array([0.75, 0.25])
    assert inception_score(1e4 * one_hot([0, 0, 0, 1], 5)) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_the_score_lies_between_one_and_the_number_of_classes():
    rng = np.random.default_rng(0)
    scores = [inception_score(scale * rng.normal(size=(50, 6))) for scale in (0.01, 1, 100)]
    assert all(1 <= score <= 6 for score in scores)
    assert scores == sorted(scores)
