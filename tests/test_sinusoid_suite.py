"""A short version of suites/sinusoid.yaml: the published protocol runs, whatever 100 outer steps can show."""

from pathlib import Path

import pandas as pd
import pytest

from bench.driver.run import RunOptions, prepare
from bench.trial.run import run

SUITE = Path(__file__).parent.parent / "suites" / "sinusoid.yaml"
SHORTER = {"replicates: 5": "replicates: 1", "outer_steps: 15000": "outer_steps: 100", "meta_test: 100}": "meta_test: 8}"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """{arm: (ledger row, measurements)}."""
    folder, text = tmp_path_factory.mktemp("sinusoid"), SUITE.read_text()
    for full, short in SHORTER.items():
        assert full in text
        text = text.replace(full, short)
    (folder / "sinusoid.yaml").write_text(text)
    planned = prepare(folder / "sinusoid.yaml", RunOptions(output=folder / "out"))
    done = {trial.arm: run({"trial": trial.to_dict(), "results": str(folder)}) for trial in planned.plan.missing}
    return {arm: (row, pd.DataFrame(columns)) for arm, (row, columns) in done.items()}


def test_every_arm_of_the_table_is_measured_on_the_published_tasks(measured):
    regularised = [f"maml-head + {form}" for form in ("weights", "activations", "activations-lighter")]
    assert sorted(measured) == sorted(["maml-all", "maml-head", *regularised])
    for row, measurements in measured.values():
        tested = measurements[measurements.split == "meta-test"]
        assert row["status"] == "ok"
        assert tested.task_id.str.startswith("published-sinusoid-").all()
        assert tested.value.notna().all()
        assert sorted(tested.adaptation_step.unique()) == [0, 1, 5, 10, 50, 100]
        assert tested.groupby("adaptation_step").value.mean().nunique() == 6  # every step changes the predictions
