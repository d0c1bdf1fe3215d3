"""Single files: written whole or not at all, and read as if somebody else had made them.

A kill, a power loss or a full disk leaves the old content or the new, never half of it. A folder that came from elsewhere
may hold links to private files, pipes that never end, or files larger than the memory: these are refused, not followed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from bench.errors import StoreError

TEMPORARY = ".tmp"
LARGEST_FILE = 1 << 30  # bytes of one file that is read whole: a checkpoint of small networks is a thousandth of it
LARGEST_RECORD = 64 << 20  # bytes of a JSON record; identities of 100,000 cells are the largest, about a quarter of it
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


def read_file(path: Path, *, most: int = LARGEST_FILE) -> bytes:
    """Content of a regular file of at most ``most`` bytes.

    Raises:
        StoreError: it is not there, cannot be read, or is a link, a pipe, a device, or larger.
    """
    try:
        # A pipe without a writer would otherwise keep the reader waiting for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"{path}: is no regular file; a results folder holds plain files and folders only")
            if status.st_size > most:
                raise StoreError(f"{path}: has {status.st_size:,} bytes, more than the {most:,} that such a file may have; delete it")
            return file.read(most)
    except OSError as error:
        raise unreadable(path, error) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that a run has written.

    Raises:
        StoreError: there is none that can be read; the text says how to get it back.
    """
    content = read_file(path, most=LARGEST_RECORD)
    try:
        record = json.loads(content)
        json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair is text that no report can show
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise StoreError(f"{path}: damaged ({why}); delete it and run the suite again, which writes it anew") from error
    if not isinstance(record, dict):
        raise StoreError(f"{path}: must hold a JSON object, got {type(record).__name__}; delete it and run the suite again")
    return record


def refuse_links_out(folder: Path, subfolders: tuple[str, ...]) -> None:
    """Fail where one of ``subfolders`` of a results folder, or what lies in it, is a link to somewhere else.

    Raises:
        StoreError: what would be written there would land outside the folder.
    """
    inside = folder.resolve()
    for name in subfolders:
        place = folder / name
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            for link in [place] * place.is_symlink() + [Path(entry.path) for entry in entries if entry.is_symlink()]:
                if not link.resolve().is_relative_to(inside):
                    raise StoreError(f"{link}: leads out of the results folder; take the link away, or choose another folder with --output")


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
    if error.errno == errno.ELOOP:
        return _link(path)
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
    if error.errno == errno.ELOOP:
        return _link(path)
    return StoreError(f"{path}: cannot be read ({error.strerror or error}); check its permissions and the disk")


def _link(path: Path) -> StoreError:
    return StoreError(f"{path}: is a link, which a results folder must not hold; put the file itself there")
