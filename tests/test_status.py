"""How far a run is, what is run again, and when a run gives up."""

import json

import pytest
import yaml

from bench.cli import main
from bench.driver.status import status, status_text
from bench.errors import ExitCode
from bench.store import Store, read_ledger, write_progress

SUITE = {
    "question": "Which cells end?",
    "name": "troubled",
    "replicates": 2,
    "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["scratch", "finetune"]},
    "budget": {"outer_steps": 2},
    "protocol": {
        "shots": 4, "query": 4, "samples": 4, "task_batch": 1, "validations": 0,
        "adaptation_steps": {"train": 1, "test": [0, 1]}, "tasks": {"meta_val": 1, "meta_test": 2},
    },
    "games": ["gan"],
    "task_distributions": ["gaussian-rings"],
    "networks": [{"mlp": {"width": 4}}],
    "gan_losses": ["hinge"],
    "meta_learners": ["scratch", "finetune", {"reptile": {"inner_lr": {"generator": 0.1}, "label": "fails"}}],
    "metrics": ["energy"],
}  # fmt: skip


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run a verb on the suite in this process; exit code and output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "troubled.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False))

    def running(verb, *arguments, suite="troubled.yaml"):
        code = main([verb, suite, "--executor", "inline", "--device", "cpu", *map(str, arguments)])
        return code, capsys.readouterr().out

    return running


def outcomes(results="results/troubled"):
    """{arm: [(status, attempts), ...]} of both replicates."""
    found = {}
    for row in read_ledger(results).planned().values():
        found.setdefault(row.cell["arm"], []).append((row.status, row.attempts))
    return found


def test_failed_cells_run_once_more_when_asked_for_and_never_by_themselves(bench):
    assert bench("run")[0] == ExitCode.CELL_FAILED
    first = outcomes()
    assert first == {"scratch": [("ok", 1)] * 2, "finetune": [("ok", 1)] * 2, "fails": [("failed", 1)] * 2}
    bench("run")
    bench("retry", "--oom", "--timed-out")
    assert outcomes() == first
    code, out = bench("retry", "--failed")
    assert (code, "6 cells, 4 finished before, 2 to run" in out) == (ExitCode.CELL_FAILED, True)
    assert outcomes() == {**first, "fails": [("failed", 2)] * 2}
    bench("retry", "-k", "replicate=1")
    assert outcomes()["fails"] == [("failed", 2), ("failed", 3)]


def test_a_run_gives_up_after_as_many_failures_as_it_is_told_and_goes_on_later(bench):
    code, out = bench("run", "--max-failures", 1)
    assert code == ExitCode.CELL_FAILED
    assert "Stopped: 1 cell failed, the last with: " in out
    assert "no learning rate for player 'discriminator'" in out
    assert "bench retry troubled.yaml --failed" in out
    assert sum(status == "failed" for rows in outcomes().values() for status, _ in rows) == 1
    assert any(status == "planned" for rows in outcomes().values() for status, _ in rows)
    bench("run")
    assert {status for rows in outcomes().values() for status, _ in rows} == {"ok", "failed"}


@pytest.mark.parametrize(("option", "value"), [("--timeout", "0"), ("--timeout", "soon"), ("--timeout", "inf"), ("--max-failures", "0")])
def test_limits_are_checked(bench, capsys, option, value):
    assert main(["run", "troubled.yaml", option, value]) == ExitCode.USAGE
    assert option in capsys.readouterr().err


# ------------------------------------------------------------------ status
def cell(arm, replicate):
    return {"arm": arm, "task_distribution": "glyphs", "network": "dcgan", "gan_loss": "hinge", "replicate": replicate, "shots": 5}


def test_status_is_read_from_the_ledger_of_a_run_that_goes_on(tmp_path):
    names = {f"{number:08x}": cell(arm, number % 3) for number, arm in enumerate(["maml"] * 3 + ["reptile"] * 3)}
    done, failed, running, *others = names
    with Store.create(tmp_path) as store:
        store.plan(names)
        store.start(done)
        store.finish(done, {"status": "ok", "seconds": 100.0})
        store.start(failed)
        store.finish(failed, {"status": "oom", "reason": "not enough memory"})
        store.start(running)
        store.flush()
        store.trial_folder(running).mkdir()
        write_progress(store.trial_folder(running) / "progress.json", {"progress": 0.25})
        found = status(tmp_path)
    assert found["counts"] == {"planned": 3, "running": 1, "ok": 1, "oom": 1}
    assert [(one["trial_id"], one["share"]) for one in found["running"]] == [(running, 0.25)]
    assert [(one["trial_id"], one["reason"]) for one in found["troubled"]] == [(failed, "not enough memory")]
    # Three whole cells and three quarters of one, each at what the one finished cell took.
    assert found["seconds_left"] == pytest.approx(375)
    assert json.loads(json.dumps(found)) == found
    text = status_text(found)
    for words in ("2 of 6 cells ended", "25%", "maml on glyphs", "left: about 6 min of one core", "oom", "not enough memory"):
        assert words in text
    assert len(others) == 3


def test_what_a_cell_does_before_its_own_training_is_no_share_of_it(tmp_path):
    done, running = "0" * 8, "1" * 8
    with Store.create(tmp_path) as store:
        store.plan({done: cell("maml", 0), running: cell("maml", 1)})
        store.start(done)
        store.finish(done, {"status": "ok", "seconds": 100.0})
        store.start(running)
        store.flush()
        store.trial_folder(running).mkdir()
        write_progress(store.trial_folder(running) / "progress.json", {"progress": 0.5, "doing": "training the judge"})
        found = status(tmp_path)
    assert found["seconds_left"] == pytest.approx(100)
    assert "50%  maml on glyphs" in status_text(found)
    assert "(training the judge)" in status_text(found)


def test_before_a_cell_has_ended_nothing_is_guessed(tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({"0" * 8: cell("maml", 0)})
        assert status(tmp_path)["seconds_left"] is None
    assert "left" not in status_text(status(tmp_path))


def test_what_is_no_results_folder_is_refused(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == ExitCode.USAGE
    assert "ledger.jsonl" in capsys.readouterr().err
