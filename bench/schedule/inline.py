"""One job after the other in this process: for debugging, and for hosts without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.schedule.account import Account
from bench.schedule.executor import Event, always, nothing
from bench.schedule.queue import Job, dispatch_order, nothing_built
from bench.schedule.work import call
from bench.trial import interruption


class InlineExecutor:
    """Runs jobs sequentially in this process; satisfies :class:`bench.schedule.Executor`."""

    note = "trials run one by one in this process: a hung trial can't be killed, time limits are not enforced"

    def __init__(self) -> None:
        self.account = Account()

    def run(
        self,
        jobs: Iterable[Job],
        work: str,
        *,
        on_event: Callable[[Event], None],
        on_tick: Callable[[], None] = nothing,
        on_interrupt: Callable[[], None] = nothing,
        is_built: Callable[[str], bool] = nothing_built,  # noqa: ARG002
        may_start: Callable[[str], bool] = always,
        folder: Path | None = None,
    ) -> None:
        """Run every job; see :meth:`bench.schedule.Executor.run`."""
        place = {"results": str(folder)} if folder else {}
        self.account.enter(0, "handover")
        try:
            for job in dispatch_order(jobs):
                interruption.check()
                if not may_start(job.key):
                    continue
                on_event(Event("started", job, 1))
                self.account.enter(0, "working")
                began = time.perf_counter()
                row, measurements = call(work, {**job.content(), **place})
                seconds = time.perf_counter() - began
                self.account.enter(0, "handover")
                self.account.worked(seconds, seconds)
                on_event(Event("finished", job, 1, row, measurements))
                on_tick()
        except KeyboardInterrupt:
            on_interrupt()
            raise
        finally:
            self.account.leave()
