"""Runs of ``tests/suites/faults.yaml`` with cells that compute nothing, here or in processes of their own, and what must hold after each.

Whatever was done to a run, the same command finishes it, every planned cell has one row, and the numbers are those of an undisturbed run.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import fault_work

import bench
from bench.driver import run as driver
from bench.errors import ExitCode
from bench.store import read_ledger

SUITE = Path(__file__).parents[1] / "suites" / "faults.yaml"
CELLS = 12
PATIENCE = 240  # seconds; a loaded machine is slow, and only a hang is a fault


def numbers(results):
    """{(trial, step): value} of everything measured."""
    frame = bench.load_results(results)
    return dict(zip(zip(frame["trial_id"].astype(str), frame["adaptation_step"], strict=True), frame["value"], strict=True))


def assert_finished(results, undisturbed):
    rows = read_ledger(results).planned()
    assert len(rows) == CELLS
    assert {row.status for row in rows.values()} == {"ok"}
    assert numbers(results) == undisturbed
    assert sorted(results.rglob("*.tmp")) == []


def arguments(results, *more):
    return [str(SUITE), "--output", str(results), "--device", "cpu", *map(str, more)]


@contextlib.contextmanager
def started(results, *more, fault=None, limit=None):
    """A driver in a process of its own, killed when the test is done with it."""
    environment = {**os.environ, "BENCH_FAULT": json.dumps(fault or {})}
    script = [sys.executable, fault_work.__file__, *arguments(results, *(more or ("--executor", "inline")))]
    process = subprocess.Popen(
        script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=environment, preexec_fn=limit
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process):
    """Its exit code and what it said."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out + err


def wait_for(condition, process=None):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


class Here:
    """Runs in this process: plugins, suite and environment are the same every time, so they are looked up once."""

    def __init__(self, monkeypatch):
        self._patch = monkeypatch
        monkeypatch.setattr(driver, "WORK", "fault_work:run")
        monkeypatch.setattr(driver, "_report", lambda planned: "")
        for name in ("discover_for", "load_suite", "expand"):
            monkeypatch.setattr(driver, name, self._once(getattr(driver, name)))
        monkeypatch.setattr("bench.environment.environment_record", lambda plugins: {"python": "3"})

    @staticmethod
    def _once(function):
        made = []

        def call(*given, **named):
            if not made:
                made.append(function(*given, **named))
            return made[0]

        return call

    def run(self, results, *, fault=None, **options):
        """Exit code of ``bench run``."""
        self._patch.setenv("BENCH_FAULT", json.dumps(fault or {}))
        said = []
        code = driver.run(SUITE, driver.RunOptions(output=results, device="cpu", **{"executor": "inline", **options}), said.append)
        assert code in tuple(ExitCode)
        return code
