"""Jobs on Ray: one long-lived worker process per slot, fed one job at a time from this process's queue.

A trial per actor would cost a process start each (3 s against 1 ms). A worker is replaced only where its process may be
the worse for what it did: it died or was killed, its job failed or ran out of memory, or it has done many. A worker gets
its next job when its last result has been taken, so this process holds one result a slot, however many jobs there are
and however slow the disk is. Ray is imported when an executor is made, never before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.schedule.account import Account
from bench.schedule.channel import marked, pack, unpack
from bench.schedule.cluster import connected, import_ray
from bench.schedule.executor import Event, always, nothing
from bench.schedule.placement import Card, Packing
from bench.schedule.queue import Job, Queue, nothing_built
from bench.schedule.seats import Seat, Seats
from bench.schedule.worker import INTERRUPTED, Answer, Greeting
from bench.trial import interruption

ATTEMPTS = 2  # of a job whose worker died: the second on a fresh process tells a bad node from a bad trial
RECYCLE_AFTER = 500  # jobs of one worker: what libraries and plugins leak or cache stays bounded, for 3 ms a job of process starts
TICK_SECONDS = 0.2
_START_FAILURES = 3  # workers that die in a row before they run anything mean that none will start
_LEAVE_SECONDS = 5


@dataclass(frozen=True)
class Probe:
    """How memory is measured before trials share a card; both are ``"module:function"``.

    Attributes:
        work: takes a job's payload and returns a row with ``peak_memory_bytes``.
        card: returns (total, free) bytes of the card of its process.
    """

    work: str
    card: str = "bench.schedule.worker:card_bytes"


@dataclass
class _Slot:
    """A seat, its worker if it has one, and what that is busy with: its own start (no job), a probe, or a job."""

    number: int
    seat: Seat
    actor: Any = None
    reference: Any = None
    job: Job | None = None
    probing: bool = False
    apart: bool = False
    jobs: int = 0
    sent: float = field(default_factory=time.monotonic)


class RayExecutor:
    """Runs jobs on Ray; satisfies :class:`bench.schedule.Executor`.

    Args:
        slots: workers at a time; fewer where the cluster has fewer cores (or GPUs).
        address: a running cluster (``auto``, ``host:port``, ``ray://...``); None starts one on this machine and ends it after the run.
        gpus_per_slot: GPU share of a worker; 0 hides the GPUs from it, None packs trials by what ``probe`` measures.
        probe: how memory is measured; needed for that only.

    Raises:
        BenchError: Ray is not installed.
    """

    note = ""

    def __init__(self, slots: int, *, address: str | None = None, gpus_per_slot: float | None = 0.0, probe: Probe | None = None) -> None:
        if slots < 1:
            raise BenchError(f"an executor needs at least one worker, got {slots}; give --jobs 1 or more")
        if gpus_per_slot is None and probe is None:
            raise BenchError("trials share a card by measured memory, so a probe must be given; or declare a share with --gpus-per-trial")
        self.slots = slots
        self.address = address
        self.gpus_per_slot = gpus_per_slot
        self.probe = probe
        self.account = Account()
        self.ray = import_ray()

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
        """Run every job; see :meth:`bench.schedule.Executor.run`."""
        queue = Queue(jobs, is_built)
        if not queue:
            return
        began = time.monotonic()
        with connected(self.ray, self.address, self.slots), contextlib.ExitStack() as opened:
            marker = opened.enter_context(marked(folder)) if folder else ""
            seats = opened.enter_context(Seats(self.ray, self.slots, self.gpus_per_slot))
            self.account.connecting += time.monotonic() - began
            run = _Run(self, seats, queue, work, on_event, may_start, (folder, marker))
            try:
                run.until_done(on_tick)
            except KeyboardInterrupt:
                on_interrupt()
                raise
            finally:
                run.stop()


class _Run:
    """One run's slots, and the attempts at its jobs."""

    def __init__(
        self,
        executor: RayExecutor,
        seats: Seats,
        queue: Queue,
        work: str,
        on_event: Callable[[Event], None],
        may_start: Callable[[str], bool],
        place: tuple[Path | None, str],
    ) -> None:
        self.executor, self.ray, self.account = executor, executor.ray, executor.account
        self.seats, self.queue, self.work = seats, queue, work
        self.on_event, self.may_start = on_event, may_start
        self.folder, self.marker = place
        self.attempts: dict[str, int] = {}
        self.slots = [_Slot(number, seat) for number, seat in enumerate(seats.all)]
        self.packing = Packing([Card(0, 0)] * seats.cards)
        self.unmeasured = queue.lanes() if seats.cards else {}
        self.start_failures = 0
        self.stopping = False

    # ------------------------------------------------------------------ the loop
    def until_done(self, on_tick: Callable[[], None]) -> None:
        """Dispatch and collect until every job has finished.

        Raises:
            KeyboardInterrupt: the user asked for a stop, and what ran has saved where it stands.
        """
        ticked = time.monotonic()
        while True:
            if interruption.requested() and not self.stopping:
                self._ask_to_stop()
            if not self.stopping:
                self._staff()
                self._dispatch()
            busy = {slot.reference: slot for slot in self.slots if slot.reference is not None}
            if not any(slot.job for slot in busy.values()) and (self.stopping or not self.queue):
                break
            for reference in self._ended(list(busy)):
                self._collect(busy[reference])
            self._enforce_limits()
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                self.queue.poll()
                on_tick()
        on_tick()
        if self.stopping:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """Kill the workers, whatever they do."""
        leaving = [slot.actor.leave.options(concurrency_group="control").remote() for slot in self.slots if slot.actor and slot.apart]
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_SECONDS) if leaving else None
        for slot in self.slots:
            self._kill(slot)
        self.account.leave()

    def _ended(self, references: list[Any]) -> list[Any]:
        """Those that have ended, as soon as there is one; all of them at once, for a thousand slots end more than one at a time."""
        if not references:
            time.sleep(TICK_SECONDS)  # what waits is for another driver to build
            return []
        done, others = self.ray.wait(references, num_returns=1, timeout=TICK_SECONDS)
        if done and others:
            done += self.ray.wait(others, num_returns=len(others), timeout=0)[0]
        return list(done)

    def _staff(self) -> None:
        """Start workers in as many empty seats as the jobs that wait are worth."""
        staffed = sum(slot.actor is not None for slot in self.slots)
        starting = sum(slot.reference is not None and slot.job is None for slot in self.slots)
        wanted = min(self.executor.slots, staffed + len(self.queue) - starting)
        for slot in self.slots:
            if staffed >= wanted:
                return
            card = slot.seat.card
            if slot.actor is None and (card is None or slot.seat.rank < self.packing.seats(card)):
                self._start(slot)
                staffed += 1

    def _start(self, slot: _Slot) -> None:
        slot.actor = self.seats.start(slot.seat, str(self.folder or ""), self.marker)
        card = self.executor.probe.card if self.executor.probe and slot.seat.card is not None else ""
        slot.reference, slot.job, slot.jobs, slot.sent = slot.actor.greet.remote(card, self.work), None, 0, time.monotonic()
        self.account.enter(slot.number, "starting")

    def _dispatch(self) -> None:
        """Give every worker that waits a job, as far as there are jobs that may start where it sits."""
        probing = bool(self.unmeasured) or any(slot.probing for slot in self.slots)
        for slot in self.slots:
            if slot.actor is None or slot.reference is not None:
                continue
            if probing:
                self._probe_lane(slot)
                continue
            job = self._next(slot.seat.card)
            if job is None:
                self.account.enter(slot.number, "idle")
                continue
            self.attempts[job.key] = self.attempts.get(job.key, 0) + 1
            self.on_event(Event("started", job, self.attempts[job.key]))
            share = self.executor.gpus_per_slot or 0.0 if slot.seat.card is None else self.packing.begin(job, slot.seat.card)
            self._send(slot, job, self.work, min(1.0, share))

    def _next(self, card: int | None) -> Job | None:
        """The first job that may start on a card; one that another driver has taken is passed over."""
        while (job := self.queue.take() if card is None else self.queue.take(lambda one: self.packing.fits(one, card))) is not None:
            if job.key in self.attempts or self.may_start(job.key):
                return job
            self.queue.ended(job, built=False)
        return None

    def _send(self, slot: _Slot, job: Job, work: str, share: float) -> None:
        files = pack(self.folder, job.key)[0] if self.folder and slot.apart else {}
        slot.job, slot.sent = job, time.monotonic()
        self.account.enter(slot.number, "working")
        slot.reference = slot.actor.call.remote(work, job.key, job.content(), files, share)

    # ------------------------------------------------------------------ answers
    def _collect(self, slot: _Slot) -> None:
        """Take the answer of a slot: that it is up, a result, or that its worker died."""
        try:
            answer = self.ray.get(slot.reference)
        except self.ray.exceptions.RayTaskError as error:  # the result could not be sent, say: the trial's fault, and the worker lives
            if slot.job is None:
                raise BenchError(f"a worker cannot start ({error.cause}); check the cluster's nodes, or use --executor inline") from error
            answer = Answer({"status": "failed", "reason": f"its result could not be returned ({type(error.cause).__name__})"})
        except self.ray.exceptions.RuntimeEnvSetupError as error:
            raise BenchError(f"the Ray cluster cannot prepare a worker ({error}); check its nodes, or use --executor inline") from error
        except self.ray.exceptions.RayError as error:
            self._lost(slot, error)
            return
        job, slot.reference, self.start_failures = slot.job, None, 0
        span = time.monotonic() - slot.sent
        self.account.enter(slot.number, "handover")
        if isinstance(answer, Greeting):
            slot.apart = answer.apart
            if slot.seat.card is not None and not self.packing.cards[slot.seat.card].total:
                self.packing.cards[slot.seat.card] = Card(*answer.card)
        elif slot.probing:
            self._probed(slot, answer)
        elif job is not None:
            slot.job, slot.jobs = None, slot.jobs + 1
            self.account.worked(answer.seconds, span)
            self._answered(slot, job, answer)

    def _answered(self, slot: _Slot, job: Job, answer: Answer) -> None:
        status, card = answer.row["status"], slot.seat.card
        packed = self.packing.end(job) if card is not None else 0 < (self.executor.gpus_per_slot or 0) < 1
        if status in {"failed", "oom"} or slot.jobs >= RECYCLE_AFTER:
            self._vacate(slot)  # what it could not allocate may be held by what it could not free
        if status == INTERRUPTED:
            self._receive(job, answer)
        elif status == "oom" and packed and card is not None and self.attempts[job.key] < ATTEMPTS and not self.stopping:
            self.packing.set_apart(job)
            self.queue.put_back(job)
        else:
            self._receive(job, answer)
            if card is not None and answer.row.get("peak_memory_bytes"):
                self.packing.learn(job.lane, float(answer.row["peak_memory_bytes"]))
            self._finish(job, {**answer.row, "packed": True} if packed else answer.row, answer.measurements)

    def _receive(self, job: Job, answer: Answer) -> None:
        """Write the files of a worker that does not see the results folder."""
        if self.folder and answer.files:
            unpack(answer.files, self.folder, job.key)

    def _lost(self, slot: _Slot, error: Exception) -> None:
        """Give the job of a dead worker a second attempt on a fresh one."""
        job, probing = slot.job, slot.probing
        self._vacate(slot)
        if job is None:
            self.start_failures += 1
            if self.start_failures >= _START_FAILURES * len(self.slots):
                raise BenchError(
                    f"workers die before they run anything ({type(error).__name__}); check memory and the Ray logs, "
                    "or use --executor inline"
                )
        elif probing:
            return  # nothing is known of its lane, whose trials get a card each
        elif self.attempts[job.key] < ATTEMPTS:
            self.packing.end(job)
            self.queue.put_back(job)
        elif "memory" in type(error).__name__.lower() or "low on memory" in str(error):
            self._finish(job, {"status": "oom", "reason": "its worker was killed because the node ran low on memory, twice"}, {})
        else:
            self._finish(job, {"status": "infra", "reason": f"its worker process died in each of {ATTEMPTS} attempts"}, {})

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            job = slot.job
            if job is not None and job.limit_seconds is not None and now - slot.sent > job.limit_seconds:
                probing = slot.probing
                self._vacate(slot)
                if not probing:
                    reason = f"killed at its limit of {job.limit_seconds:g} s"
                    self._finish(job, {"status": "timeout", "reason": reason, "seconds": now - slot.sent}, {})

    def _finish(self, job: Job, row: dict[str, Any], measurements: dict[str, list[Any]]) -> None:
        self.packing.end(job)
        self.queue.ended(job, built=row["status"] in {"ok", "diverged"})
        self.on_event(Event("finished", job, self.attempts[job.key], row, measurements))

    # ------------------------------------------------------------------ probes, stopping, workers
    def _probe_lane(self, slot: _Slot) -> None:
        """Measure a lane on a card that nobody else uses."""
        alone = not any(other.reference is not None for other in self.slots if other is not slot and other.seat.card == slot.seat.card)
        if self.unmeasured and alone and self.executor.probe:
            slot.probing = True
            self._send(slot, self.unmeasured.pop(next(iter(self.unmeasured))), self.executor.probe.work, 1.0)

    def _probed(self, slot: _Slot, answer: Answer) -> None:
        if answer.row["status"] in {"ok", "diverged"} and answer.row.get("peak_memory_bytes") and slot.job is not None:
            self.packing.learn(slot.job.lane, float(answer.row["peak_memory_bytes"]))
        slot.probing, slot.job = False, None
        if answer.row["status"] in {"failed", "oom"}:
            self._vacate(slot)

    def _ask_to_stop(self) -> None:
        """Tell every worker to stop at its next safe point, and give out no more jobs."""
        self.stopping = True
        for slot in self.slots:
            if slot.probing or slot.job is None:
                self._vacate(slot)
            else:
                slot.actor.stop.options(concurrency_group="control").remote()

    def _vacate(self, slot: _Slot) -> None:
        """Kill a worker; its seat gets a fresh one where jobs wait."""
        self._kill(slot)
        slot.actor = slot.reference = slot.job = None
        slot.probing = False
        self.account.enter(slot.number, "idle")

    def _kill(self, slot: _Slot) -> None:
        if slot.actor is not None:
            with contextlib.suppress(self.ray.exceptions.RayError, ValueError):  # it may be dead already
                self.ray.kill(slot.actor, no_restart=True)
