"""How the runs that filled a results folder spent their time: a line a run, for what a report says of the harness itself.

No result rests on it: a line that cannot be written or read is left out.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.store.files import read_file

RUNS = "runs.jsonl"
PARTS = ("working", "starting", "handover", "idle")
"""Of a slot's time: in trials; its worker process starting; handing a trial over or taking its result; nothing that may start."""
LARGEST = 16 << 20  # some 50,000 runs


def append_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a run's record: texts and numbers, without paths, hosts or users."""
    line = json.dumps(dict(record), allow_nan=False).encode() + b"\n"
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / RUNS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            os.write(descriptor, line)  # whole, whoever else appends
        finally:
            os.close(descriptor)


def read_runs(folder: Path) -> list[dict[str, float]]:
    """The numbers of each run, oldest first."""
    try:
        lines = read_file(folder / RUNS, most=LARGEST).splitlines()
    except StoreError:
        return []
    return [numbers for numbers in map(_numbers, lines) if numbers]


def _numbers(line: bytes) -> dict[str, float]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    found = record.items() if isinstance(record, dict) else ()
    return {key: value for key, value in found if type(value) in (int, float) and 0 <= value < math.inf}
