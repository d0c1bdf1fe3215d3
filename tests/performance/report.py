"""How long and how large the report of 10,000 trials is.

    OMP_NUM_THREADS=1 python tests/performance/report.py

Writes a synthetic results folder through the store (2 task distributions, 25 arms, 200 replicates; 500 measurements a trial: 4 metrics
after 5 numbers of adaptation steps on 20 tasks, and 4 training curves), and reports it, in the formats that a run leaves, in a process of
its own. Processor time, which other jobs on the machine disturb less than the clock, that process's largest memory, and how many others
wanted a core meanwhile. Writes ``results/performance/report.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.store import Store

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "performance"
LEARNERS = ("finetune", "scratch", "reptile", "maml", "anil")
REGULARISERS = ("", "r1", "outer-clip", "lecam", "spectral-norm")
PLACES = ("gaussian-rings", "glyphs")
METRICS, STEPS, TASKS = ("energy", "kid", "recall", "vendi"), (0, 1, 2, 5, 10), 20
CURVES, OUTER = ("meta_loss", "loss.generator", "loss.discriminator", "gradient_norm.generator"), range(0, 500, 20)
LIMITS = {"seconds": 60.0, "gigabytes": 4.0}
REPORT = (
    "import sys; from bench.driver.reporting import report; from bench.report import RUN_FORMATS; report(sys.argv[1], formats=RUN_FORMATS)"
)


def write_results(folder: Path, replicates: int) -> tuple[int, int]:
    """A results folder that nothing but its size tells from a real one; the number of its trials and measurements."""
    recorded = json.loads((ROOT / "results" / "reference" / "fewshot" / "suite.json").read_text())
    rng = np.random.default_rng(0)
    arms = [(learner, regularisers) for learner in LEARNERS for regularisers in REGULARISERS]
    cells = {
        hashlib.sha256(f"{place} {learner} {regularisers} {replicate}".encode()).hexdigest()[:20]: {
            "suite": recorded["name"], "arm": " + ".join(filter(None, (learner, regularisers))), "game": "gan", "task_distribution": place,
            "network": "mlp", "gan_loss": "non-saturating", "meta_learner": learner, "regularisers": regularisers, "augmentations": "",
            "control": "", "replicate": replicate,
        }
        for place in PLACES for learner, regularisers in arms for replicate in range(replicates)
    }  # fmt: skip
    count = 0
    with Store.create(folder) as store:
        store.plan(cells)
        for trial_id, cell in cells.items():
            store.start(trial_id)
            measurements = _measurements(rng, str(cell["task_distribution"]), LEARNERS.index(str(cell["meta_learner"])))
            count += len(measurements["value"])
            costs = {"seconds": 20.0, "evaluation_seconds": 3.0, "gradient_evaluations": 4e4, "samples_seen": 1e6, "outer_steps": 480}
            store.finish(trial_id, {"status": "ok", **costs}, measurements)
    (folder / "suite.json").write_text(json.dumps(recorded))
    return len(cells), count


def _measurements(rng: np.random.Generator, place: str, rank: int) -> dict[str, Any]:
    """Columns of one trial: a curve that falls with adaptation, a task's own level, noise."""
    tests, curves = len(METRICS) * len(STEPS) * TASKS, len(CURVES) * len(OUTER)
    falls = np.exp(-0.2 * np.asarray(STEPS))[:, None] + 0.1 * rank + 0.05 * np.arange(TASKS)
    values = np.concatenate([np.tile(falls.ravel(), len(METRICS)), np.linspace(2, 1, curves)]) + rng.normal(0, 0.1, tests + curves)
    steps, outer = np.tile(np.repeat(STEPS, TASKS), len(METRICS)).tolist(), np.tile(np.asarray(OUTER), len(CURVES)).tolist()
    return {
        "split": ["meta-test"] * tests + ["meta-train"] * curves,
        "task_id": [f"{place}/{task}" for task in range(TASKS)] * (len(METRICS) * len(STEPS)) + [""] * curves,
        "outer_step": [480] * tests + outer,
        "adaptation_step": [*steps, *[None] * curves],
        "metric": [m for m in METRICS for _ in range(len(STEPS) * TASKS)] + [c for c in CURVES for _ in OUTER],
        "value": values.tolist(),
        "ceiling": [2.0] * tests + [None] * curves,
        "n_real": [32] * tests + [None] * curves,
        "n_fake": [64] * tests + [None] * curves,
        "fingerprint": [f"{m}-{place}" for m in METRICS for _ in range(len(STEPS) * TASKS)] + [""] * curves,
    }


def measure(folder: Path) -> dict[str, float]:
    """Processor and clock seconds, mean load of the machine (5 minutes), and gigabytes, of ``bench report`` on a folder."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", REPORT, str(folder)], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "processor_seconds": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        "clock_seconds": time.perf_counter() - began,
        "load": os.getloadavg()[1],
        "peak_gigabytes": used.ru_maxrss * 1024 / 1e9,
        "page_megabytes": (folder / "report.html").stat().st_size / 1e6,
    }


def write(found: dict[str, float]) -> None:
    """``report.csv`` and ``report.md``."""
    with (RESULTS / "report.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found), lineterminator="\n")
        writer.writeheader()
        writer.writerow({name: f"{value:.4g}" for name, value in found.items()})
    lines = [
        "# Report of a large results folder",
        "",
        f"{found['trials']:,.0f} trials with {found['measurements']:,.0f} measurements, one thread; made by `tests/performance/report.py`. "
        f"The machine's two cores had a load of {found['load']:.0f}: the clock tells of other jobs, and what they share slows both.",
        "",
        "| | measured | wanted |",
        "|---|---|---|",
        f"| seconds on the clock | {found['clock_seconds']:.0f} | {LIMITS['seconds']:.0f} |",
        f"| processor seconds | {found['processor_seconds']:.0f} | |",
        f"| largest memory, GB | {found['peak_gigabytes']:.1f} | {LIMITS['gigabytes']:.0f} |",
        f"| page, MB | {found['page_megabytes']:.1f} | |",
    ]
    (RESULTS / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200, help="fewer for a trial of this script, which then writes nothing")
    parser.add_argument("--folder", type=Path, help="write the results folder here and keep it (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        trials, measurements = write_results(folder, options.replicates)
        found = {"trials": trials, "measurements": measurements, **measure(folder)}
    print({name: round(value, 2) for name, value in found.items()})
    if options.replicates == 200:
        write(found)


if __name__ == "__main__":
    main()
