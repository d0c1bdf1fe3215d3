"""Drivers that are killed, stopped, run beside each other, out of disk, or in front of damaged files."""

import itertools
import resource
import shutil
import signal
import time

import pytest
from fault_runs import CELLS, SUITE, Here, assert_finished, ended, lines, started, wait_for

from bench.cli import main
from bench.driver.status import status
from bench.errors import ExitCode, UsageError
from bench.registry.registry import discover
from bench.store import SEGMENTS, read_ledger
from bench.suite.model import load_suite

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("cells", [0, 7])
def test_kill_9(here, undisturbed, tmp_path, cells):
    results, log = tmp_path / "results", tmp_path / "log"
    with started(results, fault={"seconds": 0.2, "log": str(log)}) as process:
        wait_for(lambda: len(lines(log)) > cells, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert here.run(results) == ExitCode.OK
    assert_finished(results, undisturbed)


def test_sigterm_stops_says_how_to_go_on_and_loses_nothing(here, undisturbed, tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    with started(results, fault={"seconds": 0.3, "log": str(log)}) as process:
        wait_for(lambda: len(lines(log)) > 3, process)
        process.send_signal(signal.SIGTERM)
        code, told = ended(process)
    assert (code, "the same command goes on from there" in told) == (ExitCode.INTERRUPTED, True), told
    assert sum(row.status == "ok" for row in read_ledger(results).rows.values()) >= 3
    assert here.run(results) == ExitCode.OK
    assert_finished(results, undisturbed)


# ------------------------------------------------------------------ two drivers
def test_a_second_driver_is_refused_or_joins_and_no_cell_runs_twice(undisturbed, tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    fault = {"seconds": 1.0, "log": str(log)}
    with started(results, fault=fault) as first:
        wait_for(lambda: lines(log), first)
        with started(results, fault=fault) as refused, started(results, "--executor", "inline", "--join", fault=fault) as second:
            code, told = ended(refused)
            assert code == ExitCode.USAGE
            assert "another bench process (pid " in told
            assert str(first.pid) in told
            assert "run beside it with --join" in told
            answers = [ended(second), ended(first)]
    assert [code for code, _ in answers] == [ExitCode.OK] * 2, answers
    assert_finished(results, undisturbed)
    ran = [line.split() for line in lines(log)]
    assert len({trial for trial, _ in ran}) == len(ran) == CELLS
    assert {pid for _, pid in ran} == {str(first.pid), str(second.pid)}
    assert len(lines(results / "report.html")) == 1  # by whoever left last


def test_a_driver_takes_over_what_a_killed_one_was_running(undisturbed, tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    marker = {"how": "hang", "marker": str(tmp_path / "marker"), "seconds": 0.1, "log": str(log)}
    with started(results, fault=marker) as first:
        wait_for(lambda: lines(log), first)
        with started(results, "--executor", "inline", "--join", fault={"seconds": 0.1, "log": str(log)}) as second:
            wait_for(lambda: len(lines(log)) == CELLS, second)  # all but the one that hangs
            assert second.poll() is None
            first.send_signal(signal.SIGKILL)
            first.wait()
            code, told = ended(second)
    assert code == ExitCode.OK, told
    assert_finished(results, undisturbed)
    assert len(lines(log)) == CELLS + 1
    assert lines(results / "report.html") == [str(second.pid)]


def test_a_driver_of_another_suite_does_not_join(here, tmp_path, monkeypatch):
    results, log = tmp_path / "results", tmp_path / "log"
    with started(results, fault={"seconds": 0.5, "log": str(log)}) as first:
        wait_for(lambda: lines(log), first)
        before = (results / "suite.json").read_bytes()
        other = load_suite(SUITE, discover()).model_copy(update={"replicates": 2})
        monkeypatch.setattr("bench.driver.run.load_suite", lambda *given: other)
        with pytest.raises(UsageError, match="runs 'faults' with other settings"):
            here.run(results, join=True)
        assert (results / "suite.json").read_bytes() == before
        assert ended(first)[0] == ExitCode.OK
    assert len(read_ledger(results).planned()) == CELLS


# ------------------------------------------------------------------ disks
@pytest.mark.parametrize("size", [500, 6000])
def test_a_full_disk(here, undisturbed, tmp_path, size):
    """A limit on the size of files is what a full disk looks like to one process."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    results = tmp_path / "results"
    with started(results, limit=limit) as process:
        code, told = ended(process)
    assert code == ExitCode.USAGE, told
    assert "no room to write" in told
    assert "free disk space or raise the quota" in told
    assert "Traceback" not in told
    assert here.run(results) == ExitCode.OK
    assert_finished(results, undisturbed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished folder."""
    results = tmp_path_factory.mktemp("whole") / "results"
    with pytest.MonkeyPatch.context() as patch:
        Here(patch).run(results)
    return results


@pytest.mark.parametrize(
    "kind", ["ledger.jsonl", "suite.json", "identities.json", "suite.yaml", "command.txt", "lock", "segments", "environments"]
)
def test_a_file_cut_at_every_hundredth_byte(here, undisturbed, whole, tmp_path, kind):
    path = whole / kind if (whole / kind).is_file() else next((whole / kind).iterdir())
    for size in range(0, max(1, path.stat().st_size), 100):
        results = tmp_path / "results"
        shutil.copytree(whole, results)
        cut = results / path.relative_to(whole)
        cut.write_bytes(path.read_bytes()[:size])
        assert here.run(results) == ExitCode.OK
        assert_finished(results, undisturbed)
        shutil.rmtree(results)


def test_lost_segments_and_damaged_lines_stand_in_the_status(whole, tmp_path, capsys):
    results = tmp_path / "results"
    shutil.copytree(whole, results)
    assert (status(results)["lost"], status(results)["damage"]) == ([], [])
    segment = next((results / SEGMENTS).iterdir())
    members = sum(row.segment == segment.name for row in read_ledger(results).rows.values())
    segment.write_bytes(segment.read_bytes()[:-1])
    ledger = results / "ledger.jsonl"
    ledger.write_bytes(b"garbage\n" + ledger.read_bytes())
    found = status(results)
    assert len(found["lost"]) == members > 0
    assert found["damage"] == ["ledger.jsonl:1: Expecting value: line 1 column 1 (char 0)"]
    assert main(["status", str(results)]) == ExitCode.OK
    told = capsys.readouterr().out
    assert f"segments/{segment.name}" in told
    assert "ledger.jsonl:1: " in told
    assert "the next run makes them anew" in told


# ------------------------------------------------------------------ clocks
def test_a_clock_that_jumps(here, undisturbed, tmp_path, monkeypatch):
    """The clock of the wall may be set by anybody; what matters goes by the one that never goes back."""
    now, jumps = time.time, itertools.cycle([1e9, -1e9])
    results = tmp_path / "results"
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: now() + next(jumps))
        assert here.run(results, fault={"seconds": 0.01}) == ExitCode.OK
        assert all(status(results)["beat"] >= 0 for _ in range(2))
    assert_finished(results, undisturbed)
