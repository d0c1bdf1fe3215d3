"""100,000 cells over 1,000 slots, with failures: what the harness itself costs, and what it takes to go on after an interruption.

    OMP_NUM_THREADS=1 python tests/performance/simulation.py

Trials compute nothing and Ray is replaced by a stand-in whose workers answer after a simulated time, so hours pass in minutes;
queue, dispatch loop, claims, ledger, segments and progress are those of a real run, in a temporary folder. One trial in
a hundred each fails, runs out of memory, or kills its worker, and one in two hundred hangs beyond its limit. The run is interrupted
half-way and resumed. Times are processor seconds of this process. Writes ``results/performance/simulation.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import io
import itertools
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.driver.claims import Claims
from bench.driver.planning import known_rows
from bench.driver.progress import Progress
from bench.schedule import Event, Job, RayExecutor, on_ray
from bench.schedule.worker import Answer, Greeting
from bench.store import Store, read_ledger

RESULTS = Path(__file__).parents[2] / "results" / "performance"
MEAN_SECONDS, LIMIT_SECONDS = 60.0, 600.0
MEASUREMENTS = 50  # rows of one trial: 10 metrics at 5 adaptation steps of one task
TROUBLES = {"failed": 0.01, "oom": 0.01, "death": 0.01, "hang": 0.005}
MEASURED = {
    "split": ["meta-test"] * MEASUREMENTS,
    "metric": [f"metric-{n // 5}" for n in range(MEASUREMENTS)],
    "task_id": ["task"] * MEASUREMENTS,
    "adaptation_step": [n % 5 for n in range(MEASUREMENTS)],
    "value": [n / 7 for n in range(MEASUREMENTS)],
}


class RayError(Exception):
    """A worker died."""


class Exceptions:
    """What ``ray.exceptions`` has."""

    RayError = RayError
    RayTaskError = type("RayTaskError", (RayError,), {})
    RuntimeEnvSetupError = type("RuntimeEnvSetupError", (RayError,), {})


@dataclass
class SimulatedRay:
    """As much of Ray as the executor uses; time passes when it waits.

    Attributes:
        now: simulated seconds.
        slots: cores of the cluster.
        answers: {reference: (when, answer or exception)}.
        due: the same by time.
    """

    slots: int
    rng: random.Random
    now: float = 0.0
    answers: dict[int, tuple[float, Any]] = field(default_factory=dict)
    due: list[tuple[float, int]] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)
    exceptions: Any = Exceptions

    def is_initialized(self) -> bool:
        """There is a cluster."""
        return True

    def cluster_resources(self) -> dict[str, float]:
        """Cores only."""
        return {"CPU": float(self.slots)}

    def remote(self, **options: Any) -> Callable[[type], Any]:  # noqa: ARG002
        """What makes workers."""
        made = SimpleNamespace(remote=lambda folder, marker: self._worker())
        return lambda worker: SimpleNamespace(options=lambda **more: made)

    def _worker(self) -> Any:
        greet = SimpleNamespace(remote=lambda card, work: self._answer(3.0, Greeting(apart=False)))
        return SimpleNamespace(greet=greet, call=SimpleNamespace(remote=self._call))

    def _call(self, work: str, key: str, content: dict[str, Any], files: Any, share: float) -> int:  # noqa: ARG002
        seconds, luck = self.rng.expovariate(1 / MEAN_SECONDS), self.rng.random()
        for trouble, chance in TROUBLES.items():  # noqa: B007
            luck -= chance
            if luck < 0:
                break
        else:
            return self._answer(seconds, Answer({"status": "ok", "seconds": seconds, "outer_steps": 100}, MEASURED, seconds))
        if trouble == "death":
            return self._answer(seconds, RayError("died"))
        if trouble == "hang":
            return self._answer(10 * LIMIT_SECONDS, None)
        return self._answer(seconds, Answer({"status": trouble, "reason": f"simulated: {trouble}"}, {}, seconds))

    def _answer(self, seconds: float, answer: Any) -> int:
        reference = next(self.numbers)
        self.answers[reference] = self.now + seconds, answer
        heapq.heappush(self.due, (self.now + seconds, reference))
        return reference

    def wait(self, references: list[int], *, num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        """Let time pass until the next answer, or the time-out."""
        while self.due and self.due[0][1] not in self.answers:
            heapq.heappop(self.due)
        if num_returns == 1:
            self.now = max(self.now, min(self.now + timeout, self.due[0][0] if self.due else self.now + timeout))
        here = set(references)
        done = []
        while self.due and self.due[0][0] <= self.now and len(done) < num_returns:
            _, reference = heapq.heappop(self.due)
            if reference in here:
                done.append(reference)
        return done, [one for one in references if one not in done] if done else references

    def get(self, reference: int) -> Any:
        """An answer."""
        _, answer = self.answers.pop(reference)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Any, *, no_restart: bool) -> None:
        """Nothing is left of a worker but answers that nobody waits for."""


class Interrupted(Exception):
    """Half of the cells have ended."""


def simulate(folder: Path, keys: list[str], slots: int, *, stop_after: int | None, seed: int) -> tuple[Counter[str], SimulatedRay]:
    """Run what is missing of ``keys``; the part of :func:`bench.driver.run.run` between plan and report."""
    rows = known_rows(folder)
    missing = [key for key in keys if key not in rows or rows[key].status in ("planned", "running", "infra")]
    ray = SimulatedRay(slots, random.Random(seed))
    on_ray.time = SimpleNamespace(monotonic=lambda: ray.now, sleep=lambda seconds: None)
    outcomes: Counter[str] = Counter()
    trials = {key: trial(key) for key in missing}
    jobs = [Job(key, {}, lane=trials[key].arm, expected_seconds=MEAN_SECONDS, limit_seconds=LIMIT_SECONDS) for key in missing]
    executor = RayExecutor(slots)
    executor.ray = ray
    progress = Progress(len(missing), dict.fromkeys(missing, MEAN_SECONDS), slots, io.StringIO())
    with Store.create(folder, clock=lambda: ray.now) as store:
        store.plan({key: cell(key) for key in keys})
        claims = Claims(store, {key: row.attempts - (row.status == "running") for key, row in rows.items()})

        def on_event(event: Event) -> None:
            if event.kind == "started":
                if event.attempt > 1:
                    store.start(event.job.key)
                progress.started(trials[event.job.key])
                return
            store.finish(event.job.key, event.row, event.measurements)
            progress.finished(trials[event.job.key], event.row)
            outcomes[str(event.row["status"])] += 1
            if outcomes.total() == stop_after:
                raise Interrupted

        def on_tick() -> None:
            store.tick()
            progress.tick()

        try:
            executor.run(jobs, "simulated:trial", on_event=on_event, on_tick=on_tick, may_start=claims.take)
            assert claims.orphans(missing, on_wait=on_tick) == set()
        except Interrupted:
            pass
    return outcomes, ray


def cell(key: str) -> dict[str, Any]:
    """As in a suite of ten arms."""
    number = int(key, 16)
    families = {"suite": "simulation", "game": "gan", "task_distribution": "glyphs", "network": "dcgan", "gan_loss": "non-saturating"}
    return {**families, "meta_learner": f"learner-{number % 10}", "arm": f"learner-{number % 10}", "replicate": number // 10, "shots": 5}


def trial(key: str) -> Any:
    """What progress shows of one."""
    made = cell(key)
    return SimpleNamespace(trial_id=key, arm=made["arm"], replicate=made["replicate"], cell=lambda: made)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and what it returns."""
    began = time.process_time()
    answer = call()
    return time.process_time() - began, answer


