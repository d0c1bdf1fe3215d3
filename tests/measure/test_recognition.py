"""Recognisability: near the own prototype, near another's, and near all of them alike."""

import numpy as np
import pytest

from bench.errors import MetricError
from bench.measure import recognised

PLACES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
SUPPORT = PLACES[:, None] + np.array([[1.0, 0.0], [-1.0, 0.0]])  # prototypes are the places


def test_samples_at_their_own_prototype_are_recognised_and_at_anothers_not():
    own = np.repeat(PLACES[:, None], 4, axis=1)
    np.testing.assert_array_equal(recognised(own, SUPPORT), [1, 1, 1])
    np.testing.assert_array_equal(recognised(own[[1, 2, 0]], SUPPORT), [0, 0, 0])


def test_shares_by_hand():
    samples = np.zeros((3, 4, 2))
    samples[1] = [[9, 0], [4, 0], [6, 0], [0, 9]]
    np.testing.assert_array_equal(recognised(samples, SUPPORT), [1, 0.5, 0])


def test_what_lies_between_prototypes_counts_by_chance():
    middle = np.broadcast_to([5.0, 0.0], (3, 2, 2))
    np.testing.assert_array_equal(recognised(middle, SUPPORT), [0.5, 0.5, 0])
    equal = np.zeros((4, 5, 2))
    np.testing.assert_array_equal(recognised(equal, equal), [0.25] * 4)


def test_real_samples_of_separate_tasks_reach_the_rate_of_a_normal_tail():
    """Two prototypes 2 apart, unit deviations along their line: a sample is nearer to its own with probability Phi(1)."""
    support = np.array([[[-1.0]], [[1.0]]])
    rng = np.random.default_rng(0)
    shares = recognised(support + rng.normal(size=(2, 20_000, 1)), support)
    assert np.abs(shares - 0.841345).max() < 4 * np.sqrt(0.841 * 0.159 / 20_000)


def test_bad_samples_harm_no_other_task_and_a_bad_support_is_no_candidate():
    samples = np.repeat(PLACES[:, None], 4, axis=1)
    samples[1, 2, 0] = np.nan
    np.testing.assert_array_equal(recognised(samples, SUPPORT), [1, np.nan, 1])
    support = SUPPORT.copy()
    support[0, 0, 0] = np.inf
    samples[1] = PLACES[0]
    np.testing.assert_array_equal(recognised(samples, support), [np.nan, 0.5, 1])  # as near to the third place as to the second


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(MetricError, match="equal tasks"):
        recognised(np.zeros((2, 4, 2)), SUPPORT)
