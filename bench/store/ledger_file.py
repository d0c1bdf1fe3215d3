"""The ledger's file as its one writer holds it: locked, mended at its end, appended to and synced."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

from bench.errors import StoreError
from bench.store.files import unreadable, unwritable
from bench.store.ledger import LEDGER, Ledger, replay

LOCK = "lock"


class LedgerFile:
    """An open ledger; no other process can open it as long as this one is.

    Attributes:
        ledger: state that its lines lead to when it was opened.
        closed: whether the file and its lock were let go.

    Raises:
        StoreError: another process writes to the folder, or the file can't be read or mended.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER
        self._lock = _lock(folder)
        self.closed = False
        try:
            self.ledger, self._descriptor, self._size = _open(self._path)
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, lines: bytes) -> None:
        """Write whole lines and return when they are on the disk.

        Raises:
            StoreError: the disk is full or refuses; none of the lines counts as written.
        """
        try:
            _write_all(self._descriptor, lines)
            os.fsync(self._descriptor)
        except OSError as error:
            # Take back a line that was written in part, so that a later attempt starts on a line of its own.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise unwritable(self._path, error) from error
        self._size += len(lines)

    def close(self) -> None:
        """Let go of the file and its lock; the lock's file stays, since removing it would race with the next writer."""
        os.close(self._descriptor)
        os.close(self._lock)
        self.closed = True


def _lock(folder: Path) -> int:
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreError(
            f"{folder}: another bench process{f' (pid {owner})' if owner.isdigit() else ''} is writing here; wait for it, stop it, "
            "or choose another folder with --output"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StoreError(
            f"{path}: cannot be locked ({error.strerror}); choose a folder on a file system with locks with --output"
        ) from error
    with contextlib.suppress(OSError):  # only names the owner to others; a full disk is reported by the first record
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _open(path: Path) -> tuple[Ledger, int, int]:
    """State, descriptor for appending and size; a torn last line is cut off, or completed where only its newline is missing."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    ledger = replay(content)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            content = _mend(descriptor, content)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise unwritable(path, error) from error
    return ledger, descriptor, len(content)


def _mend(descriptor: int, content: bytes) -> bytes:
    head, newline, tail = content.rpartition(b"\n")
    if not tail:
        return content
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        content = head + newline
        os.ftruncate(descriptor, len(content))
    else:
        _write_all(descriptor, b"\n")
        content += b"\n"
    os.fsync(descriptor)
    return content


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
