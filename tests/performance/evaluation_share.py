"""Which share of an evaluation the measures take, beside adapting, sampling and extracting features.

    OMP_NUM_THREADS=1 python tests/performance/evaluation_share.py

Evaluates the few-shot suite's cell of Reptile on 16 x 16 glyphs, with its metrics and the default extractor, on 256 tasks after each of
8 adaptation steps (128 tasks twice: meta-test has 179); meta parameters are untrained, which changes no cost. Processor time on one
thread, which other jobs on the machine disturb less than the clock. Writes ``results/performance/evaluation_share.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "performance"
TASKS, STEPS = 256, (0, 1, 2, 3, 5, 7, 10, 15)


class Clock:
    """Processor seconds by what they were spent on; time spent inside a timed call counts for the inner call."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = 0.0

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, which adds its own time to ``name``."""

        def call(*arguments: Any, **options: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            began = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                whole = time.process_time() - began
                self.seconds[name] += whole - self._inner
                self._inner = outer + whole

        return call


def measure(tasks: int) -> dict[str, float]:
    """Processor seconds: of each metric by name, of ``features``, and of the rest (``adaptation and sampling``)."""
    import torch

    from bench.grid.cells import expand
    from bench.registry.registry import discover
    from bench.suite.model import load_suite
    from bench.trial.assemble import assemble
    from bench.trial.evaluation import evaluate

    torch.set_num_threads(1)
    registry = discover("builtin")
    trial = next(
        trial
        for trial in expand(load_suite(ROOT / "suites" / "fewshot.yaml", registry), registry)
        if (trial.meta_learner.name, trial.task_distribution.name) == ("reptile", "glyphs") and not trial.control and not trial.skip
    )
    protocol = {
        **trial.protocol,
        "adaptation_steps": {**trial.protocol["adaptation_steps"], "test": list(STEPS)},
        "tasks": {**trial.protocol["tasks"], "meta_test": tasks // 2},
    }
    with tempfile.TemporaryDirectory() as folder:
        setup = assemble(replace(trial, protocol=protocol), Path(folder))
    once = setup.stream.held_out
    setup.stream.held_out = lambda split: tuple(2 * part for part in once(split))
    meta = setup.trainer.init(torch.Generator().manual_seed(0))
    clock = Clock()
    setup.extractor.features = clock.timed("features", setup.extractor.features)
    for component, metric in setup.metrics:
        metric.measure = clock.timed(component.name, metric.measure)
    clock.timed("adaptation and sampling", evaluate)(setup, meta, "meta-test", STEPS, outer_step=0)
    return dict(clock.seconds)


def report(seconds: dict[str, float], tasks: int) -> str:
    """The table, dearest first, and the share of all measures."""
    total = sum(seconds.values())
    lines = [
        f"# What evaluating {tasks} tasks x {len(STEPS)} adaptation steps costs",
        "",
        "Reptile on 16 x 16 glyphs with the metrics of `suites/fewshot.yaml`, 64 generated and 32 real samples a task, one thread;",
        "made by `tests/performance/evaluation_share.py`. Processor seconds.",
        "",
        "| part | seconds | share |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {spent:.2f} | {100 * spent / total:.2f} % |" for name, spent in sorted(seconds.items(), key=lambda x: -x[1])]
    measures = sum(spent for name, spent in seconds.items() if name not in ("features", "adaptation and sampling"))
    lines += [
        "",
        f"Measures other than features take {100 * measures / total:.1f} % of the evaluation (wanted: below 5 %), "
        f"{100 * measures / seconds['features']:.1f} % of the time that features take.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--dry", action="store_true", help="print and store nothing")
    arguments = parser.parse_args()
    seconds = measure(arguments.tasks)
    print(report(seconds, arguments.tasks))
    if arguments.dry:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "evaluation_share.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["part", "cpu_seconds"])
        rows.writerows((name, f"{spent:.3f}") for name, spent in seconds.items())
    (RESULTS / "evaluation_share.md").write_text(report(seconds, arguments.tasks))


if __name__ == "__main__":
    main()
