"""Time, memory and arithmetic of an outer step.

Processor time on one thread, which other jobs on the machine disturb less than the clock; contenders take turns, round by round, and are
compared within a round. On a GPU it is the clock, after everything launched has ended.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[], object]
MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """Of one contender.

    Attributes:
        seconds: of an outer step, the median of the rounds.
        ratio: how many times as long as the first contender of the same round it takes, the median of the rounds.
        spread: smallest and largest of these ratios.
    """

    seconds: float
    ratio: float
    spread: tuple[float, float]


def seconds_of(step: Step, device: str) -> float:
    """What one outer step takes."""
    if device == "cuda":
        torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    step()
    return time.process_time() - began


def in_turns(steps: Mapping[str, Step], rounds: int, device: str = "cpu") -> dict[str, Timing]:
    """Every contender once a round; a first round, in which memory is allocated and code is loaded, does not count."""
    taken = [{name: seconds_of(step, device) for name, step in steps.items()} for _ in range(rounds + 1)][1:]
    first = next(iter(steps))
    timings = {}
    for name in steps:
        ratios = [one[name] / one[first] for one in taken]
        timings[name] = Timing(statistics.median(one[name] for one in taken), statistics.median(ratios), (min(ratios), max(ratios)))
    return timings


def flops_of(step: Step) -> int:
    """Multiplications and additions of products and convolutions; right for code that treats one task at a time."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def product_speed(size: int = 1024, rounds: int = 5) -> float:
    """FLOP/s of a float32 matrix product, the largest of several, in processor time."""
    a, b = torch.randn(2, size, size)
    return max(2 * size**3 / seconds_of(lambda: torch.mm(a, b), "cpu") for _ in range(rounds))


def grown_by(step: Step, warm_up: Step, device: str = "cpu") -> int:
    """Bytes by which the process's peak memory grows in an outer step, after ``warm_up`` has loaded and allocated what comes once."""
    warm_up()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = peak()
    step()
    return peak() - before


def peak() -> int:
    """Most bytes of this process that were in memory at once since the peak was last forgotten."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def in_processes(commands: Sequence[Sequence[str]], threads: int) -> list[dict[str, float]]:
    """What processes that run side by side, each with so many threads, print as JSON."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = [subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True) for command in commands]
    printed = [(process.communicate()[0], process.returncode) for process in started]
    if any(code for _, code in printed):
        raise RuntimeError(f"a process of the measurement failed: {' '.join(commands[0])}")
    return [json.loads(text) for text, _ in printed]
