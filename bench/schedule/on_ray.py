"""Jobs on Ray: one long-lived worker process per slot, fed one job at a time from this process's queue.

A trial per actor would cost a process start each (3 s against 1 ms). A worker is replaced only when it died, was
killed for its time limit, or ran out of memory. Ray is imported when an executor is made, never before.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.schedule.executor import Event, nothing, nothing_built
from bench.schedule.queue import Job, dispatch_order, next_job
from bench.schedule.work import Result, call

ATTEMPTS = 2  # of a job whose worker died: the second on a fresh process tells a bad node from a bad trial
TICK_SECONDS = 0.2
_OBJECT_STORE_BYTES = 256 << 20  # only measurement rows travel; Ray's default would reserve a third of the memory
_CONNECT_SECONDS = 10
_START_FAILURES = 3  # workers that die in a row before they run anything mean that none will start
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Worker:
    """What runs in a slot's process."""

    def ready(self) -> bool:
        """Answer once the process is up."""
        return True

    def call(self, work: str, payload: Mapping[str, Any]) -> Result:
        """Run one job; see :func:`bench.schedule.work.call`."""
        return call(work, payload)


@dataclass
class _Slot:
    """One worker and what it is busy with: its own start, a job, or nothing."""

    actor: Any
    reference: Any
    job: Job | None = None
    started: float = field(default_factory=time.monotonic)