def measure(cells: int, slots: int) -> dict[str, Any]:
    """One row of the table."""
    keys = [f"{number:016x}" for number in range(cells)]
    memory = Path("/dev/shm")  # a file system in memory, where there is one: what is measured is the driver, not the disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        folder = Path(place)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first, (early, _) = timed(lambda: simulate(folder, keys, slots, stop_after=cells // 2, seed=0))
        resume, _ = timed(lambda: (known_rows(folder), Store.open(folder).close()))
        second, (late, ray) = timed(lambda: simulate(folder, keys, slots, stop_after=None, seed=1))
        simulated = ray.now
        for seed in itertools.count(2):  # a cell whose workers died twice is run again by the same command, and then nothing is left
            again, (more, _) = timed(lambda: simulate(folder, keys, slots, stop_after=None, seed=seed))  # noqa: B023
            if not more:
                break
        rows = read_ledger(folder).planned()
        assert len(rows) == cells
        assert {row.status for row in rows.values()} <= {"ok", "failed", "oom", "timeout"}
        sizes = [path.stat().st_size for path in (folder / "segments").iterdir()]
        return {
            "cells": cells,
            "slots": slots,
            "ms per cell": round(1e3 * (first + second) / cells, 2),
            "ledger MB": round((folder / "ledger.jsonl").stat().st_size / 1e6, 1),
            "segments": len(sizes),
            "segments MB": round(sum(sizes) / 1e6, 1),
            "driver MB": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3),
            "resume s": round(resume, 2),
            "no-op s": round(again, 2),
            "simulated h": round(simulated / 3600, 1),
            "outcomes": ", ".join(f"{count} {status}" for status, count in sorted((early + late).items())),
        }


def write(rows: list[dict[str, Any]]) -> None:
    """Store the table as CSV and Markdown."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "simulation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    names = list(rows[0])
    lines = [
        "# Many cells, many slots",
        "",
        "Trials that compute nothing, through the real queue, dispatch loop, claims, ledger and segments, on simulated workers;",
        "interrupted half-way and resumed; made by `tests/performance/simulation.py`. Processor time of the driver, one thread: per",
        "cell, to read and open the half-finished folder (resume), and to find that nothing is left to do (no-op).",
        f"{MEASUREMENTS} measurements a cell; memory beyond what Python and PyArrow take.",
        "",
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(f'{row[name]:,}' if isinstance(row[name], int) else str(row[name]) for name in names)} |" for row in rows),
    ]
    (RESULTS / "simulation.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--slots", type=int, default=1_000)
    parser.add_argument("--dry", action="store_true", help="store nothing")
    options = parser.parse_args()
    measure(100, 10)  # what is loaded once
    rows = [measure(cells, min(options.slots, cells)) for cells in options.cells]
    print(*rows, sep="\n") if options.dry else write(rows)


if __name__ == "__main__":
    main()
