"""What the interval of an interquartile mean costs: ours beside rliable's, 10,000 resamples of 5 replicates x 100 tasks.

    OMP_NUM_THREADS=1 python tests/performance/interval.py --rliable VENV/bin/python

rliable 1.2.0 needs arch < 8 and pandas < 3, so it runs in an environment of its own (``pip install rliable 'pandas<3'``), in a process
of its own. The processes take turns, each measures once after a warm-up, and the median of all rounds is reported: processor time, which
other jobs on the machine disturb less than the clock. Writes ``results/performance/interval.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parents[2] / "results" / "performance"
RESAMPLES = 10_000
SIZES = ((5, 100), (10, 20))
METHODS = {
    "ours, pigeonhole": "replicates and tasks",
    "ours, stratified": "runs within each task",
    "rliable, percentile": "runs within each task",
}
"""What each resamples. The second is no part of the harness (its intervals cover too little): it gives both programs the same work."""


def measure(method: str, replicates: int, tasks: int) -> dict[str, Any]:
    """Processor seconds, ends of the interval of standard normal values drawn from seed 0, and the package with its version."""
    import numpy as np

    values_RT = np.random.default_rng(0).normal(size=(replicates, tasks))
    find = _rliable if method.startswith("rliable") else _pigeonhole if method.endswith("pigeonhole") else _stratified
    find(values_RT, 10)  # what is loaded and allocated once
    began = time.process_time()
    low, high = find(values_RT, RESAMPLES)
    seconds = time.process_time() - began
    package = "rliable" if method.startswith("rliable") else "metagan-bench"
    return {"seconds": seconds, "low": low, "high": high, "package": f"{package} {version(package)}"}


def _pigeonhole(values_RT, resamples):  # noqa: ANN001, ANN202
    import numpy as np
    import pandas as pd

    from bench.stats import pigeonhole_interval

    replicate, task = np.indices(values_RT.shape)
    frame = pd.DataFrame({"replicate": replicate.ravel(), "task_id": task.ravel(), "value": values_RT.ravel()})
    found = pigeonhole_interval(frame, np.random.default_rng(1), resamples=resamples)
    return found.low, found.high


def _stratified(values_RT, resamples):  # noqa: ANN001, ANN202
    """rliable's design by our way to an IQM: sort, and cut a quarter at either end."""
    import numpy as np

    rng = np.random.default_rng(1)
    replicates, tasks = values_RT.shape
    cut, found = values_RT.size // 4, []
    for _ in range(resamples // 10):
        drawn = values_RT[rng.integers(replicates, size=(10, replicates, tasks)), np.arange(tasks)].reshape(10, -1)
        drawn.partition([cut, drawn.shape[1] - cut - 1], axis=1)
        found.append(drawn[:, cut : drawn.shape[1] - cut].mean(axis=1))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return float(low), float(high)


def _rliable(values_RT, resamples):  # noqa: ANN001, ANN202
    import numpy as np
    from rliable import library, metrics

    _, ends = library.get_interval_estimates({"arm": values_RT}, lambda scores: np.array([metrics.aggregate_iqm(scores)]), reps=resamples)
    return float(ends["arm"][0, 0]), float(ends["arm"][1, 0])


def measure_all(rounds: int, rliable: str | None) -> dict[tuple[str, int, int], list[dict[str, Any]]]:
    """Measurements by method, replicates and tasks; those of rliable only where its interpreter is given."""
    found: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(rounds):
        for replicates, tasks in SIZES:
            for method in METHODS:
                python = rliable if method.startswith("rliable") else sys.executable
                if python is None:
                    continue
                command = [python, __file__, "--one", method, str(replicates), str(tasks)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                found.setdefault((method, replicates, tasks), []).append(json.loads(done.stdout.splitlines()[-1]))
                print(method, replicates, tasks, found[method, replicates, tasks][-1], flush=True)
    return found


def report(found: dict[tuple[str, int, int], list[dict[str, Any]]]) -> str:
    """The table, and what the ratios are."""
    lines = [
        "# Interval of an interquartile mean",
        "",
        f"{RESAMPLES:,} resamples, one thread; made by `tests/performance/interval.py`. Median processor milliseconds of interleaved",
        "processes. Stratified resampling gives both programs the same work, and the same interval within the noise of resampling; the",
        "pigeonhole bootstrap, which the harness uses, answers the harder question (new replicates on new tasks), hence its width.",
        "",
        "| replicates x tasks | method | resamples | ms | interval | rliable / this |",
        "|---|---|---|---|---|---|",
    ]
    for replicates, tasks in SIZES:
        theirs = found.get(("rliable, percentile", replicates, tasks))
        for method, what in METHODS.items():
            if runs := found.get((method, replicates, tasks)):
                seconds = median(run["seconds"] for run in runs)
                ratio = f"{median(run['seconds'] for run in theirs) / seconds:.1f}" if theirs else ""
                interval = f"[{runs[0]['low']:.3f}, {runs[0]['high']:.3f}]"
                lines.append(f"| {replicates} x {tasks} | {method} | {what} | {1e3 * seconds:.0f} | {interval} | {ratio} |")
    packages = sorted({run["package"] for runs in found.values() for run in runs})
    lines += ["", f"Versions: {', '.join(packages)}."]
    if not any(method.startswith("rliable") for method, *_ in found):
        lines += ["", "rliable was not measured: no interpreter that has it was given (`--rliable`)."]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rliable", metavar="PYTHON", help="interpreter of an environment with rliable")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "REPLICATES", "TASKS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        method, replicates, tasks = arguments.one
        print(json.dumps(measure(method, int(replicates), int(tasks))))
        return
    found = measure_all(arguments.rounds, arguments.rliable)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "interval.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["replicates", "tasks", "method", "round", "cpu_milliseconds", "low", "high"])
        for (method, replicates, tasks), runs in found.items():
            for number, run in enumerate(runs):
                rows.writerow([replicates, tasks, method, number, f"{1e3 * run['seconds']:.2f}", f"{run['low']:.4f}", f"{run['high']:.4f}"])
    (RESULTS / "interval.md").write_text(report(found))


if __name__ == "__main__":
    main()
