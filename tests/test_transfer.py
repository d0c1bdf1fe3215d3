"""Meta-trained here, measured there: the right tasks and metrics, one meta-training for all places, the same numbers as alone."""

import math
import shutil

import numpy as np
import pytest
import yaml

import bench
from bench.driver import run as driver
from bench.driver.run import RunOptions, prepare, run
from bench.errors import ExitCode
from bench.frame import ledger_frame
from bench.trial import training

SUITE = {
    "question": "Does it carry over?",
    "name": "carry",
    "seed": 2,
    "primary": {"metric": "energy", "adaptation_step": 2, "compare": ["reptile", "finetune"]},
    "budget": {"gradient_evaluations": 120, "warm_start": {"finetune": 40}},
    "protocol": {
        "shots": 6, "query": 6, "samples": 8, "task_batch": 2, "adaptation_steps": {"train": 2, "test": [0, 2]},
        "tasks": {"meta_val": 2, "meta_test": 3}, "validations": 1,
    },
    "games": ["gan"],
    "task_distributions": [{"gaussian-rings": {"modes": 2, "label": "two"}}],
    "networks": [{"mlp": {"width": 8}}],
    "gan_losses": ["non-saturating"],
    "meta_learners": ["finetune", "reptile"],
    "controls": {"shuffled-tasks": ["reptile"]},
    "metrics": ["energy", "modes"],
}  # fmt: skip
EIGHT = {"gaussian-rings": {"modes": 8, "label": "eight"}}
ELSEWHERE = {"test_on": [{"gaussian-rings": {"modes": 2, "label": "two"}}, EIGHT]}
REPORT = driver._report
MEASURED = ["arm", "split", "task_id", "outer_step", "adaptation_step", "metric", "value", "ceiling", "fingerprint"]


@pytest.fixture
def with_report(monkeypatch):
    monkeypatch.setattr(driver, "_report", REPORT)


