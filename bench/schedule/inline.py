"""One job after the other in this process: for debugging, and for hosts without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.schedule.executor import Event, nothing, nothing_built
from bench.schedule.queue import Job, dispatch_order
from bench.schedule.work import call


class InlineExecutor:
    """Runs jobs sequentially in this process; satisfies :class:`bench.schedule.Executor`."""

    note = "trials run one by one in this process: a hung trial can't be killed, time limits are not enforced"

    def run(
        self,
        jobs: Iterable[Job],
        work: str,
        *,
        on_event: Callable[[Event], None],
        on_tick: Callable[[], None] = nothing,
        on_interrupt: Callable[[], None] = nothing,
        is_built: Callable[[str], bool] = nothing_built,  # noqa: ARG002
    ) -> None:
        """Run every job; see :meth:`bench.schedule.Executor.run`."""
        try:
            for job in dispatch_order(jobs):
                on_event(Event("started", job, 1))
                row, measurements = call(work, job.payload)
                on_event(Event("finished", job, 1, row, measurements))
                on_tick()
        except KeyboardInterrupt:
            on_interrupt()
            raise
