"""What a user sees while cells run: a live line with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from bench.grid.cells import Trial


class Progress:
    """Told of every event; prints to ``stream``.

    Args:
        total: cells that will run.
        expected: seconds expected of each, by trial id.
        slots: cells that run at the same time.
        stream: a terminal or a file.
    """

    def __init__(self, total: int, expected: Mapping[str, float], slots: int, stream: TextIO | None = None) -> None:
        self.total, self.expected, self.slots = total, dict(expected), max(1, slots)
        self.stream = stream or sys.stderr
        self.done: Counter[str] = Counter()
        self.running: dict[str, tuple[Trial, float]] = {}
        self._elsewhere: dict[str, float] = {}
        self._expected_total = math.fsum(self.expected.values())  # kept up to date, not summed for every line
        self._finished_expected = 0.0
        self._finished_seconds = 0.0
        self._live: Any = None
        if self.stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self.stream), refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def leave(self, trial: Trial) -> None:
        """A cell will not run here: another driver has it."""
        self.total -= 1
        self._elsewhere[trial.trial_id] = seconds = self.expected.pop(trial.trial_id, 0.0)
        self._expected_total -= seconds

    def join(self, trials: Iterable[Trial]) -> None:
        """Cells will run here after all."""
        for trial in trials:
            self.total += 1
            self.expected[trial.trial_id] = seconds = self._elsewhere.pop(trial.trial_id, 0.0)
            self._expected_total += seconds

    def started(self, trial: Trial) -> None:
        """A cell is running."""
        self.running[trial.trial_id] = (trial, time.monotonic())
        self.tick()

    def finished(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """A cell has its outcome."""
        _, began = self.running.pop(trial.trial_id, (trial, time.monotonic()))
        self.done[str(row["status"])] += 1
        self._finished_expected += self.expected.get(trial.trial_id, 0.0)
        self._finished_seconds += time.monotonic() - began  # the row's seconds charge a shared warm start to every arm
        cell = trial.cell()
        seconds = f" {row['seconds']:.1f} s" if row.get("seconds") else ""
        reason = f": {row['reason']}" if row.get("reason") else ""
        families = " ".join(str(cell[name]) for name in ("task_distribution", "gan_loss", "arm") if cell[name])
        line = f"[{sum(self.done.values())}/{self.total}] {row['status']} {families} {_which(trial)}{seconds}{reason}"
        self.say(line if self._live is not None else f"{line} · {self.remaining()}")
        self.tick()

    def tick(self) -> None:
        """Refresh the live line."""
        if self._live is not None:
            from rich.text import Text

            running = ", ".join(f"{trial.arm} {_which(trial)} {time.monotonic() - began:.0f} s" for trial, began in self.running.values())
            line = f"{sum(self.done.values())}/{self.total} cells · {self.remaining()}" + (f" · running: {running}" if running else "")
            self._live.update(Text(line, overflow="ellipsis", no_wrap=True))  # Text: labels are not markup

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self.stream, flush=True)

    def remaining(self) -> str:
        """``about 5 min left``: expectations scaled by how they have done so far."""
        done = sum(self.done.values())
        if done >= self.total:
            return "done"
        total = self._expected_total
        prior = total / 10  # the first few cells should not overturn the expectation
        scale = (self._finished_seconds + prior) / (self._finished_expected + prior) if total else 1.0
        return f"about {spell_seconds((total - self._finished_expected) * scale / self.slots)} left"


def _which(trial: Trial) -> str:
    """``replicate 3``, or ``tuning 3``, the configuration that a tuning trial tries."""
    cell = trial.cell()
    return f"tuning {cell['configuration']}" if "configuration" in cell else f"replicate {trial.replicate}"


def spell_seconds(seconds: float) -> str:
    """``42 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
