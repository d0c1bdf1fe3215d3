"""Results as tidy frames: one row per measurement, or one per cell. Every planned cell keeps a row, whatever became of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import StoreError
from bench.store import COSTS, SEGMENTS, STATUSES, Ledger, TrialRow, read_ledger, read_segment
from bench.store.segments import MEASUREMENT_COLUMNS as _MEASURED
from bench.store.segments import TEXTS, TYPES
from bench.union import Folders, as_folders, disagreements, united, united_suite

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CELL_COLUMNS = (
    "suite",
    "arm",
    "game",
    "task_distribution",
    "network",
    "gan_loss",
    "meta_learner",
    "regularisers",
    "augmentations",
    "control",
)
"""Texts of a cell; ``replicate`` and ``shots`` are its numbers."""
UNRECORDED = 0
"""Shots of a cell of a run that did not record them."""

FRAME_COLUMNS = (
    "trial_id",
    *CELL_COLUMNS,
    "replicate",
    "shots",
    "status",
    "reason",
    *_MEASURED,
    *COSTS,
)
_READS = 3  # a running writer may merge segments between the reading of its ledger and of a segment


class DamagedLedgerWarning(UserWarning):
    """Lines of a ledger could not be read; the others were."""


class DifferentNumbersWarning(UserWarning):
    """A cell has run to its end in several results folders, with other numbers."""


def load_results(results: Folders, *, tuning: bool = False) -> pd.DataFrame:
    """Measurements of every planned cell, in the order of the plan; a run may be going on.

    Args:
        results: results folder of a suite; or several, which are read as one where their protocols agree (:mod:`bench.union`).
        tuning: the trials that tuning tried, rather than the cells that the question is about. The two never stand in one frame:
            what was tried is no result.

    Returns:
        Columns :data:`FRAME_COLUMNS`, and ``configuration``, its number, of tuning trials. Texts are categorical in order of
        appearance, steps and sample counts nullable integers, values and costs floats. A cell without measurements has one row
        whose measurement columns are missing.
        The numbers of a trial are those of its last outcome.

    Raises:
        StoreError: there are no results, or a segment is damaged; the text names the file and a cure.
        UsageError: several folders have different protocols; the text names the setting, its values and the folders.

    Warns:
        DamagedLedgerWarning: lines of the ledger could not be read.
        DifferentNumbersWarning: a cell has several outcomes with other numbers; those of the folder named first count.
    """
    folders = as_folders(results)
    if len(folders) > 1:
        united_suite(folders)
    parts = list(map(_load, folders, repeat(tuning)))
    if len(parts) == 1:
        return parts[0]
    _warn_of_disagreements(folders, parts)
    return united(parts)


def ledger_frame(results: Folders, *, tuning: bool = False) -> pd.DataFrame:
    """One row per planned cell, in the order of the plan: what it is, what became of it and what it cost.

    Args:
        results: results folder, or several, as for :func:`load_results`.
        tuning: as for :func:`load_results`.

    Returns:
        ``trial_id``, the cell's families, ``replicate``, and the columns of :class:`bench.store.TrialRow`.

    Raises:
        StoreError: there are no results.

    Warns:
        DamagedLedgerWarning: lines of the ledger could not be read.
    """
    folders = as_folders(results)
    parts = list(map(_ledger_frame, folders, repeat(tuning)))
    return parts[0] if len(parts) == 1 else united(parts)


def _load(folder: Path, tuning: bool) -> pd.DataFrame:
    import pandas as pd

    ledger, table, cell_of_row = _read(folder, tuning)
    _warn(folder, ledger)
    rows = _cells(ledger, tuning)
    bare = np.setdiff1d(np.arange(len(rows)), cell_of_row)
    cell_R = np.concatenate([cell_of_row, bare])
    take_R = np.concatenate([np.arange(len(cell_of_row)), np.full(len(bare), -1)])
    order_R = np.argsort(cell_R, kind="stable")
    cell_R, take_R = cell_R[order_R], take_R[order_R]

    columns: dict[str, Any] = {name: column[cell_R] for name, column in _cell_columns(rows, tuning).items()}
    measured = table.to_pandas(types_mapper={_int64(): pd.Int64Dtype()}.get)
    for name in _MEASURED:
        values = measured[name]
        columns[name] = pd.api.extensions.take(values.to_numpy() if values.dtype == "float64" else values.array, take_R, allow_fill=True)
    for name in COSTS:
        columns[name] = _numbers(rows, name)[cell_R]
    names = (*FRAME_COLUMNS, "configuration") if tuning else FRAME_COLUMNS
    return pd.DataFrame({name: columns[name] for name in names}, copy=False)


def _ledger_frame(folder: Path, tuning: bool) -> pd.DataFrame:
    import pandas as pd

    ledger = read_ledger(folder)
    _warn(folder, ledger)
    rows = _cells(ledger, tuning)
    columns: dict[str, Any] = _cell_columns(rows, tuning)
    for name in (f.name for f in fields(TrialRow) if f.name not in {"trial_id", "cell", "status", "reason"}):
        if name in COSTS:
            columns[name] = _numbers(rows, name)
        elif name in {"attempts", "outer_steps"}:
            columns[name] = pd.array([getattr(row, name) for row in rows], dtype="Int64")
        elif name == "packed":
            columns[name] = np.array([row.packed for row in rows], dtype=np.bool_)
        elif name == "artefacts":
            columns[name] = pd.Series([row.artefacts for row in rows], dtype=object)
        else:
            columns[name] = pd.Series([getattr(row, name) for row in rows], dtype="str")
    return pd.DataFrame(columns)


# ------------------------------------------------------------------ reading
def _cells(ledger: Ledger, tuning: bool) -> list[TrialRow]:
    """Rows of the plan: of tuning trials, or of the cells that the question is about."""
    return [row for row in ledger.planned().values() if ("configuration" in row.cell) is tuning]


def _read(folder: Path, tuning: bool) -> tuple[Ledger, pa.Table, np.ndarray]:
    """Ledger, measurements that count (R rows), and the position in the plan of each one's trial (R,)."""
    for left in reversed(range(_READS)):
        ledger = read_ledger(folder)
        planned = ledger.planned()
        gone = {row.segment for row in planned.values() if row.segment and not (folder / SEGMENTS / row.segment).is_file()}
        if gone and left:
            continue
        for trial_id in [key for key, row in planned.items() if row.segment in gone]:
            ledger.rows[trial_id] = _without(planned[trial_id])
        try:
            return ledger, *_measurements(folder, _cells(ledger, tuning))
        except FileNotFoundError:
            continue
    raise StoreError(f"{folder}: segments went away while they were read, {_READS} times; load the results again when the run is over")


