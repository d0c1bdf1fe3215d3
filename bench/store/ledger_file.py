"""The ledger's file as its writers hold it: each locks it for a moment, reads what the others have added, and appends.

Several drivers may work in one folder. The ledger itself says who runs what: a ``started`` event with the driver's name is a
claim, and since it is appended under the lock, after everything before it has been read, no trial has two living claimants.
One file in one order needs no merging, and readers need not know that there was more than one writer; claim files beside
the ledger would be a second truth, and a ledger per driver a third. A claim is not synced: losing it to a power loss loses its
claimant, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.errors import StoreError
from bench.store.drivers import Driver, alive, bury, living
from bench.store.files import unreadable, unwritable
from bench.store.ledger import LARGEST_LEDGER, LEDGER, Ledger

LOCK = "lock"
PATIENCE_SECONDS = 60.0  # others hold the lock for milliseconds, a merge for seconds
_RETRY_SECONDS = 0.005


class LedgerFile:
    """An open ledger.

    Args:
        folder: results folder.
        join: work beside other drivers that live.

    Attributes:
        ledger: state that its lines lead to, as far as they were read.
        closed: whether the file was let go.

    Raises:
        StoreError: other drivers work here and ``join`` is not given, or the file can't be read or mended.
    """

    def __init__(self, folder: Path, *, join: bool = False) -> None:
        self._folder, self._path = folder, folder / LEDGER
        self.ledger = Ledger()
        self.closed = False
        self._size = self._depth = 0
        with contextlib.ExitStack() as undo:
            self._lock = _open(folder / LOCK, os.O_RDWR | os.O_CREAT)
            undo.callback(os.close, self._lock)
            self._descriptor = _open(self._path, os.O_RDWR | os.O_APPEND)
            undo.callback(os.close, self._descriptor)
            with self.locked():
                bury(folder)
                others = living(folder)
                if others and not join:
                    raise _busy(folder, list(others.values()))
                self._driver = Driver(folder)
            undo.pop_all()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, with everything read that others have written; may be nested.

        Raises:
            StoreError: another process keeps the lock, or the file has changed other than by appending.
        """
        if self._depth == 0:
            _acquire(self._lock, self._folder)
        self._depth += 1
        try:
            if self._depth == 1:
                self._catch_up()
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def others(self) -> bool:
        """Whether drivers beside this one live."""
        with self.locked():
            return living(self._folder).keys() != {self._driver.name}

    def runs_elsewhere(self, trial_id: str) -> bool:
        """Whether another driver that lives runs a trial."""
        runner = self.ledger.runners.get(trial_id, "")
        return runner != self._driver.name and alive(self._folder, runner)

    @property
    def driver(self) -> str:
        """Name of this driver in the ledger."""
        return self._driver.name

    def append(self, lines: bytes, *, sync: bool = True) -> None:
        """Write whole lines and, unless told otherwise, return when they are on the disk.

        Raises:
            StoreError: the disk is full or refuses; none of the lines counts as written.
        """
        with self.locked():
            try:
                _write_all(self._descriptor, lines)
                if sync:
                    os.fsync(self._descriptor)
            except OSError as error:
                # Take back a line that was written in part, so that a later attempt starts on a line of its own.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                raise unwritable(self._path, error) from error
            self._size += len(lines)
            self.ledger.skip_lines(lines.count(b"\n"))

    def close(self) -> bool:
        """Let go of the file; whether no other driver is left. The lock's file stays, since removing it would race with the next."""
        try:
            with self.locked():
                self._driver.leave()
                bury(self._folder)
                return not living(self._folder)
        finally:
            self._driver.leave()
            os.close(self._descriptor)
            os.close(self._lock)
            self.closed = True

    def _catch_up(self) -> None:
        """Read what has been appended since; a torn last line is a dead writer's, for whoever lives has let go of the lock."""
        size = os.fstat(self._descriptor).st_size
        if size < self._size:
            raise StoreError(f"{self._path}: has become shorter while it was in use; restore it, then run the same command again")
        if size > LARGEST_LEDGER:
            raise StoreError(f"{self._path}: has {size:,} bytes, more than any ledger; choose another folder with --output")
        if size == self._size:
            return
        try:
            content = _read(self._descriptor, self._size, size)
        except OSError as error:
            raise unreadable(self._path, error) from error
        try:
            content = _mend(self._descriptor, content, self._size)
        except OSError as error:
            raise unwritable(self._path, error) from error
        self.ledger.read(content)
        self._size += len(content)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise unwritable(path, error) from error


def _acquire(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise _busy(folder, list(living(folder).values())) from None
            time.sleep(_RETRY_SECONDS)
        except OSError as error:
            cure = "choose a folder on a file system with locks with --output"
            raise StoreError(f"{folder / LOCK}: cannot be locked ({error.strerror}); {cure}") from error
        else:
            return


def _busy(folder: Path, pids: list[str]) -> StoreError:
    told = ", ".join(pid for pid in pids if pid.isdigit())
    return StoreError(
        f"{folder}: another bench process{f' (pid {told})' if told else ''} is writing here; wait for it, stop it, run beside it "
        "with --join, or choose another folder with --output"
    )


def _read(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _mend(descriptor: int, content: bytes, start: int) -> bytes:
    """Cut a torn last line off, or complete it where only its newline is missing; ``content`` begins at ``start``."""
    head, newline, tail = content.rpartition(b"\n")
    if not tail:
        return content
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        content = head + newline
        os.ftruncate(descriptor, start + len(content))
    else:
        _write_all(descriptor, b"\n")
        content += b"\n"
    os.fsync(descriptor)
    return content


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
