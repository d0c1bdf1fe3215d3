"""Who works in a results folder: each driver keeps a file of its own locked for as long as it lives.

The kernel lets go of a lock when its owner dies, however it dies, so nobody guesses from clocks or from process ids that
another machine may have given to somebody else. A name is never used twice: a file that is gone stands for a dead driver.
Files are made, and those of the dead taken away, while the ledger's lock is held, so that nobody takes a file that is made
but not locked yet for a dead one's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from bench.store.files import unwritable

DRIVERS = "drivers"


class Driver:
    """This process among the drivers of a results folder, until it leaves or dies.

    Attributes:
        name: 8 hexadecimal digits, unlike those of any other driver.

    Raises:
        StoreError: the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(4)
        self._path = folder / DRIVERS / self.name
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unwritable(self._path, error) from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):  # only tells others whom to wait for; a full disk is reported by the first record
            os.write(self._descriptor, str(os.getpid()).encode())

    def leave(self) -> None:
        """Be a driver no more; a second time, nothing happens."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


def alive(folder: Path, name: str) -> bool:
    """Whether the driver ``name`` lives."""
    return bool(name) and _pid(folder / DRIVERS / name) is not None


def living(folder: Path) -> dict[str, str]:
    """{name: process id, as far as it told} of the drivers that live."""
    told = {path.name: _pid(path) for path in sorted((folder / DRIVERS).glob("*"))}
    return {name: pid for name, pid in told.items() if pid is not None}


def bury(folder: Path) -> None:
    """Take away the files that dead drivers have left; the ledger's lock must be held."""
    for path in (folder / DRIVERS).glob("*"):
        if _pid(path) is None:
            with contextlib.suppress(OSError):
                path.unlink()


def _pid(path: Path) -> str | None:
    """What the owner of a file that is locked has written there; None where nobody has it locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None
