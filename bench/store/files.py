"""Writing files so that a kill, a power loss or a full disk leaves the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from bench.errors import StoreError

TEMPORARY = ".tmp"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCKED = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def write_atomic(path: Path | str, content: bytes) -> None:
    """Replace ``path`` by ``content`` and return when both are on the disk; creates the folder.

    Raises:
        StoreError: the file can't be written; the old content, if any, is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make names created or replaced in ``folder`` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Delete what writers killed in the middle of :func:`write_atomic` left in ``folder``."""
    for leftover in folder.glob(f"*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def unwritable(path: Path, error: OSError) -> StoreError:
    """What went wrong when writing ``path``, and what to do about it."""
    if error.errno in _FULL:
        return StoreError(
            f"{path}: no room to write ({error.strerror}); free disk space or raise the quota or file-size limit, then run the same "
            "command again: everything recorded so far is kept"
        )
    if error.errno in _CLOSED:
        return StoreError(f"{path}: not writable ({error.strerror}); make the folder writable or choose another with --output")
    if error.errno in _BLOCKED:
        return StoreError(f"{path}: cannot be written, a file is where a folder should be ({error.strerror}); choose another with --output")
    return StoreError(f"{path}: cannot be written ({error.strerror or error}); check the disk, then run the same command again")


def unreadable(path: Path, error: OSError) -> StoreError:
    """What went wrong when reading ``path``, and what to do about it."""
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path}: does not exist; check the path, or run the suite to create it")
    return StoreError(f"{path}: cannot be read ({error.strerror or error}); check its permissions and the disk")
