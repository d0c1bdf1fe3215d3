"""Faults that take minutes or a root's rights: ``python tests/performance/faults.py`` runs them and stores what came out."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_runs import CELLS, assert_finished, ended, lines, started, wait_for

from bench.cli import main
from bench.errors import ExitCode
from bench.store import read_ledger

pytestmark = [pytest.mark.faults_full, pytest.mark.filterwarnings("ignore")]

PORT = 16379


@pytest.mark.parametrize("moment", range(10))
def test_kill_9_at_any_moment(here, undisturbed, tmp_path, moment):
    """From before the first record to after the last."""
    results, log = tmp_path / "results", tmp_path / "log"
    rng = random.Random(moment)
    with started(results, fault={"seconds": 0.05, "log": str(log)}) as process:
        wait_for((results / ["lock", "suite.json", "ledger.jsonl"][moment % 3]).exists, process)
        time.sleep(rng.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert here.run(results) == ExitCode.OK
    assert_finished(results, undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB that can be filled and made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a file system needs a root's rights")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_full(here, undisturbed, small_disk):
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
            file.flush()
    with ballast.open("r+b") as file:
        file.truncate(max(0, ballast.stat().st_size - 40_000))  # room to begin
    results = small_disk / "results"
    with started(results) as process:
        code, told = ended(process)
    assert (code, "no room to write" in told) == (ExitCode.USAGE, True), told
    ballast.unlink()
    assert here.run(results) == ExitCode.OK
    assert_finished(results, undisturbed)


def test_a_disk_that_is_read_only(here, undisturbed, small_disk):
    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    results = small_disk / "results"
    remount("ro")
    with started(results) as process:
        code, told = ended(process)
    assert (code, "not writable" in told and "--output" in told) == (ExitCode.USAGE, True), told
    remount("rw")
    assert here.run(results) == ExitCode.OK
    remount("ro")
    assert main(["status", str(results)]) == ExitCode.OK  # reading needs no writing
    assert_finished(results, undisturbed)


def test_a_head_that_dies_ends_the_run_and_the_same_command_goes_on(here, undisturbed, tmp_path, monkeypatch):
    """The head holds the state of the cluster, so the driver cannot go on, but it must end and lose nothing."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    options = ["--head", f"--port={PORT}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    head = subprocess.Popen([Path(sys.executable).with_name("ray"), "start", *options], start_new_session=True, **quiet)
    try:
        results, log = tmp_path / "results", tmp_path / "log"
        time.sleep(20)
        with started(results, "--address", f"127.0.0.1:{PORT}", "--jobs", 2, fault={"seconds": 1.0, "log": str(log)}) as driver:
            wait_for(lambda: len(lines(log)) >= 4, driver)
            os.killpg(head.pid, signal.SIGKILL)
            code, told = ended(driver)
        assert code != ExitCode.OK, told
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
    assert len(read_ledger(results).planned()) == CELLS
    assert here.run(results) == ExitCode.OK
    assert_finished(results, undisturbed)
