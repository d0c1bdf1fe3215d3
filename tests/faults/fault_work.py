"""Cells that compute nothing but are troubled in every way, and ``bench run`` with them: what is tried is all that is around them.

The numbers of a cell are a function of its id, so that any two runs must agree. ``BENCH_FAULT`` says what happens, once per
marker file: ``{"how": ..., "marker": path, "seconds": duration of a cell, "log": file of (trial, process) lines}``.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from bench.store import save_samples, write_atomic


def run(payload):
    trial_id, fault = payload["trial"]["trial_id"], json.loads(os.environ.get("BENCH_FAULT", "{}"))
    folder = Path(payload["results"]) / "trials" / trial_id
    folder.mkdir(parents=True, exist_ok=True)
    if "log" in fault:
        descriptor = os.open(fault["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{trial_id} {os.getpid()}\n".encode())
        os.close(descriptor)
    if "marker" in fault and first(Path(fault["marker"])):
        answer = TROUBLES[fault["how"]](folder)
        if answer is not None:
            return answer
    time.sleep(fault.get("seconds", 0.0))
    save_samples(folder / "samples.npz", {"steps": np.arange(3)})
    steps, values = [0, 1, 2], np.random.default_rng(int(trial_id[:12], 16)).normal(size=3).tolist()
    rows = {"split": ["meta-test"] * 3, "metric": ["energy"] * 3, "task_id": ["t"] * 3, "adaptation_step": steps, "value": values}
    return {"status": "ok", "seconds": 0.01, "outer_steps": 3, "artefacts": ["samples.npz"]}, rows


def first(marker):
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def hang(folder):
    while True:
        time.sleep(1)


def wait(folder):
    """Long enough for somebody to kill it, and no more."""
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(30)


def eat_memory(folder):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), limits[1]))
    try:
        return np.ones((1 << 34,)), {}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def write_garbage(folder):
    for name in ("checkpoint.safetensors", "progress.json", "samples.npz", "error.txt"):
        (folder / name).write_bytes(os.urandom(2000))
    print("\x00\xff garbage", flush=True)
    return {"status": "ok", "seconds": "\ud800", "artefacts": ["../../../etc/passwd"], "colour": b"\xff"}, {"value": ["much"], 3: object()}


TROUBLES = {"hang": hang, "wait": wait, "memory": eat_memory, "garbage": write_garbage}


def main(arguments):
    from bench.cli import main as bench
    from bench.driver import run as driver

    def note_report(planned):
        page = planned.results / "report.html"
        write_atomic(page, (page.read_bytes() if page.exists() else b"") + f"{os.getpid()}\n".encode())
        return f"Report: {page}"

    driver.WORK, driver._report = "fault_work:run", note_report
    return bench(["run", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
