"""Segments: immutable Parquet files that each hold the measurements of many trials.

The name ends in a hash of the content, so a damaged segment is recognised before anything reads numbers from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError
from bench.store.files import read_file, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SEGMENTS = "segments"

TYPES = {
    "trial_id": "string",
    "attempt": "int64",
    "split": "string",
    "task_id": "string",
    "outer_step": "int64",
    "adaptation_step": "int64",
    "metric": "string",
    "value": "double",
    "ceiling": "double",
    "n_real": "int64",
    "n_fake": "int64",
    "fingerprint": "string",
}
TEXTS = tuple(name for name, kind in TYPES.items() if kind == "string")
REQUIRED = ("split", "metric", "value")
MOST_ROWS = 1 << 25  # of one segment, 3 GB once read: a second's cells, or 64 small segments merged, stay far below
MOST_BYTES = 1 << 30  # of one segment's columns as they were before compression
MEASUREMENT_COLUMNS = tuple(name for name in TYPES if name not in {"trial_id", "attempt"})


def table_of(trial_id: str, attempt: int, measurements: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Measurements of one trial, ``{column: R values}``, as a table of R rows.

    Columns left out, and values that are None, become empty text, a missing number of a step or sample count, or NaN.

    Raises:
        StoreError: a column is unknown, missing or of the wrong type, or the columns differ in length.
    """
    import pyarrow as pa

    unknown = sorted(set(measurements) - set(MEASUREMENT_COLUMNS))
    missing = [name for name in REQUIRED if name not in measurements]
    if unknown or missing:
        raise StoreError(
            f"trial {trial_id}: measurements need the columns {', '.join(REQUIRED)} and may have {', '.join(MEASUREMENT_COLUMNS)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )
    sizes = {name: len(values) for name, values in measurements.items()}
    if len(set(sizes.values())) != 1:
        raise StoreError(f"trial {trial_id}: measurement columns must be equally long, got {sizes}")
    count = sizes["value"]
    blank = {"trial_id": trial_id, "attempt": attempt, "task_id": "", "fingerprint": "", "value": float("nan"), "ceiling": float("nan")}
    columns = []
    for name, kind in TYPES.items():
        values = measurements.get(name, [None] * count)
        try:
            column = pa.array(values, type=pa.type_for_alias(kind))
            columns.append(column.fill_null(blank[name]) if name in blank else column)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"trial {trial_id}: measurement column {name!r} must hold {kind} values ({error})") from error
    return pa.Table.from_arrays(columns, names=list(TYPES))


def write_segment(folder: Path, number: int, tables: Sequence[pa.Table]) -> str:
    """Write ``tables`` as one new segment and return its name when it is on the disk.

    Raises:
        StoreError: it can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables).combine_chunks(), buffer, compression="zstd", use_dictionary=list(TEXTS))
    content = buffer.getvalue().to_pybytes()
    name = f"{number:06d}-{_digest(content)}.parquet"
    write_atomic(folder / name, content)
    return name


def read_segment(path: Path) -> pa.Table:
    """The measurements in a segment; texts are dictionary-encoded.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the file is damaged, or is no segment.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise FileNotFoundError(path)
    content = read_file(path)
    if _digest(content) != path.stem.partition("-")[2]:
        raise _damaged(path, "its content does not match the hash in its name")
    try:
        _check_footer(path, pq.read_metadata(pa.BufferReader(content)))
        table = pq.read_table(pa.BufferReader(content), read_dictionary=list(TEXTS))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    return table.select(list(TYPES))


def _check_footer(path: Path, about: pq.FileMetaData) -> None:
    """Refuse, before anything is expanded, a file of other columns, or one in which a few bytes stand for billions."""
    import pyarrow as pa

    schema = about.schema.to_arrow_schema()
    found = {field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema}
    expected = {name: pa.type_for_alias(kind) for name, kind in TYPES.items()}
    if found != expected or len(schema) != len(expected):
        told = ", ".join(f"{name} {kind}" for name, kind in list(found.items())[: len(expected) + 1])
        raise _damaged(path, f"its columns are {told[:300]}")
    expanded = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if about.num_rows > MOST_ROWS or expanded > MOST_BYTES:
        raise _damaged(path, f"it holds {about.num_rows:,} rows and {expanded:,} bytes, more than {MOST_ROWS:,} and {MOST_BYTES:,}")


def is_whole(path: Path) -> bool:
    """Whether a segment is there and its content is what its name says."""
    try:
        return _digest(read_file(path)) == path.stem.partition("-")[2]
    except StoreError:
        return False


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path}: not a readable segment ({why}); restore it, or delete it and run the suite again, its trials are then run anew"
    )
