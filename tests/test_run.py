"""`bench run`, end to end: every cell has a row, executors agree, interruptions lose nothing, numbers are equal bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bench
from bench.cli import main
from bench.errors import ExitCode
from bench.frame import ledger_frame
from bench.store import read_runs

ROOT = Path(__file__).parent.parent
TWIN = ROOT / "tests" / "suites" / "twin.yaml"
SMOKE = ROOT / "suites" / "smoke.yaml"


def measurements(results):
    """Everything that was measured, in an order of its own; costs and times are no measurements."""
    frame = bench.load_results(results)
    columns = [
        "trial_id",
        "split",
        "task_id",
        "outer_step",
        "adaptation_step",
        "metric",
        "value",
        "ceiling",
        "n_real",
        "n_fake",
        "fingerprint",
    ]
    frame = frame[columns].astype({"split": str, "task_id": str, "metric": str, "fingerprint": str, "trial_id": str})
    return frame.sort_values(columns[:6], na_position="first").reset_index(drop=True)


def assert_equal_bit_for_bit(one, other):
    one, other = measurements(one), measurements(other)
    assert len(one) == len(other)
    for column in one.columns:
        a, b = one[column], other[column]
        if column in ("value", "ceiling"):
            assert np.array_equal(bits(a), bits(b)), column
        else:
            assert a.astype(str).tolist() == b.astype(str).tolist(), column


def bits(values):
    """The bits of floats; one NaN is as good as another (a checkpoint's text form forgets its sign)."""
    numbers = values.to_numpy(float)
    return np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)


def interruptible(*arguments):
    """The same, where the test itself runs with Ctrl-C ignored, as in the background of a script."""
    lines = ["import signal, sys", "signal.signal(signal.SIGINT, signal.default_int_handler)", "from bench.cli import main"]
    return [sys.executable, "-c", "; ".join([*lines, "sys.exit(main(sys.argv[1:]))"]), "run", *map(str, arguments)]