class RayExecutor:
    """Runs jobs on Ray; satisfies :class:`bench.schedule.Executor`.

    Args:
        slots: workers at a time; fewer where the cluster has fewer cores (or GPUs).
        address: a running cluster (``auto``, ``host:port``, ``ray://...``); None starts one on this machine and ends it after the run.
        gpus_per_slot: GPU share of a worker; 0 hides the GPUs from it.

    Raises:
        BenchError: Ray is not installed.
    """

    note = ""

    def __init__(self, slots: int, *, address: str | None = None, gpus_per_slot: float = 0.0) -> None:
        if slots < 1:
            raise BenchError(f"an executor needs at least one worker, got {slots}; give --jobs 1 or more")
        self.slots = slots
        self.address = address
        self.gpus_per_slot = gpus_per_slot
        self._ray = _import_ray()

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
        """Run every job; see :meth:`bench.schedule.Executor.run`."""
        ordered = dispatch_order(jobs)
        if not ordered:
            return
        with self._cluster():
            run = _Run(self, ordered, work, on_event, is_built)
            try:
                run.until_done(on_tick)
            except KeyboardInterrupt:
                on_interrupt()
                raise
            finally:
                run.stop()

    # ------------------------------------------------------------------ cluster
    @contextlib.contextmanager
    def _cluster(self) -> Iterator[None]:
        """A connection to Ray; one that was there before is used as it is and left open."""
        if self._ray.is_initialized():
            yield
            return
        _check_reachable(self.address)
        where: dict[str, Any] = {"address": self.address}
        if self.address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a benchmark does not report to anyone
            cores = max(self.slots, os.cpu_count() or 1)
            where = {"address": "local", "num_cpus": cores, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about options of Ray's next versions: nothing that a user of bench could act on
                self._ray.init(**where, log_to_driver=False, logging_level="CRITICAL")
        except Exception as error:  # Ray raises plain Exceptions, too, such as for a node that takes too long to start
            place = f"a Ray cluster at {self.address}" if self.address else "a Ray cluster on this machine"
            cure = "check --address, try again when the machine is less busy, or use --executor inline"
            raise BenchError(f"cannot reach {place} ({error}); {cure}") from error
        _mute_raylet()
        try:
            yield
        finally:
            self._ray.shutdown()

    def workers(self) -> int:
        """Workers that the connected cluster has room for, at most ``slots``.

        Raises:
            BenchError: it has room for none.
        """
        resources = self._ray.cluster_resources()
        room = int(resources.get("CPU", 0))
        if self.gpus_per_slot > 0:
            # Shares are per card: 0.4 fits twice on one, however many cards there are.
            cards = resources.get("GPU", 0)
            share = self.gpus_per_slot
            room = min(room, int(cards) * int(1 / share + 1e-9) if share <= 1 else int(cards // share))
        if room < 1:
            raise BenchError(
                f"the Ray cluster has {resources.get('CPU', 0):g} cores and {resources.get('GPU', 0):g} GPUs, a worker needs 1 core and "
                f"{self.gpus_per_slot:g} GPUs; connect to a larger cluster or use --executor inline"
            )
        return min(self.slots, room)

    def start_worker(self) -> _Slot:
        """Begin to start a worker; its reference answers when it is up."""
        remote = self._ray.remote(num_cpus=1, num_gpus=self.gpus_per_slot, max_restarts=0, max_task_retries=0)(Worker)
        actor = remote.options(runtime_env={"env_vars": _environment(gpus=self.gpus_per_slot > 0)}).remote()
        return _Slot(actor, actor.ready.remote())


class _Run:
    """One run's queue, slots and attempts."""

    def __init__(
        self, executor: RayExecutor, jobs: list[Job], work: str, on_event: Callable[[Event], None], is_built: Callable[[str], bool]
    ) -> None:
        self.executor = executor
        self.ray = executor._ray
        self.work = work
        self.on_event = on_event
        self.is_built = is_built
        self.pending = {job.key: job for job in jobs}
        self.attempts = dict.fromkeys(self.pending, 0)
        self.built: set[str] = set()
        self.start_failures = 0
        self.slots: list[_Slot] = []
        if len(self.pending) != len(jobs):
            raise BenchError(f"{len(jobs) - len(self.pending)} jobs share a key with another; give each trial once")

    def until_done(self, on_tick: Callable[[], None]) -> None:
        """Dispatch and collect until every job has finished."""
        self.slots = [self.executor.start_worker() for _ in range(min(self.executor.workers(), len(self.pending)))]
        ticked = time.monotonic()
        while self.pending or any(slot.job for slot in self.slots):
            self._dispatch()
            busy = {slot.reference: slot for slot in self.slots if slot.reference is not None}
            done, _ = self.ray.wait(list(busy), num_returns=1, timeout=TICK_SECONDS)
            for reference in done:
                self._collect(busy[reference])
            self._enforce_limits()
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                on_tick()
        on_tick()

    def stop(self) -> None:
        """Kill the workers, whatever they do."""
        for slot in self.slots:
            self._kill(slot)

    def _dispatch(self) -> None:
        for slot in self.slots:
            if slot.reference is not None or not self.pending:
                continue
            running = [other.job for other in self.slots if other.job is not None]
            self.built |= {key for job in running for key in job.needs if key not in self.built and self.is_built(key)}
            job = next_job(self.pending, running, self.built)
            if job is None:
                return
            del self.pending[job.key]
            self.attempts[job.key] += 1
            self.on_event(Event("started", job, self.attempts[job.key]))
            slot.job, slot.started = job, time.monotonic()
            slot.reference = slot.actor.call.remote(self.work, dict(job.payload))

    def _collect(self, slot: _Slot) -> None:
        """Take the answer of a slot: that it is up, a result, or that its worker died."""
        job, reference = slot.job, slot.reference
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # the result could not be sent, say: the trial's fault, and the worker lives
            answer = {"status": "failed", "reason": f"its result could not be returned ({type(error.cause).__name__})"}, {}
        except self.ray.exceptions.RuntimeEnvSetupError as error:
            raise BenchError(f"the Ray cluster cannot prepare a worker ({error}); check its nodes, or use --executor inline") from error
        except self.ray.exceptions.RayError as error:
            self._lost(slot, error)
            return
        slot.job = slot.reference = None
        self.start_failures = 0
        if job is not None:
            row, measurements = answer
            self._finish(job, row, measurements)
            if row["status"] == "oom":  # what it could not allocate may be held by what it could not free
                self._replace(slot)

    def _lost(self, slot: _Slot, error: Exception) -> None:
        """Give the job of a dead worker a second attempt on a fresh one."""
        job = slot.job
        self._replace(slot)
        if job is None:
            self.start_failures += 1
            if self.start_failures >= _START_FAILURES * len(self.slots):
                raise BenchError(
                    f"workers die before they run anything ({type(error).__name__}); check memory and the Ray logs, "
                    "or use --executor inline"
                )
        elif self.attempts[job.key] < ATTEMPTS:
            self.pending = {job.key: job, **self.pending}
        elif "memory" in type(error).__name__.lower() or "low on memory" in str(error):
            self._finish(job, {"status": "oom", "reason": "its worker was killed because the node ran low on memory, twice"}, {})
        else:
            self._finish(job, {"status": "infra", "reason": f"its worker process died in each of {ATTEMPTS} attempts"}, {})

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            job = slot.job
            if job is not None and job.limit_seconds is not None and now - slot.started > job.limit_seconds:
                self._kill(slot)
                self._replace(slot)
                self._finish(
                    job,
                    {"status": "timeout", "reason": f"killed at its limit of {job.limit_seconds:g} s", "seconds": now - slot.started},
                    {},
                )

    def _finish(self, job: Job, row: Mapping[str, Any], measurements: Mapping[str, Any]) -> None:
        if row["status"] in {"ok", "diverged"}:
            self.built.update(job.needs)
        self.on_event(Event("finished", job, self.attempts[job.key], row, measurements))

    def _kill(self, slot: _Slot) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError, ValueError):  # it may be dead already
            self.ray.kill(slot.actor, no_restart=True)

    def _replace(self, slot: _Slot) -> None:
        self._kill(slot)
        fresh = self.executor.start_worker()
        slot.actor, slot.reference, slot.job = fresh.actor, fresh.reference, None


def _import_ray() -> Any:
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.exceptions")
    except ImportError as error:
        raise BenchError(f"Ray is not installed or does not import ({error}); pip install 'ray>=2.50', or use --executor inline") from error
    return ray


def _check_reachable(address: str | None) -> None:
    """Fail within seconds where nobody listens; Ray itself goes on trying for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise BenchError(f"no Ray cluster answers at {address} ({error}); check --address, or use --executor inline") from error


def _environment(*, gpus: bool) -> dict[str, str]:
    """Variables of a worker: one thread, GPUs only where it has a share, and what the user set for bench."""
    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # Ray's next versions leave this to its user
    given = {name: value for name, value in os.environ.items() if name.startswith("BENCH_") or name == "CUBLAS_WORKSPACE_CONFIG"}
    return {**given, **hidden, **_import_path(), **dict.fromkeys(_THREADS, "1")}


def _import_path() -> dict[str, str]:
    """What this process can import beyond its Python installation, so that a worker can, too: a script's folder, PYTHONPATH."""
    installed = tuple(str(Path(prefix)) + os.sep for prefix in (sys.prefix, sys.base_prefix))
    added = [entry for entry in sys.path if os.path.isabs(entry) and not entry.startswith(installed)]
    return {"PYTHONPATH": os.pathsep.join(added)} if added else {}


def _mute_raylet() -> None:
    """Keep Ray's notes on dead workers off standard output, which belongs to ``--json``; each death has its event here."""
    with contextlib.suppress(ImportError):  # Ray has no public switch for these notes
        vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False
