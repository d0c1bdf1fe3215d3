"""A worker process as the driver talks to it: it greets, works, and stops or leaves when it is told to."""

from __future__ import annotations

import contextlib
import gc
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.schedule.channel import Files, pack, sees, unpack
from bench.schedule.work import call, resolve
from bench.trial import interruption

INTERRUPTED = "interrupted"
"""Status of a job that stopped at a checkpoint because the user asked; it enters no ledger, the job just has not ended."""


@dataclass(frozen=True)
class Greeting:
    """What a worker says of its place: whether the results folder can't be seen there, and its card's (total, free) bytes."""

    apart: bool
    card: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Answer:
    """What became of a job.

    Attributes:
        row, measurements: see :data:`bench.schedule.work.Result`.
        seconds: that the work function ran.
        files: what it left, where the worker does not see the results folder.
    """

    row: dict[str, Any]
    measurements: dict[str, list[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    files: Files = field(default_factory=dict)


class Worker:
    """Long-lived; runs one job after the other.

    Args:
        folder: results folder as the driver names it, empty for none.
        marker: what lies in it.
    """

    def __init__(self, folder: str, marker: str) -> None:
        self._folder = folder
        self._own = None if not folder or sees(folder, marker) else Path(tempfile.mkdtemp(prefix="bench-"))

    def greet(self, card: str, work: str = "") -> Greeting:
        """Answer once the process is up.

        Args:
            card: ``"module:function"`` that tells the memory of its card, empty for none.
            work: what its jobs will run; loaded here, so that the first job's time limit does not pay for it.
        """
        with contextlib.suppress(Exception, SystemExit):  # the job that runs into it tells
            resolve(work)
        return Greeting(self._own is not None, resolve(card)() if card else (0, 0))

    def call(self, work: str, trial_id: str, payload: Mapping[str, Any], files: Files, share: float) -> Answer:
        """Run one job; see :func:`bench.schedule.work.call`.

        Args:
            work: what to run.
            trial_id: of the job.
            payload: for it; ``results`` is added, the folder to write to.
            files: that the results folder has of it, where this worker does not see that.
            share: of the card's memory that it may take; 0 where it has no card.
        """
        content = dict(payload)
        if self._folder:
            content["results"] = str(self._own or self._folder)
        began = time.perf_counter()
        try:
            if self._own is not None:
                unpack(files, self._own, trial_id)
            with _limited(share):
                row, measurements = call(work, content)
        except KeyboardInterrupt:
            row, measurements = {"status": INTERRUPTED}, {}
        seconds = time.perf_counter() - began
        if self._own is None:
            return Answer(row, measurements, seconds)
        left, beyond = pack(self._own, trial_id)
        shutil.rmtree(self._own / "trials" / trial_id, ignore_errors=True)
        if beyond:
            reason = f"left on its worker, too large to travel: {', '.join(beyond)}; use a results folder that all nodes share"
            row |= {
                "reason": "; ".join(filter(None, [row.get("reason"), reason])),
                "artefacts": [name for name in row.get("artefacts", ()) if name not in beyond],
            }
        return Answer(row, measurements, seconds, left)

    def stop(self) -> None:
        """Ask the job that runs to stop at its next safe point."""
        interruption.request()

    def leave(self) -> None:
        """Take away what the worker has on the disk for itself."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)


def card_bytes() -> tuple[int, int]:
    """(total, free) bytes of this process's card."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return total, free


@contextlib.contextmanager
def _limited(share: float) -> Iterator[None]:
    """Keep tensors to a share of the card's memory, and give back what they had to whoever shares the card."""
    if not share:
        yield
        return
    import torch

    on_card = torch.cuda.is_available()
    if on_card:
        torch.cuda.set_per_process_memory_fraction(share)
    try:
        yield
    finally:
        if on_card:
            gc.collect()
            torch.cuda.empty_cache()
