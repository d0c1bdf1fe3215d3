"""Planted generators: the faults that each measure must show, and the honest generator that must look good in all."""

import numpy as np
import pytest

from bench.errors import MetricError
from bench.measure import (
    data_copying,
    duplicate_fraction,
    energy_distance,
    expected_coverage,
    nearest_support_ratio,
    pairwise_distance_ratio,
    planted,
    precision_recall,
    support_query_gap,
    vendi_ratio,
)

COUNT = 20
FAULTS = [name for name in planted.GENERATORS if name != "ideal"]


@pytest.fixture(scope="module")
def tasks():
    return planted.mixture_tasks(np.random.default_rng(0), tasks=200, support=COUNT, query=COUNT)


@pytest.fixture(scope="module")
def fakes(tasks):
    rng = np.random.default_rng(1)
    return {name: generator(rng, tasks, samples=COUNT) for name, generator in planted.GENERATORS.items()}


def mean_and_error(values):
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_generators_give_samples_of_the_asked_shape(tasks):
    rng = np.random.default_rng(2)
    for generator in planted.GENERATORS.values():
        assert generator(rng, tasks, samples=7).shape == (200, 7, 64)


def test_distances_within_a_mode_are_a_quarter_of_those_between_modes(tasks):
    between = np.linalg.norm(tasks.centres_TKF[:, 0] - tasks.centres_TKF[:, 1], axis=1).mean()
    within = np.sqrt(2 * 64) * planted.MODE_SCALE
    assert within / np.hypot(between, within) == pytest.approx(0.25, abs=0.02)


def test_the_ideal_generator_is_perfect_within_the_error_of_all_measures(tasks, fakes):
    ideal, query, support = fakes["ideal"], tasks.query_TQF, tasks.support_TSF
    for values, truth in [
        (energy_distance(ideal, query), 0),
        (support_query_gap(ideal, query, support), 0),
        (data_copying(ideal, query, support), 0),
        (nearest_support_ratio(ideal, query, support), 1),
        (pairwise_distance_ratio(ideal, query), 1),
        (vendi_ratio(ideal, query, support.mean(axis=1)), 1),
        (precision_recall(ideal, query).coverage, expected_coverage(COUNT, COUNT)),
    ]:
        mean, error = mean_and_error(values)
        assert abs(mean - truth) < max(4 * error, 0.02)  # ratios are biased in the second digit


@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_beats_the_ideal_generator_in_energy(tasks, fakes, name):
    worse = energy_distance(fakes[name], tasks.query_TQF) - energy_distance(fakes["ideal"], tasks.query_TQF)
    mean, error = mean_and_error(worse)
    assert mean > 4 * error


@pytest.mark.parametrize("name", ["copies", "memorised-support"])
def test_a_generator_that_copies_its_support_looks_bad_in_every_measure_of_memorisation(tasks, fakes, name):
    fake, query, support = fakes[name], tasks.query_TQF, tasks.support_TSF
    assert (nearest_support_ratio(fake, query, support) == 0).all()
    assert (data_copying(fake, query, support) < -3).all()
    gap, error = mean_and_error(support_query_gap(fake, query, support))
    assert gap > 5 * error
    assert mean_and_error(duplicate_fraction(fake, query))[0] > 0.5


def test_memorising_looks_better_than_perfect_when_judged_by_the_support_and_like_a_fault_by_the_query(tasks, fakes):
    fake = fakes["memorised-support"]
    to_support, error = mean_and_error(energy_distance(fake, tasks.support_TSF))
    assert to_support < -10 * error
    to_query, error = mean_and_error(energy_distance(fake, tasks.query_TQF))
    assert to_query > 4 * error


@pytest.mark.parametrize("name", ["half-the-modes", "one-mode", "mean", "copies"])
def test_lost_modes_show_in_diversity(tasks, fakes, name):
    vendi, error = mean_and_error(vendi_ratio(fakes[name], tasks.query_TQF, tasks.support_TSF.mean(axis=1)))
    assert vendi < 0.8 - 4 * error
    assert mean_and_error(precision_recall(fakes[name], tasks.query_TQF).recall)[0] < 0.7


def test_shrinkage_shows_in_distances_and_noise_in_precision(tasks, fakes):
    ratio, _ = mean_and_error(pairwise_distance_ratio(fakes["shrunken"], tasks.query_TQF))
    assert ratio == pytest.approx(planted.SHRINKAGE, abs=0.02)
    noise = precision_recall(fakes["noise"], tasks.query_TQF)
    assert noise.precision.mean() < 0.3
    assert noise.recall.mean() > 0.95


def test_one_mode_cannot_be_halved():
    with pytest.raises(MetricError, match="2 or more modes"):
        planted.mixture_tasks(np.random.default_rng(0), modes=1)