def _without(row: TrialRow) -> TrialRow:
    """The row of a trial whose segment is not there any more."""
    return TrialRow(
        row.trial_id,
        cell=row.cell,
        status="infra",
        reason=f"its measurements ({SEGMENTS}/{row.segment}) are missing; run the suite again, it runs the trial anew",
        attempts=row.attempts,
    )


def _measurements(folder: Path, rows: Sequence[TrialRow]) -> tuple[pa.Table, np.ndarray]:
    import pyarrow as pa

    position = {row.trial_id: index for index, row in enumerate(rows)}
    attempts = np.array([row.attempts for row in rows], dtype=np.int64)
    members: dict[str, list[str]] = {}
    for row in rows:
        if row.segment:
            members.setdefault(row.segment, []).append(row.trial_id)
    tables, positions = [], []
    for segment in sorted(members):
        table = read_segment(folder / SEGMENTS / segment)
        here = set(members[segment])
        trial = table["trial_id"].combine_chunks()
        of_code = np.array([*(position[key] if key in here else -1 for key in trial.dictionary.to_pylist()), -1], dtype=np.int64)
        cell_R = of_code[trial.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        attempt_R = table["attempt"].fill_null(0).to_numpy()
        counts_R = (cell_R >= 0) & (attempt_R == attempts[cell_R]) if len(rows) else np.zeros(len(cell_R), bool)
        if not counts_R.all():
            table, cell_R = table.filter(pa.array(counts_R)), cell_R[counts_R]
        tables.append(table.select(list(_MEASURED)))
        positions.append(cell_R)
    if not tables:
        kinds = {name: pa.type_for_alias(kind) for name, kind in TYPES.items() if name in _MEASURED}
        encoded = {name: pa.dictionary(pa.int32(), kind) if name in TEXTS else kind for name, kind in kinds.items()}
        return pa.schema(encoded).empty_table(), np.empty(0, np.int64)
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks(), np.concatenate(positions)


def _warn(folder: Path, ledger: Ledger) -> None:
    if ledger.damage:
        more = f" and {len(ledger.damage) - 3} more" if len(ledger.damage) > 3 else ""
        lines = "; ".join(ledger.damage[:3]) + more
        cure = "Run the suite again: what they held is done anew"
        warnings.warn(f"{folder}: unreadable lines are left out: {lines}. {cure}", DamagedLedgerWarning, stacklevel=4)


def _warn_of_disagreements(folders: Sequence[Path], parts: Sequence[pd.DataFrame]) -> None:
    if found := disagreements(parts):
        told = " and ".join(f"trial {trial_id} in {folders[number]}" for number, trial_id in found[0])
        warnings.warn(
            f"{len(found)} cell{'s' if len(found) > 1 else ''} ended in several results folders with different numbers, the first as "
            f"{told}: those of the folder named first count. Equal trials have equal numbers, so machines or code differed; bench compare "
            "shows by how much",
            DifferentNumbersWarning,
            stacklevel=3,
        )


# ------------------------------------------------------------------ columns of cells
def _cell_columns(rows: Sequence[TrialRow], tuning: bool) -> dict[str, Any]:
    """Columns with one entry per cell: texts categorical in order of appearance."""
    columns: dict[str, Any] = {"trial_id": _texts([row.trial_id for row in rows])}
    for name in CELL_COLUMNS:
        columns[name] = _texts([str(row.cell.get(name) or "") for row in rows])
    for name in ("replicate", "shots", *(["configuration"] if tuning else [])):
        columns[name] = np.array([_integer(row.cell.get(name)) for row in rows], dtype=np.int64)
    columns["status"] = _texts([row.status for row in rows], STATUSES)
    columns["reason"] = _texts([row.reason for row in rows])
    return columns


def _texts(values: Sequence[str], categories: Sequence[str] | None = None) -> pd.Categorical:
    import pandas as pd

    known = dict.fromkeys(categories or values)
    code = {value: number for number, value in enumerate(known)}
    return pd.Categorical.from_codes(
        np.array([code[value] for value in values], dtype=np.int64), categories=pd.Index(list(known), dtype="str")
    )


def _integer(value: Any) -> int:
    # A hostile ledger may hold anything that is a scalar; a cell without a replicate is the only one.
    return value if isinstance(value, int) and abs(value) < 1 << 62 else 0


def _numbers(rows: Sequence[TrialRow], name: str) -> np.ndarray:
    return np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows], dtype=np.float64)


def _int64() -> pa.DataType:
    import pyarrow as pa

    return pa.int64()
