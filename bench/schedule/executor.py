"""What every executor does: the interface, its events, and the choice by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bench.errors import UsageError, did_you_mean
from bench.schedule.queue import Job


@dataclass(frozen=True)
class Event:
    """Something happened to a job.

    Attributes:
        kind: started (an attempt begins), or finished (the job will not be seen again).
        job: which.
        attempt: 1, or 2 after its worker died once.
        row: finished only: ``status``, ``reason`` and what the work function returned besides.
        measurements: finished only: ``{column: values}``.
    """

    kind: Literal["started", "finished"]
    job: Job
    attempt: int
    row: Mapping[str, Any] = field(default_factory=dict)
    measurements: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def nothing() -> None:
    """Default of the callbacks without arguments."""


def nothing_built(key: str) -> bool:  # noqa: ARG001
    """Default of ``is_built``: only what this run has built is there."""
    return False


class Executor(Protocol):
    """Runs jobs and reports events; every job gets exactly one finished event unless the run is interrupted.

    Attributes:
        note: what a user should know about it, or an empty text.
    """

    note: str

    def run(
        self,
        jobs: Iterable[Job],
        work: str,
        *,
        on_event: Callable[[Event], None],
        on_tick: Callable[[], None] = nothing,
        on_interrupt: Callable[[], None] = nothing,
        is_built: Callable[[str], bool] = nothing_built,
    ) -> None:
        """Run every job.

        Args:
            jobs: what to run, any order.
            work: ``"module:function"``, importable in a worker, from a job's payload to (row, measurements).
            on_event: called in this process, in the order of events.
            on_tick: called about five times a second, or between jobs where nothing runs beside them.
            on_interrupt: called once on KeyboardInterrupt, before the workers are stopped; then the interrupt goes on.
            is_built: whether the prerequisite of a key is there already.

        Raises:
            BenchError: there are no workers, or they can't start.
        """


def make_executor(name: str, *, slots: int = 1, address: str | None = None, gpus_per_slot: float = 0.0) -> Executor:
    """The executor called ``name``: ``ray`` or ``inline``.

    Raises:
        UsageError: there is none of that name.
        BenchError: Ray is asked for and not installed.
    """
    if name == "inline":
        from bench.schedule.inline import InlineExecutor

        return InlineExecutor()
    if name == "ray":
        from bench.schedule.on_ray import RayExecutor

        return RayExecutor(slots, address=address, gpus_per_slot=gpus_per_slot)
    raise UsageError(f"unknown executor {name!r}.{did_you_mean(name, ['ray', 'inline'])} Available: ray, inline")
