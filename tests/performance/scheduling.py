"""What the harness adds to a trial: trivial cells through the real executor and store, beside Ray Tune and benchopt.

    OMP_NUM_THREADS=1 python tests/performance/scheduling.py
    OMP_NUM_THREADS=1 python tests/performance/scheduling.py --benchopt /path/to/python   # of an environment that has benchopt

1,000 cells whose work is to return one number run on two workers; each has its claim, its row and its measurement in the results
folder, as in ``bench run``. Ray Tune and benchopt run trials that return the same number; theirs are fewer, since one takes so long, and
the time of each is what counts. Start-up (``ray.init``, imports) is told apart. Wall clock, because waiting is what is measured: the load
of the machine is printed beside it. Writes ``results/performance/scheduling.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "performance"
CELLS, SLOTS = 1000, 2
TUNE = {"reuse_actors=True": 40, "reuse_actors=False": 4}
LIMIT_SECONDS = 500

Figures = dict[str, float]


def trivial(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The work of a cell; ``seconds`` is when it ended, so that a reader of the ledger can tell how long its row was on the way."""
    ended = {"seconds": time.time()} if payload.get("dated") else {}
    return {"status": "ok", **ended}, {"split": ["meta-test"], "metric": ["m"], "value": [payload["value"]]}


def bench_cells(cells: int) -> Figures:
    """This harness: seconds and milliseconds of ``cells`` trivial cells, and how soon the first row is on the disk."""
    from bench.schedule import Event, Job, RayExecutor
    from bench.store import Store

    executor = RayExecutor(SLOTS)
    jobs = [Job(f"{n:016x}", {"value": float(n), "dated": n == 0}, expected_seconds=cells - n, lane=str(n % 10)) for n in range(cells)]
    with tempfile.TemporaryDirectory() as folder, Store.create(folder) as store:
        store.plan({job.key: {"arm": job.lane} for job in jobs})

        spent: list[float] = []

        def on_event(event: Event) -> None:
            spent.append(time.process_time())
            if event.kind == "finished":
                store.finish(event.job.key, event.row, event.measurements)

        seen = threading.Thread(target=_watch, args=(Path(folder), jobs[0].key, visible := []))
        seen.start()
        began = time.monotonic()
        executor.run(
            jobs,
            "scheduling:trivial",
            on_event=on_event,
            on_tick=store.tick,
            may_start=lambda key: store.claim(key, attempts=0),
            folder=Path(folder),
        )
        store.flush()
        whole = time.monotonic() - began
        seen.join(timeout=10)
    record = executor.account.record()
    return {
        "cells": cells,
        "connecting_seconds": record["connecting_seconds"],
        "seconds": whole - record["connecting_seconds"],
        "starting_seconds": record["starting_seconds"] / SLOTS,
        "ms_per_cell": 1e3 * (record["handover_seconds"] + record["idle_seconds"]) / cells,
        "driver_cpu_ms_per_cell": 1e3 * (spent[-1] - spent[0]) / cells,
        "dispatch_median_ms": record["dispatch_median_ms"],
        "dispatch_95_ms": record["dispatch_95_ms"],
        "first_row_seconds": visible[0] if visible else float("nan"),
    }


def _watch(folder: Path, trial_id: str, visible: list[float]) -> None:
    """When a reader finds the row of a cell, after the cell said that it ended."""
    from bench.store import read_ledger
    from bench.store.ledger import LEDGER

    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        if b'"finished"' in (folder / LEDGER).read_bytes():  # cheap: the reader must not be what the cells wait for
            row = read_ledger(folder).rows[trial_id]
            if row.status == "ok" and row.seconds:
                visible.append(time.time() - row.seconds)
                return
        time.sleep(0.02)


TUNE_SCRIPT = """
    import json, sys, time, warnings
    warnings.simplefilter("ignore")
    import ray
    from ray import tune
    trials, reuse = int(sys.argv[1]), sys.argv[2] == "True"
    began = time.monotonic()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    connecting = time.monotonic() - began
    began = time.monotonic()
    class Trivial(tune.Trainable):
        def setup(self, config): self.value = config["value"]
        def step(self): return {"m": self.value, "done": True}
        def reset_config(self, config): self.value = config["value"]; return True
    tune.Tuner(
        Trivial,
        param_space={"value": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=reuse, max_concurrent_trials=2),
        run_config=tune.RunConfig(storage_path=sys.argv[3], verbose=0),
    ).fit()
    print(json.dumps({"connecting_seconds": connecting, "seconds": time.monotonic() - began}))
"""


def tune_trials(trials: int, reuse: str) -> Figures | str:
    """Ray Tune, in a process of its own; or why it did not run."""
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, "-c", textwrap.dedent(TUNE_SCRIPT), str(trials), reuse.partition("=")[2], folder]
        return _answer(script, trials)