def command(*arguments):
    return [sys.executable, "-m", "bench.cli", "run", *map(str, arguments)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The twin, run in this process by the in-process executor."""
    results = tmp_path_factory.mktemp("twin") / "results"
    assert main(["run", str(TWIN), "--output", str(results), "--executor", "inline", "--device", "cpu"]) == ExitCode.CELL_FAILED
    return results


def test_every_planned_cell_has_a_row(finished):
    ledger = ledger_frame(finished)
    arms = 5 + 2 + 1 - 0  # learners with both orders of maml, the two that go wrong, the control
    assert len(ledger) == 2 * (arms * 2 + 7 * 2)  # replicates x (losses without penalty + losses with it, which have no control)
    assert set(ledger["status"]) == {"ok", "diverged", "failed", "skipped"}
    assert (ledger.loc[ledger["status"] != "ok", "reason"] != "").all()


def test_divergence_is_an_outcome_with_class_and_step(finished):
    diverged = ledger_frame(finished).query("meta_learner == 'diverges' and status != 'skipped'")
    assert set(diverged["status"]) == {"diverged"}
    assert diverged["reason"].str.match(r"(nan_param|nan_sample|inf|exploded) at (outer|adaptation) step \d+").all()


def test_failure_names_component_and_cure(finished):
    failed = ledger_frame(finished).query("meta_learner == 'fails' and status != 'skipped'")
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains("no learning rate for player 'discriminator'").all()


def test_skipped_cells_say_why(finished):
    skipped = ledger_frame(finished).query("status == 'skipped'")
    assert set(skipped["reason"]) == {"excluded by the suite: the penalty belongs to the Wasserstein loss"}


def test_frame_has_the_promised_columns(finished):
    frame = bench.load_results(finished)
    promised = [
        "trial_id",
        "replicate",
        "status",
        "split",
        "task_id",
        "outer_step",
        "adaptation_step",
        "metric",
        "value",
        "n_real",
        "n_fake",
        "fingerprint",
    ]
    families = ["game", "task_distribution", "network", "gan_loss", "meta_learner", "regularisers", "augmentations", "control"]
    assert set(promised + families) <= set(frame.columns)
    tested = frame[(frame["split"] == "meta-test") & (frame["status"] == "ok") & (frame["metric"] == "energy")]
    assert tested.groupby("trial_id", observed=True).size().eq(3 * 2).all()  # tasks x adaptation steps
    assert tested["value"].notna().all()


def test_the_health_of_games_is_measured_by_adaptation_step_and_by_outer_step(finished):
    frame = bench.load_results(finished)
    frame = frame[frame["status"] == "ok"].astype({"split": str, "metric": str})
    steps = {key: set(rows["adaptation_step"]) for key, rows in frame.groupby(["split", "metric"])}
    for player in ("generator", "discriminator"):
        assert steps["meta-test", f"gradient-norm-{player}"] == steps["meta-test", f"vanishing-steps-{player}"] == {2}  # no gradient at 0
        assert steps["meta-val", f"gradient-norm-{player}"] == {2}
    for metric in ("saturation", "discriminator-gap"):
        assert (steps["meta-test", metric], steps["meta-val", metric]) == ({0, 2}, {2})
        assert frame.loc[(frame["split"] == "meta-val") & (frame["metric"] == metric), "outer_step"].nunique() > 1
    assert '<section id="health">' in (finished / "report.html").read_text()


def test_arms_share_tasks_and_start(finished):
    """At step 0 before any meta-training, everyone who starts from the same warm start gives the same samples."""
    frame = bench.load_results(finished)
    step0 = frame[(frame["split"] == "meta-val") & (frame["outer_step"] == 0) & (frame["metric"] == "energy")]
    assert len(step0) > 0
    test = frame[(frame["split"] == "meta-test") & (frame["metric"] == "energy")]
    assert test.groupby("arm", observed=True)["task_id"].agg(set).map(frozenset).nunique() == 1


def test_warm_start_is_charged_to_each_arm_that_uses_it(finished):
    ledger = ledger_frame(finished).query("status == 'ok'")
    trained = ledger[ledger["meta_learner"] != "scratch"]
    assert (trained["gradient_evaluations"] >= 200).all()
    assert (trained["gradient_evaluations"] < 200 + 60).all()  # less than one outer step beyond the budget
    assert (ledger.loc[ledger["meta_learner"] == "scratch", "gradient_evaluations"] == 0).all()


def test_a_second_run_does_nothing(finished, capsys):
    before = (finished / "ledger.jsonl").read_bytes()
    assert main(["run", str(TWIN), "--output", str(finished), "--executor", "inline", "--device", "cpu"]) == ExitCode.CELL_FAILED
    assert "0 to run" in capsys.readouterr().out
    assert (finished / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])], ids=["lost", "cut"])
def test_lost_measurements_are_made_anew(finished, tmp_path, damage):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    damage(next((results / "segments").glob("*.parquet")))
    main(["run", str(TWIN), "--output", str(results), "--executor", "inline", "--device", "cpu"])
    assert_equal_bit_for_bit(results, finished)


def test_damaged_records_are_named_with_a_cure(finished, tmp_path, capsys):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    for text in ("{", "{}", "[]"):
        (results / "suite.json").write_text(text)
        assert main(["report", str(results)]) == ExitCode.USAGE
        message = capsys.readouterr().err
        assert "suite.json" in message
        assert "run the suite again" in message


def test_the_command_to_reproduce_keeps_what_changes_numbers(finished):
    assert (finished / "command.txt").read_text() == "bench run twin.yaml --device cpu"


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["run", str(TWIN), "--output", str(tmp_path / "results"), "--device", "cuda"]) == ExitCode.USAGE
    assert "use --device cpu" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_report_is_there_and_says_what_went_wrong(finished):
    page = (finished / "report.html").read_text()
    assert "diverges" in page
    assert "no learning rate for player" in page
    assert (finished / "report" / "report.md").is_file()


def test_records_name_no_machine(finished):
    for path in [finished / "ledger.jsonl", finished / "suite.json", *(finished / "environments").glob("*.json"), finished / "report.html"]:
        text = path.read_text()
        assert str(ROOT) not in text
        assert str(finished) not in text


def test_a_selection_runs_only_what_it_names(tmp_path):
    results = tmp_path / "results"
    arguments = ["run", str(TWIN), "--output", str(results), "--executor", "inline", "-k", "scratch and wasserstein and not penalty"]
    assert main(arguments) == ExitCode.OK
    ledger = ledger_frame(results)
    assert set(ledger["arm"]) == {"scratch"}
    assert set(ledger["gan_loss"]) == {"wasserstein"}
    assert main([*arguments[:-1], "nobody"]) == ExitCode.NOTHING_SELECTED


def test_labels_change_no_number(finished, tmp_path):
    """They are in no identity, so random numbers must not be named after them."""
    from bench.driver.run import RunOptions, prepare
    from bench.trial.run import run

    planned = prepare(TWIN, RunOptions(output=finished, device="cpu"))
    trial = next(t for t in planned.plan.trials if t.arm == "reptile + gradient-penalty" and not t.skip)
    families = ("game", "task_distribution", "network", "gan_loss", "meta_learner", "feature_extractor")
    renamed = {family: replace(getattr(trial, family), label="other") for family in families}
    sets = {family: tuple(replace(one, label="other") for one in getattr(trial, family)) for family in ("regularisers", "metrics")}
    _, again = run({"trial": replace(trial, **renamed, **sets, suite="other", arm="other").to_dict(), "results": str(tmp_path)})
    once = measurements(finished).query("trial_id == @trial.trial_id")
    key = ["split", "task_id", "outer_step", "adaptation_step", "metric"]

    def rows(columns):
        told = [["" if value is None or value is pd.NA or value != value else str(value) for value in columns[name]] for name in key]
        return sorted(zip(*told, columns["value"], strict=True))

    assert rows(again) == rows(once)


def test_debug_raises_here(tmp_path, capsys):
    with_failure = ["run", str(TWIN), "--output", str(tmp_path), "--debug", "-k"]
    assert main([*with_failure, "reptile and not fails"]) == ExitCode.OK
    assert '"status": "ok"' in capsys.readouterr().out
    assert main([*with_failure, "fails"]) != ExitCode.OK
    assert "no learning rate for player" in capsys.readouterr().err


def test_interrupted_training_goes_on_with_the_same_numbers(finished, tmp_path, monkeypatch):
    """A trial that is cut in the middle of meta-training, after a checkpoint, ends where an undisturbed one does."""
    from bench.trial import run as work
    from bench.trial import training

    suite_trials = json.loads(subprocess.run(
        [sys.executable, "-m", "bench.cli", "plan", str(TWIN), "--json", "--output", str(tmp_path / "none"), "--device", "cpu"],
        capture_output=True, text=True, check=True,
    ).stdout)["cells"]  # fmt: skip
    cell = next(c for c in suite_trials if c["arm"] == "maml(order=2)" and c["gan_loss"] == "wasserstein")

    class CutError(Exception):
        pass

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    save, saves = training.save_checkpoint, []

    def cut(path, state, engine):
        save(path, state, engine)
        saves.append(state.step)
        if len(saves) == 2:
            raise CutError

    from bench.driver.run import RunOptions, prepare

    planned = prepare(TWIN, RunOptions(output=tmp_path / "none", device="cpu"))
    trial = next(t for t in planned.plan.trials if t.trial_id == cell["trial_id"])
    payload = {"trial": trial.to_dict(), "results": str(tmp_path / "cut")}
    monkeypatch.setattr(training, "save_checkpoint", cut)
    with pytest.raises(CutError):
        work.run(payload)
    monkeypatch.setattr(training, "save_checkpoint", save)
    _, resumed = work.run(payload)
    whole = measurements(finished)
    whole = whole[whole["trial_id"] == trial.trial_id]
    key = ["split", "task_id", "outer_step", "adaptation_step", "metric"]
    again = sorted(zip(*(map(str, resumed[name]) for name in key), resumed["value"], strict=True))
    once = sorted(zip(*(whole[name].astype(str).replace("<NA>", "None") for name in key), whole["value"], strict=True))
    assert [row[-1] for row in again] == [row[-1] for row in once]


def test_a_stop_in_the_middle_of_a_trial_goes_on_with_the_same_numbers(finished, tmp_path, monkeypatch, capsys):
    """Ctrl-C once: the trial that runs saves where it stands, and the same command ends where an undisturbed run does."""
    from bench.trial import interruption
    from bench.trial import run as work

    shares = []

    def ask_in_the_middle(folder, check, doing=""):
        def report(share):
            shares.extend([] if doing else [share])
            if len(shares) == 1:
                interruption.request()

        return report

    monkeypatch.setattr(work, "_reporter", ask_in_the_middle)
    results = tmp_path / "results"
    selected = "maml and wasserstein and not penalty and replicate=0"
    arguments = ["run", str(TWIN), "--output", str(results), "--executor", "inline", "--device", "cpu", "-k", selected]
    assert main(arguments) == ExitCode.INTERRUPTED
    assert "the same command goes on from there" in capsys.readouterr().out
    assert 0 < shares[-1] < 1
    stopped = ledger_frame(results).query("status == 'running'")
    assert len(stopped) == 1
    assert (results / "trials" / stopped["trial_id"].iloc[0] / "checkpoint.safetensors").exists()
    assert main(arguments) == ExitCode.OK
    assert len(shares) > 2
    again, whole = measurements(results), measurements(finished)
    whole = whole[whole["trial_id"].isin(again["trial_id"])].reset_index(drop=True)
    assert np.array_equal(bits(again["value"]), bits(whole["value"]))


def test_each_run_records_where_its_time_went(finished):
    runs = read_runs(finished)
    assert len(runs) == 1  # a run that does nothing leaves no record
    assert runs[0]["trials"] == (ledger_frame(finished)["status"] != "skipped").sum()
    parts = sum(runs[0][f"{part}_seconds"] for part in ("working", "starting", "handover", "idle"))
    assert parts == pytest.approx(runs[0]["seconds"], rel=0.05, abs=0.5)
    assert "The harness took" in (finished / "report" / "report.md").read_text()


def test_maml_learns_to_fit_sinusoids_where_joint_training_cannot(tmp_path):
    """The regression game, one player: the mean of all sinusoids is about zero, so joint training has nothing to transfer."""
    results = tmp_path / "results"
    suite = ROOT / "tests" / "suites" / "sinusoids.yaml"
    assert main(["run", str(suite), "--output", str(results), "--executor", "inline", "--device", "cpu"]) == ExitCode.OK
    frame = bench.load_results(results)
    tested = frame[(frame["split"] == "meta-test") & (frame["metric"] == "mse")]
    error = tested.groupby(["arm", "adaptation_step"], observed=True)["value"].mean()
    assert error["maml", 5] < error["maml", 0]
    assert error["maml", 5] < 0.75 * error["finetune", 5]
    assert error["maml", 5] < 0.5 * error["scratch", 5]


@pytest.mark.faults
def test_ray_with_two_workers_and_the_inline_executor_agree(finished, tmp_path):
    results = tmp_path / "ray"
    done = subprocess.run(command(TWIN, "--output", results, "--jobs", 2, "--device", "cpu"), capture_output=True, text=True)
    assert done.returncode == ExitCode.CELL_FAILED, done.stderr
    assert_equal_bit_for_bit(results, finished)


@pytest.mark.faults
def test_killing_the_driver_in_the_middle_changes_no_number(tmp_path):
    """SIGKILL in the middle of the smoke suite, then the same command: equal bit for bit to an undisturbed run."""
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    arguments = command(SMOKE, "--output", killed, "--jobs", 2, "--device", "cpu")
    driver = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    ledger = killed / "ledger.jsonl"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        text = ledger.read_text() if ledger.exists() else ""
        if text.count('"finished"') >= 4:
            break
        time.sleep(0.2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    statuses = ledger_frame(killed)["status"].astype(str)
    assert 4 <= (statuses == "ok").sum() < (statuses != "skipped").sum()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(
        command(SMOKE, "--output", undisturbed, "--executor", "inline", "--device", "cpu"), check=True, stdout=subprocess.DEVNULL
    )
    assert_equal_bit_for_bit(killed, undisturbed)


@pytest.mark.faults
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    results = tmp_path / "results"
    driver = subprocess.Popen(
        interruptible(SMOKE, "--output", results, "--executor", "inline", "--device", "cpu"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ledger = results / "ledger.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (ledger.exists() and '"finished"' in ledger.read_text()):
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == ExitCode.INTERRUPTED
    assert "stopping after the next checkpoint; Ctrl-C again stops now" in err
    assert "the same command goes on from there" in out
    assert f"bench run {SMOKE}" in out
    assert (ledger_frame(results)["status"] == "ok").any()
    shutil.rmtree(results)
