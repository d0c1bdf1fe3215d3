"""Which job comes next: a pure function of what waits, what runs and what is built.

Order: the jobs of each lane (a meta-learner) longest first, so that no long job starts last; the lanes interleaved, so
that a machine that warms up or gets busy slows all of them alike. A prerequisite that several jobs share is built by
the first that needs it, while the others wait.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """One trial as an executor sees it.

    Attributes:
        key: the trial id.
        payload: JSON-able; all that the work function is given.
        needs: keys of prerequisites that the work function builds where they are absent: a warm start, a feature extractor.
        expected_seconds: estimate of the duration; only its order matters.
        lane: what is interleaved, the meta-learner's label.
        limit_seconds: the job is killed when it has run so long; None for no limit.
    """

    key: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    expected_seconds: float = 0.0
    lane: str = ""
    limit_seconds: float | None = None


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


def next_job(pending: Sequence[Job] | Mapping[str, Job], running: Iterable[Job], built: Collection[str] = ()) -> Job | None:
    """The first of ``pending`` that may start, or None where all must wait for a running job.

    Args:
        pending: jobs in order of preference, see :func:`dispatch_order`.
        running: jobs that run; one that needs a key that is not in ``built`` is building it.
        built: keys of prerequisites that are there.
    """
    building = {key for job in running for key in job.needs if key not in built}
    for job in pending.values() if isinstance(pending, Mapping) else pending:
        if building.isdisjoint(job.needs):
            return job
    return None