@pytest.fixture(scope="module", autouse=True)
def without_report():
    """Drawing takes longer than everything that these tests are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_report", lambda planned: "")
        yield


def results_of(folder, **changes):
    folder.mkdir(exist_ok=True)
    suite = folder / "suite.yaml"
    suite.write_text(yaml.safe_dump({**SUITE, **changes}))
    options = RunOptions(output=folder / "results", executor="inline", device="cpu")
    assert run(suite, options, say=lambda text: None) == ExitCode.OK
    return folder / "results"


def measured(results, place, split="meta-test"):
    frame = bench.load_results(results)
    rows = frame[(frame["task_distribution"] == place) & (frame["split"] == split)]
    return rows[MEASURED].astype({"arm": str, "task_id": str, "metric": str, "split": str, "fingerprint": str}).reset_index(drop=True)


@pytest.fixture(scope="module")
def outer_steps():
    """Learners that took an outer step, one entry per step."""
    taken, original = [], training._outer_step

    def counted(*arguments):
        taken.append(type(arguments[1].learner).__name__)
        original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_outer_step", counted)
        yield taken


@pytest.fixture(scope="module")
def carried(tmp_path_factory, outer_steps):
    """Meta-trained on rings of two modes, measured on these and on rings of eight."""
    results = results_of(tmp_path_factory.mktemp("carried"), **ELSEWHERE)
    return results, len(outer_steps)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, outer_steps, carried):
    """The same without the rings of eight."""
    before = len(outer_steps)
    results = results_of(tmp_path_factory.mktemp("alone"))
    return results, len(outer_steps) - before


def test_every_cell_is_measured_in_every_place(carried):
    ledger = ledger_frame(carried[0])
    assert set(ledger["status"]) == {"ok"}
    assert set(ledger["task_distribution"]) == {"two -> two", "two -> eight"}
    assert len(ledger) == 3 * 2


def test_measures_are_about_the_tasks_of_the_place(carried):
    """A single mode, which is a constant generator at its best, is log K from K equally likely modes."""
    for place, modes in (("two -> two", 2), ("two -> eight", 8)):
        rows = measured(carried[0], place)
        ceilings = rows.loc[rows["metric"] == "reverse-kl", "ceiling"]
        assert len(ceilings) == 3 * 2 * 3
        assert ceilings.to_numpy() == pytest.approx(math.log(modes), rel=1e-12)


def test_tasks_and_reference_are_those_of_whoever_is_meta_trained_there(carried, tmp_path):
    there = results_of(tmp_path, task_distributions=[EIGHT], meta_learners=["scratch", "reptile"], controls={},
                       primary={**SUITE["primary"], "compare": ["reptile", "scratch"]}, budget={"gradient_evaluations": 20})  # fmt: skip
    columns = ["task_id", "adaptation_step", "metric", "ceiling", "fingerprint"]

    def of_metrics(rows):
        return rows[(rows["arm"] == "reptile") & (rows["fingerprint"] != "")]  # the game's health has neither ceiling nor reference

    # The ceiling is made of a task's support and reference samples, the fingerprint names metric, features and reference.
    ours, theirs = (of_metrics(rows)[columns].sort_values(columns[:3]) for rows in (
        measured(carried[0], "two -> eight"), measured(there, "eight")))  # fmt: skip
    assert ours.to_numpy().tolist() == theirs.to_numpy().tolist()


def test_meta_training_is_paid_once_and_charged_to_each(carried, alone):
    assert carried[1] == alone[1]
    for arm, cells in ledger_frame(carried[0]).groupby("arm", observed=True):
        assert cells["gradient_evaluations"].nunique() == 1, arm
        assert (cells["gradient_evaluations"] >= 120).all(), arm


def test_validation_stays_where_the_training_is(carried):
    own, elsewhere = (measured(carried[0], place, "meta-val") for place in ("two -> two", "two -> eight"))
    assert len(own)
    assert own.equals(elsewhere)


def test_measured_on_its_own_tasks_it_has_the_numbers_that_it_has_alone(carried, alone):
    for split in ("meta-val", "meta-test"):
        ours, theirs = measured(carried[0], "two -> two", split), measured(alone[0], "two", split)
        assert len(ours)
        assert ours.equals(theirs)
    numbers, others = (set(ledger_frame(results)["trial_id"].astype(str)) for results in (carried[0], alone[0]))
    assert others < numbers


def test_whoever_comes_first_trains_and_the_numbers_are_the_same(carried, outer_steps, tmp_path):
    """Without the shared artefacts, or after the cells were run in another order."""
    results = tmp_path / "results"
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **ELSEWHERE}))
    options = RunOptions(output=results, executor="inline", device="cpu")
    assert run(tmp_path / "suite.yaml", RunOptions(**{**vars(options), "select": "eight"}), say=lambda text: None) == ExitCode.OK
    before = len(outer_steps)
    assert run(tmp_path / "suite.yaml", options, say=lambda text: None) == ExitCode.OK
    assert len(outer_steps) == before  # the rest found everything trained
    for place in ("two -> two", "two -> eight"):
        ours, theirs = (measured(folder, place).sort_values(MEASURED[:6]).reset_index(drop=True) for folder in (results, carried[0]))
        assert np.array_equal(ours["value"].to_numpy(), theirs["value"].to_numpy(), equal_nan=True)
    shutil.rmtree(results / "artefacts")
    assert not prepare(tmp_path / "suite.yaml", options).plan.missing


def test_the_plan_counts_a_shared_meta_training_once(tmp_path):
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **ELSEWHERE, "budget": {"gradient_evaluations": 1_000_000}}))
    plan = prepare(tmp_path / "suite.yaml", RunOptions(output=tmp_path / "results", device="cpu")).plan
    costly = [trial.place for trial in plan.missing if plan.seconds[trial.trial_id] > 100]
    assert costly == ["two -> two"] * 3


@pytest.mark.usefixtures("with_report")
def test_shots_are_cells_of_one_run(tmp_path):
    results = results_of(tmp_path, protocol={**SUITE["protocol"], "shots": [2, 6]}, meta_learners=["reptile", "scratch"], controls={},
                         primary={**SUITE["primary"], "compare": ["reptile", "scratch"]}, budget={"gradient_evaluations": 20})  # fmt: skip
    frame = bench.load_results(results)
    assert set(frame["shots"]) == {2, 6}
    tested = frame[(frame["split"] == "meta-test") & (frame["metric"] == "reverse-kl")]
    assert tested.groupby("shots", observed=True)["task_id"].nunique().tolist() == [3, 3]
    assert tested["fingerprint"].nunique() == 1  # the reference is the same
    page = (results / "report.html").read_text()
    assert "two, 2 shots" in page
    assert "what reptile reaches with 2 and 6 shots" in page