BENCHOPT_FILES = {
    "objective.py": """
        from benchopt import BaseObjective
        class Objective(BaseObjective):
            name = "trivial"
            def set_data(self, X): pass
            def evaluate_result(self, m): return {"value": m}
            def get_one_result(self): return {"m": 0.0}
            def get_objective(self): return {}
    """,
    "datasets/nothing.py": """
        from benchopt import BaseDataset
        class Dataset(BaseDataset):
            name = "nothing"
            def get_data(self): return {"X": 0}
    """,
    "solvers/trivial.py": """
        from benchopt import BaseSolver
        class Solver(BaseSolver):
            name = "trivial"
            sampling_strategy = "run_once"
            parameters = {"value": list(range(CELLS))}
            def set_objective(self): pass
            def run(self, _): pass
            def get_result(self): return {"m": float(self.value)}
    """,
}


def benchopt_cells(python: str, cells: int) -> Figures | str:
    """benchopt with its two processes, in the environment of ``python``; or why it did not run."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in BENCHOPT_FILES.items():
            path = Path(folder) / "trivial" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("CELLS", str(cells)))
        driver = (
            "import json, subprocess, sys, time\nbegan = time.monotonic()\n"
            "done = subprocess.run([sys.executable, '-m', 'benchopt', 'run', sys.argv[1], '-j', '2', '--no-plot', '--no-html', '-n', '1'],"
            " capture_output=True, text=True)\n"
            "assert not done.returncode, done.stderr[-500:] + done.stdout[-500:]\n"
            "print(json.dumps({'connecting_seconds': 0.0, 'seconds': time.monotonic() - began}))"
        )
        return _answer([python, "-c", driver, str(Path(folder) / "trivial")], cells)


def _answer(script: list[str], cells: int) -> Figures | str:
    import json

    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    try:
        done = subprocess.run(script, capture_output=True, text=True, timeout=LIMIT_SECONDS, env={**os.environ, **quiet}, check=True)
        found: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return f"not finished within {LIMIT_SECONDS} s"
    except (subprocess.CalledProcessError, OSError, ValueError, IndexError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return f"did not run: {told[-1] if told else type(error).__name__}"
    return {"cells": cells, **found, "ms_per_cell": 1e3 * found["seconds"] * SLOTS / cells}


def report(found: dict[str, Figures | str], load: str) -> str:
    """The table, with what was predicted."""
    lines = [
        "# What a harness adds to trivial trials",
        "",
        f"{SLOTS} workers on {os.cpu_count()} cores, load before the run {load}; made by `tests/performance/scheduling.py`. Wall clock.",
        "Slot time per cell: time of the slots that is not the cells' own work, by cell (start-up of Ray and of workers left out for this",
        "harness, whole run for the others).",
        "",
        "| harness | cells | start of Ray, s | run beyond that, s | slot time per cell, ms |",
        "|---|---|---|---|---|",
    ]
    for name, figures in found.items():
        if isinstance(figures, str):
            lines.append(f"| {name} | {figures} | | | |")
        else:
            lines.append(
                f"| {name} | {figures['cells']:.0f} | {figures['connecting_seconds']:.1f} | {figures['seconds']:.2f} "
                f"| {figures['ms_per_cell']:.2f} |"
            )
    own = found["bench"]
    if not isinstance(own, str):
        lines += [
            "",
            "| figure | wanted | predicted | measured |",
            "|---|---|---|---|",
            f"| {own['cells']:.0f} trivial cells beyond the start of Ray | 5 s | 4 s: 2 s of worker start, 2 ms a cell "
            f"| {own['seconds']:.2f} s, {own['starting_seconds']:.2f} s of them worker start |",
            "| harness per trial after warm-up | 5 ms | 2 ms: 0.7 ms for a call of an actor, the rest for two ledger lines and a table "
            f"| {own['ms_per_cell']:.2f} ms of slot time; dispatch latency {own['dispatch_median_ms']:.2f} ms median, "
            f"{own['dispatch_95_ms']:.2f} ms 95 % quantile; {own['driver_cpu_ms_per_cell']:.2f} ms of processor time in the driver |",
            f"| first row on the disk after its cell ended | 1 s | 0.2 s: one tick | {own['first_row_seconds']:.2f} s |",
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--benchopt", default="", metavar="PYTHON", help="of an environment that has benchopt")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--dry", action="store_true", help="print and store nothing")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    found: dict[str, Figures | str] = {"bench": bench_cells(arguments.cells)}
    if not arguments.no_peers:
        found |= {f"Ray Tune, {reuse}": tune_trials(trials, reuse) for reuse, trials in TUNE.items()}
        found["benchopt"] = (
            benchopt_cells(arguments.benchopt, arguments.cells // 10) if arguments.benchopt else "not asked for: --benchopt PYTHON"
        )
    print(report(found, load))
    if arguments.dry:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "scheduling.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["harness", "figure", "value"])
        rows.writerows(
            (name, key, f"{value:.4g}") for name, figures in found.items() if isinstance(figures, dict) for key, value in figures.items()
        )
    (RESULTS / "scheduling.md").write_text(report(found, load))


if __name__ == "__main__":
    main()
