"""What a results folder could do without, and how to get rid of it: nothing that a table, a figure or a resumed run needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StoreError
from bench.store import Store, TrialRow, read_ledger
from bench.store.files import unwritable

ENDED = ("ok", "diverged", "failed", "oom", "timeout")


@dataclass(frozen=True)
class Waste:
    """A file or folder that may go.

    Attributes:
        why: in words, equal for everything of one kind.
    """

    path: Path
    bytes: int
    why: str


def waste(results: Path, *, checkpoints: bool = False) -> list[Waste]:
    """What may go, in the order of trials.

    Args:
        results: results folder.
        checkpoints: those of finished trials, too: without them ``bench adapt`` and a larger budget have nothing to start from.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    ledger = read_ledger(results)
    return list(_found(results, ledger.planned(), checkpoints=checkpoints))


def _found(results: Path, planned: dict[str, TrialRow], *, checkpoints: bool) -> Iterator[Waste]:
    for folder in sorted((results / "trials").glob("*")):
        row = planned.get(folder.name)
        if row is None:
            yield Waste(folder, _size(folder), "trials that are in the plan no more")
            continue
        progress = folder / "progress.json"
        if row.status in ENDED and progress.exists():
            yield Waste(progress, _size(progress), "notes on the progress of finished trials")
        checkpoint = folder / "checkpoint.safetensors"
        if checkpoints and row.status in ENDED and checkpoint.exists():
            yield Waste(checkpoint, _size(checkpoint), "checkpoints of finished trials")
    if (results / "debug").is_dir():
        yield Waste(results / "debug", _size(results / "debug"), "what bench run --debug left")


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else path.stat().st_size


def clean(results: Path, *, checkpoints: bool = False) -> list[Waste]:
    """Delete it; no run may be going on.

    Raises:
        StoreError: the folder is in use, not a results folder, or not writable.
    """
    with Store.open(results) as store, store.alone():  # nobody is at work here, and nobody joins meanwhile
        found = waste(results, checkpoints=checkpoints)
        for one in found:
            if one.path.is_symlink() or not one.path.resolve().is_relative_to(results.resolve()):
                raise StoreError(f"{one.path} leads out of {results}: nothing was deleted; take that link away first")
        for one in found:
            try:
                shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink()
            except OSError as error:
                raise unwritable(one.path, error) from error
    return found


def waste_text(found: list[Waste], *, deleted: bool) -> str:
    """A line a kind, and what to do."""
    kinds: dict[str, list[int]] = {}
    for one in found:
        kinds.setdefault(one.why, []).append(one.bytes)
    lines = [f"{sum(sizes) / 1e6:8.1f} MB  {len(sizes):5}  {why}" for why, sizes in kinds.items()]
    total = sum(one.bytes for one in found) / 1e6
    if not found:
        return "Nothing to clean."
    return "\n".join(
        [*lines, f"Deleted {total:.1f} MB." if deleted else f"{total:.1f} MB could go; nothing was deleted: add --yes to delete it."]
    )
