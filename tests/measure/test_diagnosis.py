"""Names of faults: planted generators get theirs, and each measure that a name depends on changes it."""

import numpy as np
import pytest

from bench.errors import MetricError
from bench.measure.diagnosis import NEEDED, name_fault

SOUND = {"pairwise-distance": 1.0, "novelty": 1.0, "precision": 0.95, "vendi": 1.0}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "no fault"),
        ({"vendi": 0.66, "pairwise-distance": 0.9}, "lost modes"),
        ({"vendi": 0.2, "pairwise-distance": 0.27}, "one mode"),
        ({"pairwise-distance": 0.6}, "shrunken"),
        ({"novelty": 0.0}, "memorised support"),
        ({"novelty": 0.0, "pairwise-distance": 0.0, "vendi": 0.1}, "copies"),
        ({"pairwise-distance": 0.0, "vendi": 0.1, "precision": 1.0}, "mean image"),
        ({"pairwise-distance": 0.0, "vendi": 0.1, "precision": 0.0}, "constant"),
        ({"precision": 0.1, "pairwise-distance": 1.4, "vendi": 2.4}, "noise"),
        ({"vendi": float("nan")}, "undefined"),
    ],
)
def test_a_fault_is_named_by_the_measures_that_show_it(changes, name):
    assert name_fault(SOUND | changes) == name


def test_what_it_does_not_need_does_not_count():
    assert name_fault({**SOUND, "energy": float("inf")}) == "no fault"


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_measure_is_told(missing):
    with pytest.raises(MetricError, match=f"missing: {missing}"):
        name_fault({name: value for name, value in SOUND.items() if name != missing})


def test_the_name_does_not_depend_on_the_scale_or_place_of_the_features():
    from bench.audit.collapse import needed_measures
    from bench.measure.planted import GENERATORS, MixtureTasks, mixture_tasks

    rng = np.random.default_rng(0)
    tasks = mixture_tasks(rng, tasks=20)
    fake = GENERATORS["half-the-modes"](rng, tasks, samples=20)
    moved = MixtureTasks(*(3 + 7 * values for values in (tasks.centres_TKF, tasks.support_TSF, tasks.query_TQF)))
    means = [{name: values.mean() for name, values in needed_measures(*pair).items()} for pair in ((fake, tasks), (3 + 7 * fake, moved))]
    assert means[0] == pytest.approx(means[1])
    assert name_fault(means[0]) == name_fault(means[1]) == "lost modes"
