"""How long the commands take that compute nothing: help, a plan, a run of which nothing is missing, a plan of 100,000 cells.

    OMP_NUM_THREADS=1 python tests/performance/command_line.py

Each is a process of its own, beside ``python -c pass``, which is all that an interpreter needs. Caches of probes are filled first, as
they are from the second command on. Median of several runs; processor time, which other jobs on the machine disturb less than the clock.
Writes ``results/performance/command_line.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

RESULTS = Path(__file__).parents[2] / "results" / "performance"
REPEATS = 3
SMALL: dict[str, Any] = {
    "question": "How long does nothing take?",
    "name": "nothing",
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
    "meta_learners": ["scratch", "finetune"],
    "metrics": ["energy"],
}  # fmt: skip
RATES = [round(0.01 * 1.1**number, 6) for number in range(25)]
LARGE: dict[str, Any] = {
    **SMALL,
    "name": "large",
    "replicates": 10,
    "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["reptile(outer_lr=0.01)", "anil(outer_lr=0.01)"]},
    "task_distributions": ["gaussian-rings", {"gaussian-rings": {"modes": 3, "label": "three"}}],
    "gan_losses": ["hinge", "minimax", "non-saturating", "least-squares", "wasserstein"],
    "meta_learners": [{name: {"outer_lr": {"sweep": RATES}}} for name in ("reptile", "maml", "anil", "boil")],
    "regularisers": [
        [], ["r1"], ["r2"], ["lecam"], ["orthogonal"], ["dragan"], ["gradient-penalty"], ["outer-clip"], ["taml"], ["r1", "lecam"],
    ],
}  # fmt: skip
"""2 task distributions, 5 losses, 100 settings of learners, 10 sets of regularisers, 10 replicates."""


@dataclass(frozen=True)
class Cost:
    """Of one command: medians of processor and clock seconds, and the largest memory."""

    command: str
    processor_seconds: float
    clock_seconds: float
    peak_gigabytes: float
    wanted_seconds: float | None = None


def once(words: Sequence[str]) -> tuple[float, float, float]:
    """Processor and clock seconds, and gigabytes, of a process and of those that it started and waited for."""
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with exit code {process.returncode}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss * 1024 / 1e9


def cost(name: str, words: Sequence[str], *, repeats: int, wanted: float | None = None) -> Cost:
    """Of a command, run ``repeats`` times."""
    processor, clock, memory = zip(*(once(words) for _ in range(repeats)), strict=True)
    return Cost(name, median(processor), median(clock), max(memory), wanted)


def measured(folder: Path, repeats: int) -> list[Cost]:
    """Every command once its caches are filled."""
    bench = [sys.executable, "-m", "bench.cli"]
    small, large = folder / "small.yaml", folder / "large.yaml"
    small.write_text(yaml.safe_dump(SMALL))
    large.write_text(yaml.safe_dump(LARGE))
    run = [*bench, "run", str(small), "--output", str(folder / "results"), "--executor", "inline", "--device", "cpu"]
    once(run)
    once([*bench, "plan", str(large), "-k", "replicate=0 and wasserstein and outer-clip and reptile"])
    return [
        cost("python -c pass", [sys.executable, "-c", "pass"], repeats=repeats),
        cost("bench --help", [*bench, "--help"], repeats=repeats, wanted=0.3),
        cost("bench plan, 2 cells", [*bench, "plan", str(small)], repeats=repeats),
        cost("bench run, nothing missing", run, repeats=repeats, wanted=2.0),
        cost("bench plan, 100,000 cells", [*bench, "plan", str(large), "--output", str(folder / "none")], repeats=1, wanted=10.0),
    ]


def write(costs: Sequence[Cost]) -> None:
    """``command_line.csv`` and ``command_line.md``."""
    with (RESULTS / "command_line.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Cost.__dataclass_fields__)
        for one in costs:
            numbers = (one.processor_seconds, one.clock_seconds, one.peak_gigabytes)
            writer.writerow([one.command, *(f"{number:.3g}" for number in numbers), one.wanted_seconds or ""])
    rows = [f"| `{one.command}` | {one.processor_seconds:.2f} | {one.wanted_seconds or ''} | {one.peak_gigabytes:.2f} |" for one in costs]
    lines = [
        "# Commands that compute nothing",
        "",
        f"Made by `tests/performance/command_line.py`: medians of {REPEATS} (the large plan: 1), one thread, processor seconds of the "
        "process, since other jobs shared the machine. The large plan has 10,000 different cells in 10 replicates; wanted is under 1 GB.",
        "",
        "| command | seconds | wanted | peak GB |",
        "|---|---|---|---|",
        *rows,
    ]
    (RESULTS / "command_line.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure and write; with fewer repeats nothing is written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="fewer for a trial of this script, which then writes nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measured(Path(folder), options.repeats)
    for one in costs:
        print(f"{one.command:30} {one.processor_seconds:7.2f} s  {one.clock_seconds:7.2f} s on the clock  {one.peak_gigabytes:.2f} GB")
    if options.repeats == REPEATS:
        write(costs)


if __name__ == "__main__":
    main()
