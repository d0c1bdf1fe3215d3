"""Where the time of a run's slots goes: every second of every slot belongs to one part, so the parts add up.

Pure: no Ray, and the clock is an argument.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.store.runs import PARTS


class Account:
    """The parts of one run, over all its slots; slots may come and go.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[int, tuple[str, float]] = {}
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.slots = 0
        self.connecting = 0.0
        self._latencies = array("d")

    def enter(self, slot: int, part: str) -> None:
        """From now on the time of a slot belongs to ``part``."""
        now = self._clock()
        before, since = self._began.get(slot, (part, now))
        self.seconds[before] += now - since
        self._began[slot] = part, now
        self.slots = max(self.slots, len(self._began))

    def worked(self, seconds: float, span: float) -> None:
        """Of the ``span`` that a job took from being sent until its result was here, its work function ran for ``seconds``."""
        latency = max(0.0, span - seconds)
        self.seconds["working"] -= latency
        self.seconds["handover"] += latency
        self._latencies.append(latency)

    def leave(self) -> None:
        """The slots end."""
        for slot in list(self._began):
            self.enter(slot, "idle")
        self._began.clear()

    def record(self) -> dict[str, Any]:
        """What a report says of it: ``slots``, ``trials``, ``connecting_seconds``, seconds by part, and quantiles of the dispatch latency.

        The dispatch latency of a trial is what it took beyond its own work: sending it, and taking its result.
        """
        parts = {f"{part}_seconds": round(seconds, 3) for part, seconds in self.seconds.items()}
        latency = {}
        if self._latencies:
            median, high = np.quantile(np.frombuffer(self._latencies), (0.5, 0.95))
            latency = {"dispatch_median_ms": round(1e3 * float(median), 3), "dispatch_95_ms": round(1e3 * float(high), 3)}
        return {
            "slots": self.slots,
            "trials": len(self._latencies),
            "connecting_seconds": round(self.connecting, 3),
            **parts,
            **latency,
        }
