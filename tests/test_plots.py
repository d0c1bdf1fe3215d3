"""Figures and estimates for a notebook: the report's numbers on anybody's axes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import bench
from bench.errors import StoreError, UsageError

FEWSHOT = Path(__file__).parent.parent / "results" / "reference" / "fewshot"


@pytest.fixture(scope="module")
def table():
    return bench.plots.estimates(FEWSHOT)


def test_lines_are_the_estimates(table):
    axes = Figure().add_subplot()
    assert bench.plots.adaptation_curves(FEWSHOT, on="glyphs", axes=axes) is axes
    drawn = {line.get_label().rstrip("*"): line for line in axes.get_lines()}
    expected = table[(table["slice"] == "glyphs") & (table["metric"] == "energy")]
    assert set(expected["arm"]) <= set(drawn)
    for arm, rows in expected.groupby("arm"):
        np.testing.assert_array_equal(drawn[arm].get_xdata(), rows["adaptation_step"])
        np.testing.assert_array_equal(drawn[arm].get_ydata(), rows["value"])
    assert "energy distance" in axes.get_ylabel()
    assert axes.get_legend() is not None


def test_an_estimate_is_the_mean_of_its_measurements(table):
    frame = bench.load_results(FEWSHOT)
    rows = frame[
        (frame["split"] == "meta-test") & (frame["metric"] == "kid") & (frame["adaptation_step"] == 5) & (frame["arm"] == "reptile")
    ]
    for place, measured in rows.groupby("task_distribution", observed=True):
        found = table[table["slice"] == place].query("metric == 'kid' and adaptation_step == 5 and arm == 'reptile'")
        assert found["value"].item() == pytest.approx(measured["value"].mean(), rel=1e-12)
        assert found["low"].item() < found["value"].item() < found["high"].item()
        assert found["n_tasks"].item() * found["n_replicates"].item() == len(measured)


def test_what_is_not_there_is_refused_with_what_is(tmp_path):
    with pytest.raises(UsageError, match=r"several parts; name one with on=.*gaussian-rings; glyphs"):
        bench.plots.adaptation_curves(FEWSHOT)
    with pytest.raises(UsageError, match=r"Did you mean 'glyphs'"):
        bench.plots.adaptation_curves(FEWSHOT, on="glypsh")
    with pytest.raises(UsageError, match=r"'enrgy' was not measured on glyphs.*energy"):
        bench.plots.adaptation_curves(FEWSHOT, "enrgy", on="glyphs")
    with pytest.raises(StoreError):
        bench.plots.estimates(tmp_path)
