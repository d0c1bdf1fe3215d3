"""What every executor does: the interface, its events, and the choice by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bench.errors import UsageError, did_you_mean
from bench.schedule.account import Account
from bench.schedule.queue import Job, nothing_built


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


def always(key: str) -> bool:  # noqa: ARG001
    """Default of ``may_start``: nobody else takes jobs."""
    return True


class Executor(Protocol):
    """Runs jobs and reports events; every job that may start gets exactly one finished event unless the run is interrupted.

    Attributes:
        note: what a user should know about it, or an empty text.
        account: where the time of its slots went, over all its runs.
    """

    note: str
    account: Account

    def run(
        self,
        jobs: Iterable[Job],
        work: str,
        *,
        on_event: Callable[[Event], None],
        on_tick: Callable[[], None] = nothing,
        on_interrupt: Callable[[], None] = nothing,
        is_built: Callable[[str], bool] = nothing_built,
        may_start: Callable[[str], bool] = always,
        folder: Path | None = None,
    ) -> None:
        """Run every job.

        Args:
            jobs: what to run, any order.
            work: ``"module:function"``, importable in a worker, from a job's payload to (row, measurements).
            on_event: called in this process, in the order of events.
            on_tick: called about five times a second, or between jobs where nothing runs beside them.
            on_interrupt: called once on KeyboardInterrupt, before the workers are killed; then the interrupt goes on.
            is_built: whether the prerequisite of a key is there already.
            may_start: asked once per job, right before it starts; one that may not is left out without an event.
            folder: results folder, which a payload gets as ``results``; a worker that does not see it is given a folder of its own,
                and what it writes for the job is brought here.

        Raises:
            KeyboardInterrupt: at once where it is raised here; where :func:`bench.trial.interruption.request` asked for a stop, as soon
                as what runs has reached a safe point. Jobs that have not ended have no finished event.
            BenchError: there are no workers, or they can't start.
        """


def make_executor(name: str, *, slots: int = 1, address: str | None = None, gpus_per_slot: float | None = 0.0, probe: str = "") -> Executor:
    """The executor called ``name``: ``ray`` or ``inline``.

    Args:
        name: of it.
        slots: of ``ray``, as the next two, see :class:`bench.schedule.RayExecutor`.
        address: of a running cluster.
        gpus_per_slot: share of a card.
        probe: ``"module:function"`` that measures the memory of a trial, for trials that share cards by it.

    Raises:
        UsageError: there is none of that name.
        BenchError: Ray is asked for and not installed.
    """
    if name == "inline":
        from bench.schedule.inline import InlineExecutor

        return InlineExecutor()
    if name == "ray":
        from bench.schedule.on_ray import Probe, RayExecutor

        return RayExecutor(slots, address=address, gpus_per_slot=gpus_per_slot, probe=Probe(probe) if probe else None)
    raise UsageError(f"unknown executor {name!r}.{did_you_mean(name, ['ray', 'inline'])} Available: ray, inline")
