"""A larger budget goes on from where a smaller one ended, with the numbers of a fresh run; what looks at the whole budget starts anew."""

import json
from dataclasses import replace

import pytest
import yaml

import bench
from bench.cli import main
from bench.driver.planning import budget_lines, make_plan
from bench.errors import ExitCode
from bench.frame import ledger_frame
from bench.grid.cells import expand
from bench.registry.registry import discover
from bench.store import TrialRow
from bench.suite.model import load_suite
from bench.trial import training
from bench.trial.lineage import CHECKPOINT, FILE, Shorter, shorter_trials

SHORT, LONG = 160, 330
SUITE = {
    "question": "Does more help?",
    "name": "prolonged",
    "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["maml", "reptile"]},
    "budget": {"gradient_evaluations": SHORT, "warm_start": {"finetune": 60}},
    "protocol": {
        "shots": 4, "query": 4, "samples": 4, "task_batch": 2, "validations": 3,
        "adaptation_steps": {"train": 1, "test": [0, 1]}, "tasks": {"meta_val": 1, "meta_test": 2},
    },
    "games": ["gan"],
    "task_distributions": ["gaussian-rings"],
    "networks": [{"mlp": {"width": 4}}],
    "gan_losses": ["hinge"],
    "meta_learners": ["scratch", "maml", "reptile"],
    "regularisers": [["spectral-norm"]],
    "metrics": ["energy"],
}  # fmt: skip
AXES = ["arm", "split", "metric", "task_id", "outer_step", "adaptation_step"]
MAML, REPTILE = "maml + spectral-norm", "reptile + spectral-norm"


def write(path, amount):
    path.write_text(yaml.safe_dump({**SUITE, "budget": {**SUITE["budget"], "gradient_evaluations": amount}}))
    return str(path)


def outer_steps(*arguments):
    """Run the suite, and tell how many outer steps that took."""
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        step = training._outer_step
        patch.setattr(training, "_outer_step", lambda *given: (taken.append(1), step(*given)))
        patch.setattr("bench.driver.run._report", lambda planned: "no report: it takes longer than the run")
        assert main(["run", *map(str, arguments), "--executor", "inline", "--device", "cpu"]) == ExitCode.OK
    return len(taken)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What plan and why say before a larger budget, and the outer steps with and without a smaller one before."""
    place = tmp_path_factory.mktemp("prolonged")
    short, long = write(place / "short.yaml", SHORT), write(place / "long.yaml", LONG)
    found = {"place": place}
    outer_steps(short, "--output", place / "prolonged")
    found["before"] = ledger_frame(place / "prolonged").set_index("arm")["outer_steps"]
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("builtins.print", lambda *words, **more: said.append(" ".join(map(str, words))))
        assert main(["plan", long, "--output", str(place / "prolonged")]) == ExitCode.OK
        assert main(["why", str(place / "prolonged"), "--suite", long]) == ExitCode.OK
        found["said"] = "\n".join(said)
    found["prolonged"] = outer_steps(long, "--output", place / "prolonged")
    found["fresh"] = outer_steps(long, "--output", place / "fresh")
    return found


def measurements(folder):
    """By cell and place, the bits of value and ceiling."""
    frame = bench.load_results(folder)
    places = map(tuple, frame[["trial_id", *AXES]].astype(str).to_numpy())
    return dict(zip(places, map(bytes, frame[["value", "ceiling"]].to_numpy(float)), strict=True))


def test_a_prolonged_run_has_the_numbers_of_a_fresh_one(told):
    prolonged, fresh = (measurements(told["place"] / name) for name in ("prolonged", "fresh"))
    assert prolonged == fresh
    assert {split for _, _, split, *_ in fresh} == {"meta-train", "meta-val", "meta-test"}


def test_a_prolonged_cell_is_charged_for_all_that_it_rests_on(told):
    costs = ["gradient_evaluations", "samples_seen", "flops", "outer_steps"]
    prolonged, fresh = (ledger_frame(told["place"] / name).set_index("arm")[costs].sort_index() for name in ("prolonged", "fresh"))
    assert prolonged.equals(fresh)


def test_what_was_trained_before_is_not_trained_again(told):
    """The shared warm start and MAML go on; Reptile's outer rate decays over the budget, so it starts anew."""
    before, after = told["before"], ledger_frame(told["place"] / "fresh").set_index("arm")["outer_steps"]
    assert told["prolonged"] == after[REPTILE] + after[MAML] - before[MAML] < told["fresh"]


