"""Which job comes next: a function of what waits, what runs and what is built, without Ray, processes or clocks.

Order: the jobs of each lane (a meta-learner) longest first, so that no long job starts last; the lanes interleaved, so
that a machine that warms up or gets busy slows all of them alike. A prerequisite that several jobs share is built by
the first that needs it, while the others wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError

LOOK_AHEAD = 64
"""Jobs that a slot may pass over because they do not fit: enough to meet every lane of a suite, few enough for 100,000 jobs."""

Payload = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One trial as an executor sees it.

    Attributes:
        key: the trial id.
        payload: JSON-able; all that the work function is given. A function that makes it where all of them at once would fill the memory.
        needs: keys of prerequisites that the work function builds where they are absent: a warm start, a feature extractor.
        expected_seconds: estimate of the duration; only its order matters.
        lane: what is interleaved, the meta-learner's label; jobs of a lane need about the same memory.
        limit_seconds: the job is killed when it has run so long; None for no limit.
    """

    key: str
    payload: Payload | Callable[[], Payload] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    expected_seconds: float = 0.0
    lane: str = ""
    limit_seconds: float | None = None

    def content(self) -> dict[str, Any]:
        """The payload."""
        return dict(self.payload() if callable(self.payload) else self.payload)


def dispatch_order(jobs: Iterable[Job]) -> list[Job]:
    """Longest first within each lane, lanes interleaved in proportion to their number of jobs; ties in the given order."""
    lanes: dict[str, list[Job]] = {}
    for job in jobs:
        lanes.setdefault(job.lane, []).append(job)
    placed = []
    for lane in lanes.values():
        lane.sort(key=lambda job: -job.expected_seconds)
        placed += [((rank + 0.5) / len(lane), -job.expected_seconds, job) for rank, job in enumerate(lane)]
    placed.sort(key=lambda place: place[:2])
    return [job for *_, job in placed]


def nothing_built(key: str) -> bool:  # noqa: ARG001
    """Default of ``is_built``: only what this run has built is there."""
    return False


class Queue:
    """Jobs that wait, handed out in :func:`dispatch_order` as far as their prerequisites allow.

    A job that needs what another one is building is set aside until that ends, so that taking costs the logarithm of the
    number of jobs, however many wait for the same warm start.

    Args:
        jobs: in any order.
        is_built: whether the prerequisite of a key is there already.

    Raises:
        BenchError: two jobs share a key.
    """

    def __init__(self, jobs: Iterable[Job], is_built: Callable[[str], bool] = nothing_built) -> None:
        ordered = dispatch_order(jobs)
        if twice := len(ordered) - len({job.key for job in ordered}):
            raise BenchError(f"{twice} jobs share a key with another; give each trial once")
        self._first = 0  # the rank of what was put back last; ranks are unique, so that jobs are never compared
        self._ready = list(enumerate(ordered))  # sorted, hence a heap
        self._held: dict[str, list[tuple[int, Job]]] = {}
        self._building: dict[str, str] = {}
        self._built: set[str] = set()
        self._is_built = is_built
        self._waiting = len(ordered)

    def __len__(self) -> int:
        """Jobs that wait."""
        return self._waiting

    def lanes(self) -> dict[str, Job]:
        """The first job of each lane."""
        first: dict[str, Job] = {}
        for _, job in sorted(self._ready, key=lambda item: item[0]):
            first.setdefault(job.lane, job)
        return first

    def take(self, fits: Callable[[Job], bool] = lambda job: True) -> Job | None:
        """The first job that may start and fits; None where all of them, or the next :data:`LOOK_AHEAD`, must wait."""
        passed: list[tuple[int, Job]] = []
        taken = None
        while self._ready and taken is None and len(passed) < LOOK_AHEAD:
            rank, job = heapq.heappop(self._ready)
            if key := self._being_built(job):
                self._held.setdefault(key, []).append((rank, job))
            elif not fits(job):
                passed.append((rank, job))
            else:
                taken = job
        for item in passed:
            heapq.heappush(self._ready, item)
        if taken is not None:
            self._waiting -= 1
            self._building |= {key: taken.key for key in taken.needs if key not in self._built}
        return taken

    def put_back(self, job: Job) -> None:
        """Let a job that was taken wait again, before all others: its worker died, or it needs a card of its own."""
        self._first -= 1
        heapq.heappush(self._ready, (self._first, job))
        self._waiting += 1
        self.ended(job, built=False)

    def ended(self, job: Job, *, built: bool) -> None:
        """A job that was taken runs no more; ``built``: what it needs is there now."""
        if built:
            self._built.update(job.needs)
        for key in job.needs:
            if self._building.get(key) == job.key:
                del self._building[key]
            if key not in self._building:
                self._release(key)

    def poll(self) -> None:
        """See which of the prerequisites that are being built are there; call it a few times a second."""
        for key in [key for key in self._building if self._is_built(key)]:
            self._built.add(key)
            del self._building[key]
            self._release(key)

    def _being_built(self, job: Job) -> str:
        """A key for which the job must wait, or an empty text."""
        for key in job.needs:
            if key in self._building:
                return key
            if key not in self._built and self._is_built(key):
                self._built.add(key)
        return ""

    def _release(self, key: str) -> None:
        for item in self._held.pop(key, ()):
            heapq.heappush(self._ready, item)
