"""The results folder as a driver sees it: group commit of rows and measurements, artefacts, environment records.

A trial's measurements are on the disk before the ledger line that refers to them, so a reader never finds a row
whose numbers are still to come, and a kill at any moment loses at most what was buffered since the last flush.
Drivers that work beside each other share the ledger (:mod:`bench.store.ledger_file`) and write segments of their own.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bench.environment import anonymise, environment_hash
from bench.errors import StoreError
from bench.store.drivers import DRIVERS
from bench.store.files import refuse_links_out, remove_temporaries, unwritable, write_atomic
from bench.store.ledger import COSTS, LEDGER, REASON_LIMIT, Ledger, TrialRow, checked_trial_id, line_of
from bench.store.ledger_file import LedgerFile
from bench.store.segments import SEGMENTS, TYPES, read_segment, table_of, write_segment

if TYPE_CHECKING:
    import pyarrow as pa

COMMIT_SECONDS = 1.0
MERGE_AT = 64  # small segments that are worth one merge: opening a file costs a reader about a millisecond
SMALL_BYTES = 1 << 20
_FOLDERS = (SEGMENTS, "trials", "environments", "artefacts")

_ROW_KEYS = {"status", "reason", "error", "attempts", "outer_steps", "environment", "artefacts", "packed", "traceback", *COSTS}


@dataclass(frozen=True)
class _Finish:
    """A finished trial between :meth:`Store.finish` and the next flush."""

    event: dict[str, Any]
    table: pa.Table | None


class Store:
    """A results folder open for writing; use it as a context manager, or call :meth:`close`.

    Attributes:
        folder: the results folder.
        ledger: rows as of the last call, buffered ones included; of other drivers' what was read at the last claim or flush.
        last: once closed, whether no other driver was left in the folder.
    """

    def __init__(self, folder: Path, *, join: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.last = False
        self._clock = clock
        self._finished: list[_Finish] = []
        self._unsettled: set[str] = set()
        self._lines: list[bytes] = []
        self._file = LedgerFile(folder, join=join)
        self.ledger = self._file.ledger
        with self.alone() as alone:
            if alone:
                remove_temporaries(folder)
                remove_temporaries(folder / SEGMENTS)
        self._sizes = {path.name: path.stat().st_size for path in (folder / SEGMENTS).glob("*.parquet")}
        self._number = max((int(name.partition("-")[0]) for name in self._sizes if name[:6].isdigit()), default=0)
        self._flushed = clock()

    @classmethod
    def create(cls, folder: Path | str, *, join: bool = False, clock: Callable[[], float] = time.monotonic) -> Self:
        """Open ``folder`` for writing, making it where it does not exist.

        Args:
            folder: results folder.
            join: work beside drivers that write to it already.
            clock: seconds, for the group commit.

        Raises:
            StoreError: it can't be written, leads elsewhere by a link, or another process writes to it and ``join`` is not given.
        """
        folder = Path(folder)
        refuse_links_out(folder, (*_FOLDERS, DRIVERS, "debug", "report"))
        try:
            for name in _FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True)
            if not (folder / LEDGER).exists():
                (folder / LEDGER).touch()
        except OSError as error:
            raise unwritable(folder, error) from error
        return cls(folder, join=join, clock=clock)

    @classmethod
    def open(cls, folder: Path | str, *, clock: Callable[[], float] = time.monotonic) -> Self:
        """Open an existing results folder for writing.

        Raises:
            StoreError: there is none, it can't be written, or another process writes to it.
        """
        if not (Path(folder) / LEDGER).is_file():
            raise StoreError(f"{folder}: no {LEDGER} here, so this is not a results folder; check the path, or run a suite to make one")
        return cls.create(folder, clock=clock)

    @property
    def rows(self) -> Mapping[str, TrialRow]:
        """Trials of the current plan, in its order."""
        return self.ledger.planned()

    def done(self, trial_id: str) -> bool:
        """Whether a trial has an outcome whose measurements, if it has any, are there."""
        row = self.ledger.rows.get(trial_id)
        if row is None or row.status in {"planned", "running"}:
            return False
        return not row.segment or (self.folder / SEGMENTS / row.segment).is_file()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other drivers from entering the folder and from recording anything; whether there are none.

        Raises:
            StoreError: another driver does not let go of the ledger.
        """
        with self._file.locked():
            yield not self._file.others()

    def plan(self, cells: Mapping[str, Mapping[str, Any]]) -> None:
        """Record ``{trial_id: cell}``, and return when it is on the disk; a trial that has a row keeps it.

        Args:
            cells: the families, arm and replicate of each trial: texts and numbers.

        Raises:
            StoreError: a trial id or a cell is invalid, or the ledger can't be written.
        """
        for trial_id, cell in cells.items():
            row = self.ledger.rows.get(trial_id)
            known = row is not None and trial_id not in self.ledger.dropped and row.status != "skipped" and row.cell == dict(cell)
            if not known:
                self._record({"event": "planned", "trial_id": trial_id, "cell": dict(cell)})
        self.flush()

    def drop(self, trial_ids: Iterable[str]) -> None:
        """Take trials out of the plan; their rows stay, and a later plan that names them finds these.

        Raises:
            StoreError: one was never planned.
        """
        for trial_id in trial_ids:
            if trial_id not in self.ledger.dropped:
                self._record({"event": "dropped", "trial_id": trial_id})

    def skip(self, trial_id: str, reason: str, *, cell: Mapping[str, Any] | None = None) -> None:
        """Record that a trial can't be run, and why.

        Raises:
            StoreError: the trial id or cell is invalid.
        """
        reason = anonymise(reason)[:REASON_LIMIT]
        row = self.ledger.rows.get(trial_id)
        known = row is not None and trial_id not in self.ledger.dropped and (row.status, row.reason) == ("skipped", reason)
        if not known or (cell is not None and row is not None and row.cell != dict(cell)):
            self._record({"event": "skipped", "trial_id": trial_id, "reason": reason, "cell": None if cell is None else dict(cell)})

    def start(self, trial_id: str) -> None:
        """Record one attempt at a trial.

        Raises:
            StoreError: the trial id is invalid.
        """
        self._record({"event": "started", "trial_id": trial_id})

    def claim(self, trial_id: str, *, attempts: int) -> bool:
        """Record one attempt at a trial unless another driver runs it, or has ended it since it had ``attempts``.

        Raises:
            StoreError: the trial id is invalid, or the ledger can't be written.
        """
        self._settle(trial_id)
        with self._file.locked():
            free = not self.runs_elsewhere(trial_id) and not self.ended_since(trial_id, attempts=attempts)
            if free:
                self._lines.append(line_of(self._apply({"event": "started", "trial_id": trial_id, "driver": self._file.driver})))
                self._append(sync=len(self._lines) > 1)  # a claim may be lost with its claimant, what was recorded before it may not
        return free

    def catch_up(self) -> None:
        """Read what other drivers have recorded.

        Raises:
            StoreError: another driver does not let go of the ledger, or it was changed other than by appending.
        """
        with self._file.locked():
            pass

    def runs_elsewhere(self, trial_id: str) -> bool:
        """Whether another driver that lives runs a trial, as of the last claim or flush."""
        return self._file.runs_elsewhere(trial_id)

    def ended_since(self, trial_id: str, *, attempts: int) -> bool:
        """Whether a trial has got an outcome by an attempt beyond the first ``attempts``."""
        row = self.ledger.rows.get(trial_id)
        return row is not None and row.status not in {"planned", "running"} and row.attempts > attempts

    def finish(self, trial_id: str, row: Mapping[str, Any], measurements: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Buffer the outcome of a trial; the next flush commits it.

        Args:
            trial_id: the trial.
            row: ``status``, and any of ``reason``, ``error``, ``outer_steps``, ``environment``, ``artefacts``, ``packed`` and the cost
                columns. ``traceback`` is kept as ``error.txt`` among the artefacts. ``attempts`` is what the ledger counted, at least.
            measurements: ``{column: values}``, see :func:`bench.store.segments.table_of`.

        Raises:
            StoreError: row or measurements are not what they should be; nothing is buffered.
        """
        before = self.ledger.rows.get(trial_id)
        # A number of its own for every outcome: measurements of an earlier one in the same segment are told apart by it.
        counted = 0 if before is None else before.attempts + (before.status != "running")
        event, table = _outcome(trial_id, max(1, counted), row, measurements or {})
        event = self._apply(event)
        self._finished.append(_Finish(event, table))
        self._unsettled.add(trial_id)
        if row.get("traceback"):
            write_atomic(self.trial_folder(trial_id) / "error.txt", anonymise(str(row["traceback"])).encode(errors="replace"))

    def tick(self) -> None:
        """Flush if the last flush is a second ago and there is something to commit; call it often.

        Raises:
            StoreError: see :meth:`flush`.
        """
        if (self._finished or self._lines) and self._clock() - self._flushed >= COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit everything buffered: first one segment, then the ledger lines that refer to it.

        Raises:
            StoreError: the disk is full or refuses; what is buffered stays so, and a later flush can commit it.
        """
        self._flushed = self._clock()
        if self._finished:
            tables = [finish.table for finish in self._finished if finish.table is not None]
            segment = self._write_segment(tables) if tables else ""
            for finish in self._finished:
                event = self._apply({**finish.event, "segment": segment} if finish.table is not None else finish.event)
                self._lines.append(line_of(event))
            self._finished.clear()
            self._unsettled.clear()
        self._append()
        with contextlib.suppress(StoreError):  # what was asked for is committed; a merge can wait for room
            self._merge_small()

    def close(self) -> None:
        """Flush and let go of the folder.

        Raises:
            StoreError: see :meth:`flush`; the folder is released all the same.
        """
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self.last = self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A full disk makes close fail for the reason that is already on its way to the user.
        with contextlib.suppress(StoreError) if isinstance(error, StoreError) else contextlib.nullcontext():
            self.close()

    def trial_folder(self, trial_id: str) -> Path:
        """Where the artefacts of a trial lie.

        Raises:
            StoreError: the trial id is invalid.
        """
        try:
            return self.folder / "trials" / checked_trial_id(trial_id)
        except ValueError as error:
            raise StoreError(f"{self.folder}: {error}") from error

    def record_environment(self, record: Mapping[str, Any]) -> str:
        """Keep an environment record, once, and return the hash that rows refer to.

        Raises:
            StoreError: it can't be written.
        """
        name = environment_hash(record)
        path = self.folder / "environments" / f"{name}.json"
        if not path.exists():
            write_atomic(path, json.dumps(record, sort_keys=True, indent=1).encode())
        return name

    # ------------------------------------------------------------------ committing
    def _record(self, event: Mapping[str, Any]) -> None:
        self._settle(event.get("trial_id"))
        self._lines.append(line_of(self._apply(event)))

    def _apply(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Take in an event as it will be read back, and return it so."""
        try:
            plain: dict[str, Any] = json.loads(line_of(event))
            self.ledger.apply(plain)
        except ValueError as error:
            raise StoreError(f"{self.folder}: cannot record trial {event.get('trial_id')!r}: {error}") from error
        return plain

    def _settle(self, trial_id: str | None) -> None:
        """Commit a buffered outcome of a trial before its next event, so that the ledger keeps their order."""
        if trial_id in self._unsettled:
            self.flush()

    def _write_segment(self, tables: Sequence[pa.Table]) -> str:
        name = write_segment(self.folder / SEGMENTS, self._number + 1, tables)
        self._number += 1
        self._sizes[name] = (self.folder / SEGMENTS / name).stat().st_size
        return name

    def _append(self, *, sync: bool = True) -> None:
        if self._lines:
            self._file.append(b"".join(self._lines), sync=sync)
            self._lines.clear()

    def _merge_small(self) -> None:
        """Replace many small segments by one, unless another driver might be writing the row of one that seems unused."""
        small = [name for name, size in self._sizes.items() if size < SMALL_BYTES]
        if len(small) < MERGE_AT:
            return
        with self.alone() as alone:
            used = self.ledger.segments()
            small = [name for name in small if name in used]
            if alone and len(small) >= MERGE_AT:
                self._merge(small, used)

    def _merge(self, small: Sequence[str], used: set[str]) -> None:
        """Put what still counts of the segments ``small`` into one; take them away, and those that are not ``used``."""
        import pyarrow as pa

        tables = []
        for name in small:
            try:
                table = read_segment(self.folder / SEGMENTS / name)
            except (FileNotFoundError, StoreError):
                return  # leave evidence of damage as it is; reading the results names the file
            trials = table["trial_id"].combine_chunks()
            rows = [self.ledger.rows.get(trial_id) for trial_id in trials.dictionary.to_pylist()]
            counts = np.array([row.attempts if row is not None and row.segment == name else -1 for row in rows])
            counting_R = counts[trials.indices.to_numpy(zero_copy_only=False)] == table["attempt"].to_numpy()
            kept = table.filter(pa.array(counting_R))
            tables.append(kept.cast(pa.schema([(key, pa.type_for_alias(kind)) for key, kind in TYPES.items()])))
        into = self._write_segment(tables)
        self._record({"event": "merged", "segments": small, "into": into})
        self._append()
        # A line that could not be read may refer to a segment that seems unused.
        unused = [] if self.ledger.damage else [name for name in self._sizes if name not in used and name != into]
        for name in (*small, *unused):
            with contextlib.suppress(OSError):
                (self.folder / SEGMENTS / name).unlink()
            del self._sizes[name]


def check_outcome(row: Mapping[str, Any], measurements: Mapping[str, Sequence[Any]]) -> None:
    """Fail as :meth:`Store.finish` would: a worker that asks here fails its own trial, not the run.

    Raises:
        StoreError: row or measurements are not what they should be.
    """
    event, _ = _outcome("0" * 8, 1, row, measurements)
    try:
        Ledger().apply(json.loads(line_of(event)))
    except ValueError as error:
        raise StoreError(f"an outcome can't be recorded: {error}") from error


def _outcome(
    trial_id: str, attempts: int, row: Mapping[str, Any], measurements: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Any], pa.Table | None]:
    """The finished event of a trial, without its segment, and its measurements as a table, None where it has none."""
    unknown = sorted(set(row) - _ROW_KEYS)
    if unknown:
        raise StoreError(f"trial {trial_id}: a row has no {', '.join(unknown)}; it may have {', '.join(sorted(_ROW_KEYS))}")
    event = {"event": "finished", "trial_id": trial_id, **{key: value for key, value in row.items() if value not in (None, "")}}
    event["reason"] = anonymise(str(row.get("reason") or ""))[:REASON_LIMIT]
    event["attempts"] = max(attempts, int(row.get("attempts") or 0))
    if event.pop("traceback", None):
        event["artefacts"] = sorted({*event.get("artefacts", ()), "error.txt"})
    has_rows = any(len(values) for values in measurements.values())
    return event, table_of(trial_id, event["attempts"], measurements) if has_rows else None