def test_plan_and_why_tell_what_goes_on_and_what_starts_anew(told):
    assert "go on from the same cell with a smaller budget x 1: saves " in told["said"]
    reason = "outer_schedule linear follows the share of the budget that is spent"
    assert f"start anew, though run with a smaller budget x 1: {reason}" in told["said"]
    ended = f"ended with a budget of {SHORT} gradient evaluations"
    assert f"{ended}: {reason}" in told["said"]
    assert "it would run, from where " in told["said"]


# ------------------------------------------------------------------ which one
@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """MAML with the larger budget."""
    suite = load_suite(write(tmp_path_factory.mktemp("cell") / "long.yaml", LONG), discover("builtin"))
    (found,) = (trial for trial in expand(suite, discover("builtin")) if trial.arm == MAML)
    return found


@pytest.fixture
def note(cell, tmp_path):
    """Leave a finished trial of the cell's lineage in a results folder."""

    def leaving(name, amount, horizon_use="", lineage_id=cell.lineage_id, text=""):
        folder = tmp_path / "trials" / name
        folder.mkdir(parents=True)
        (folder / CHECKPOINT).touch()
        (folder / FILE).write_text(text or json.dumps({"lineage_id": lineage_id, "amount": amount, "horizon_use": horizon_use}))
        return folder

    return leaving


def test_the_longest_shorter_trial_is_gone_on_from(cell, note, tmp_path):
    assert shorter_trials(tmp_path, [cell]) == {}
    for name, amount in (("a", 100), ("b", 250), ("c", LONG), ("d", 10 * LONG)):
        note(name, amount)
    note("e", 329, lineage_id="another")
    note("f", 300, horizon_use="it looked")
    assert shorter_trials(tmp_path, [cell]) == {cell.trial_id: Shorter("b", 250, "")}


def test_a_trial_with_a_checkpoint_of_its_own_goes_on_from_that(cell, note, tmp_path):
    note("a", 100)
    note(cell.trial_id, LONG)
    assert shorter_trials(tmp_path, [cell]) == {}


def test_without_its_checkpoint_a_trial_is_nothing_to_go_on_from(cell, note, tmp_path):
    (note("a", 100) / CHECKPOINT).unlink()
    assert shorter_trials(tmp_path, [cell]) == {}


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", '{"lineage_id": 1}', '{"lineage_id": "x", "amount": "9", "horizon_use": ""}', "[" * 9999]
)
def test_a_note_that_cannot_be_read_is_no_note(cell, note, tmp_path, text):
    note("a", 100, text=text)
    assert shorter_trials(tmp_path, [cell]) == {}


@pytest.mark.parametrize(("horizon_use", "share"), [("", 1 - SHORT / LONG), ("it looked", 1.0)])
def test_the_time_of_a_larger_budget_follows_from_that_of_the_smaller(cell, horizon_use, share):
    """100 s of training, so 206 s for the larger budget, of which it need not do the first 100; and 7 s of measuring."""
    before = {cell.trial_id: Shorter("a", SHORT, horizon_use)}
    row = TrialRow("a", cell=cell.cell(), status="ok", seconds=107.0, evaluation_seconds=7.0)
    plan = make_plan([cell], {"a": row}, {"gaussian-rings": "points"}, shorter=before)
    assert plan.seconds[cell.trial_id] == pytest.approx(share * 100 * LONG / SHORT + 7)
    assert plan.saved == pytest.approx((1 - share) * 100 * LONG / SHORT)
    assert plan.start_of(cell) == ("" if horizon_use else "a")
    assert len(budget_lines(plan)) == 1


def test_the_judge_is_expected_of_the_first_cell_that_needs_it(cell):
    judge = replace(cell, budget={"axis": "outer_steps", "amount": 10_000, "warm_start": None})
    cells = [replace(cell, trial_id=name, judge_key="judge-x") for name in ("first", "second")]
    seconds = make_plan(cells, {}, {"gaussian-rings": "points"}, judges={"judge-x": judge}).seconds
    built = make_plan(cells, {}, {"gaussian-rings": "points"}).seconds
    assert seconds["first"] > built["first"] + 1
    assert seconds["second"] == built["second"]
