"""What a trial leaves on the disk of a worker that does not see the results folder travels with its result.

A run leaves a marker in its results folder. A worker that does not find it, on a node without the shared path, works
in a folder of its own: shared warm starts and features are made there once more, the files of the trial and the records
beside the features come back as bytes, and a checkpoint that the results folder has goes the other way.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.errors import StoreError
from bench.store import unwritable, write_atomic
from bench.store.files import TEMPORARY

LIMIT_BYTES = 64 << 20
"""Of one trial: far above a checkpoint with samples of the networks of this field, far below what fills a driver's memory."""

_NAME = re.compile(r"\w[\w.+-]{0,100}")
Files = dict[str, bytes]
"""``{path below the results folder: content}``."""


@contextlib.contextmanager
def marked(folder: Path) -> Iterator[str]:
    """A marker in ``folder`` for as long as workers may look for it; gives its name.

    Raises:
        StoreError: the disk refuses.
    """
    # Named like an unfinished file, so that the next writer removes what a killed one left.
    marker = folder / f"run-{secrets.token_hex(8)}{TEMPORARY}"
    try:
        marker.touch()
    except OSError as error:
        raise unwritable(marker, error) from error
    try:
        yield marker.name
    finally:
        with contextlib.suppress(OSError):
            marker.unlink()


def sees(folder: str, marker: str) -> bool:
    """Whether ``folder`` is, here, the folder that was marked."""
    try:
        return (Path(folder) / marker).exists()
    except OSError:
        return False


def pack(folder: Path, trial_id: str, *, limit: int = LIMIT_BYTES) -> tuple[Files, list[str]]:
    """What a trial left in ``folder``, smallest first, and the names of what is beyond ``limit`` bytes."""
    found = [path for place in ((folder / "trials" / trial_id).glob("*"), (folder / "artefacts").glob("*.json")) for path in place]
    sizes = {path: path.stat().st_size for path in found if path.is_file() and path.suffix != TEMPORARY and path.name != "progress.json"}
    files: Files = {}
    left, total = [], 0
    for path in sorted(sizes, key=lambda path: (sizes[path], path)):
        total += sizes[path]
        if total <= limit:
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
        else:
            left.append(path.name)
    return files, left


def unpack(files: Mapping[str, bytes], folder: Path, trial_id: str) -> None:
    """Write what :func:`pack` gave; names that lead elsewhere than to the trial or to the artefacts are refused.

    Raises:
        StoreError: a name is none of a trial's files, or the disk refuses.
    """
    for name, content in files.items():
        place, _, last = name.rpartition("/")
        if place not in (f"trials/{trial_id}", "artefacts") or not _NAME.fullmatch(last):
            raise StoreError(f"a worker sent {name!r} as a file of trial {trial_id}; it may send trials/{trial_id}/NAME and artefacts/NAME")
        write_atomic(folder / place / last, content)
