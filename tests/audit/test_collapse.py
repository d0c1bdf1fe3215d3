"""Planted faults: the table shows what the measures are for, and a rule that names nothing fails."""

import pytest

from bench.audit.collapse import NAMES, collapse_table, naming_checks, naming_table
from bench.measure.planted import GENERATORS


@pytest.fixture(scope="module")
def table():
    return collapse_table(tasks=40, seed=0).set_index("generator")


def test_every_planted_generator_has_a_name_of_its_own():
    assert set(NAMES) == set(GENERATORS)
    assert len(set(NAMES.values())) == len(NAMES)


def test_every_fault_is_named_from_forty_tasks(table):
    assert dict(table["named"]) == dict(NAMES)


def test_the_headline_prefers_the_truth_and_memorising_looks_bad(table):
    assert table["energy"].idxmin() == "ideal"
    assert table.loc["memorised-support", "novelty"] == pytest.approx(0, abs=1e-12)
    assert table.loc["memorised-support", "energy-gap"] > 5 * abs(table.loc["ideal", "energy-gap"])


def test_no_other_single_measure_sees_a_constant_in_the_centre(table):
    assert table.loc["mean", "precision"] >= table.loc["ideal", "precision"]
    assert table.loc["mean", "density"] > 2 * table.loc["ideal", "density"]
    assert table.loc["mean", "pairwise-distance"] == pytest.approx(0, abs=1e-9)


def test_a_rule_that_always_sees_nothing_fails_but_for_the_ideal_generator(monkeypatch):
    monkeypatch.setattr("bench.audit.collapse.NAMED_TASKS", (5,))
    checks = naming_checks(naming_table(draws=3, seed=0, name=lambda measures: "no fault"))
    assert {check.key for check in checks if check.passed} == {"named-ideal"}
