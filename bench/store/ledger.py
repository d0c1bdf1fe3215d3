"""The ledger: one JSON object per line, appended and never changed; the latest event of a trial decides its row.

Reading is tolerant: a torn last line is what a killed writer leaves, and a damaged line costs itself only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.store.files import read_file

LEDGER = "ledger.jsonl"
OUTCOMES = ("ok", "diverged", "failed", "oom", "timeout", "skipped", "infra")
STATUSES = ("planned", "running", *OUTCOMES)
TUNING_COSTS = ("tuning_seconds", "tuning_gradient_evaluations", "tuning_samples_seen", "tuning_flops")
COSTS = ("seconds", "evaluation_seconds", "gradient_evaluations", "samples_seen", "flops", "peak_memory_bytes", *TUNING_COSTS)
REASON_LIMIT = 2000
LARGEST_LEDGER = 1 << 30  # bytes; a hundred thousand cells leave about a hundredth of it
LONGEST_LINE = 1 << 20  # bytes; a reason is cut to 2,000 characters, so what is longer is damage or malice
_LARGEST = 1e300  # costs beyond are damage, and Python's integers may be longer than any float

_TRIAL_ID = re.compile(r"[0-9a-f]{8,64}")
_SEGMENT = re.compile(r"\d{6,12}-[0-9a-f]{16}\.parquet")
_ENVIRONMENT = re.compile(r"[0-9a-f]{8,64}")
_ARTEFACT = re.compile(r"\w[\w.+-]{0,100}")
_DRIVER = re.compile(r"[0-9a-f]{8}")
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What the ledger knows of one trial.

    Attributes:
        trial_id: content hash of everything that can change the trial's numbers.
        cell: the families, arm and replicate that the plan gave it.
        status: one of :data:`STATUSES`.
        reason: why, in words; empty for ok.
        error: digest of the traceback, equal for equal errors.
        attempts: times the trial was tried, over all runs.
        outer_steps: outer steps done.
        seconds, evaluation_seconds: wall clock, all and the part spent measuring.
        gradient_evaluations, samples_seen, flops, peak_memory_bytes: costs, warm start included; None where unknown.
        tuning_seconds, tuning_gradient_evaluations, tuning_samples_seen, tuning_flops: what the tuning trials that chose its settings
            cost together; paid once, however many trials rest on it. None where nothing was tuned.
        packed: whether it shared its card with other trials, so that its seconds compare with nothing.
        environment: hash that names the environment record.
        segment: file in ``segments/`` that holds its measurements, empty where it has none.
        artefacts: file names in its folder.
    """

    trial_id: str
    cell: Mapping[str, Any] = field(default_factory=dict)
    status: str = "planned"
    reason: str = ""
    error: str = ""
    attempts: int = 0
    outer_steps: int | None = None
    seconds: float | None = None
    evaluation_seconds: float | None = None
    gradient_evaluations: float | None = None
    samples_seen: float | None = None
    flops: float | None = None
    peak_memory_bytes: float | None = None
    tuning_seconds: float | None = None
    tuning_gradient_evaluations: float | None = None
    tuning_samples_seen: float | None = None
    tuning_flops: float | None = None
    packed: bool = False
    environment: str = ""
    segment: str = ""
    artefacts: tuple[str, ...] = ()


ROW_COLUMNS = tuple(f.name for f in fields(TrialRow) if f.name not in {"trial_id", "cell"})


class Ledger:
    """The state that a sequence of events leads to.

    Attributes:
        rows: every trial ever planned, in that order.
        dropped: trials that the current plan no longer holds; their rows stay, should a later plan want them.
        runners: driver by running trial, as far as the ledger names it.
        damage: one text per line that could not be read, with its number.
    """

    def __init__(self) -> None:
        self.rows: dict[str, TrialRow] = {}
        self.dropped: set[str] = set()
        self.runners: dict[str, str] = {}
        self.damage: list[str] = []
        self._lines = 0
        self._members: dict[str, set[str]] = {}

    def read(self, content: bytes) -> None:
        """Take in the next lines; one that is damaged is noted and costs itself only, one without an end is left out."""
        lines = content.split(b"\n")
        for number, line in enumerate(lines, start=self._lines + 1):
            if not line.strip():
                continue
            try:
                self.apply(_event(line))
            except (ValueError, RecursionError) as error:
                if number < self._lines + len(lines):  # the last one was torn by a kill, and never confirmed
                    self.damage.append(f"{LEDGER}:{number}: {error}")
        self._lines += len(lines) - 1

    def skip_lines(self, count: int) -> None:
        """Count lines that its own writer has appended: their events were applied when they were made."""
        self._lines += count

    def segments(self) -> set[str]:
        """Segments that rows refer to."""
        return {name for name, members in self._members.items() if name and members}

    def planned(self) -> dict[str, TrialRow]:
        """Rows of the current plan."""
        return {key: row for key, row in self.rows.items() if key not in self.dropped}

    def apply(self, event: Any) -> None:
        """Take in one event.

        Raises:
            ValueError: the event is none, with the rule it breaks; nothing has changed.
        """
        kind = _member(event, "event", str)
        if kind == "merged":
            self._merge({checked_segment(name) for name in _texts(event, "segments")}, checked_segment(event.get("into")))
            return
        trial_id = checked_trial_id(event.get("trial_id"))
        old = self.rows.get(trial_id, TrialRow(trial_id))
        if kind == "planned":
            # A plan repeated over a known result adopts it; only a skip is undone by being planned again.
            undone = TrialRow(trial_id, attempts=old.attempts) if old.status == "skipped" else old
            row = replace(undone, cell=_cell(event))
        elif kind == "started":
            driver = event.get("driver", "")
            if not isinstance(driver, str) or (driver and not _DRIVER.fullmatch(driver)):
                raise ValueError(f"driver must be 8 hexadecimal digits, got {_short(driver)}")
            row = replace(old, status="running", reason="", attempts=old.attempts + 1)
            self.runners[trial_id] = driver
        elif kind == "finished":
            row = _finished(old, event)
        elif kind == "skipped":
            cell = _cell(event) if "cell" in event else old.cell
            row = TrialRow(trial_id, cell=cell, status="skipped", reason=_reason(event), attempts=old.attempts)
        elif kind == "dropped":
            if trial_id not in self.rows:
                raise ValueError("drops a trial that was never planned")
            self.dropped.add(trial_id)
            return
        else:
            raise ValueError(f"unknown event {kind!r}")
        self.dropped.discard(trial_id)
        self.rows[trial_id] = row
        if row.segment != old.segment:
            self._members.get(old.segment, set()).discard(trial_id)
            self._members.setdefault(row.segment, set()).add(trial_id)
        if row.status != "running":
            self.runners.pop(trial_id, None)

    def _merge(self, segments: set[str], into: str) -> None:
        members = set().union(*(self._members.pop(name, set()) for name in segments))
        for key in members:
            self.rows[key] = replace(self.rows[key], segment=into)
        self._members[into] = self._members.get(into, set()) | members


def read_ledger(folder: Path | str) -> Ledger:
    """Read the ledger of a results folder; needs no lock, a run may be going on.

    Raises:
        StoreError: there is no ledger, or the disk does not give it.
    """
    ledger = Ledger()
    ledger.read(read_file(Path(folder) / LEDGER, most=LARGEST_LEDGER))
    return ledger


def _event(line: bytes) -> Any:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"an event has at most {LONGEST_LINE:,} bytes, got {len(line):,}")
    event = json.loads(line)
    if b"\\ud" in line.lower():
        json.dumps(event, ensure_ascii=False).encode()  # half a surrogate pair is text that no file can hold
    return event


def line_of(event: Mapping[str, Any]) -> bytes:
    """One event as the ledger stores it; numbers that JSON lacks become null.

    Raises:
        ValueError: a value is neither text, number nor a collection of these.
    """
    plain = {key: _finite(value) for key, value in event.items() if value is not None}
    try:
        return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except TypeError as error:
        raise ValueError(str(error)) from error


def checked_trial_id(value: Any) -> str:
    """``value`` if it is a trial id, so that a file can't name a path.

    Raises:
        ValueError: it is not 8 to 64 hexadecimal digits.
    """
    if not isinstance(value, str) or not _TRIAL_ID.fullmatch(value):
        raise ValueError(f"trial_id must be 8 to 64 hexadecimal digits, got {_short(value)}")
    return value


def checked_segment(value: Any) -> str:
    """``value`` if it is the name of a segment.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or not _SEGMENT.fullmatch(value):
        raise ValueError(f"segment must be called NNNNNN-<16 hexadecimal digits>.parquet, got {_short(value)}")
    return value


def _finished(old: TrialRow, event: Mapping[str, Any]) -> TrialRow:
    status = _member(event, "status", str)
    if status not in OUTCOMES:
        raise ValueError(f"status must be one of {', '.join(OUTCOMES)}, got {_short(status)}")
    segment = event.get("segment", "")
    environment = event.get("environment", "")
    if not isinstance(environment, str) or (environment and not _ENVIRONMENT.fullmatch(environment)):
        raise ValueError(f"environment must be a hexadecimal hash, got {_short(environment)}")
    artefacts = tuple(_texts(event, "artefacts")) if "artefacts" in event else ()
    for name in artefacts:
        if not _ARTEFACT.fullmatch(name):
            raise ValueError(f"artefacts must be plain file names, got {_short(name)}")
    attempts = _count(event, "attempts")
    return TrialRow(
        trial_id=old.trial_id,
        cell=old.cell,
        status=status,
        reason=_reason(event),
        error=_member(event, "error", str) if "error" in event else "",
        attempts=old.attempts if attempts is None else attempts,
        outer_steps=_count(event, "outer_steps"),
        packed=bool(_member(event, "packed", bool)) if "packed" in event else False,
        environment=environment,
        segment=checked_segment(segment) if segment else "",
        artefacts=artefacts,
        **{name: _number(event, name) for name in COSTS},
    )


def _member(event: Any, key: str, kind: type) -> Any:
    if not isinstance(event, dict):
        raise ValueError(f"an event must be an object, got {_short(event)}")
    value = event.get(key)
    if not isinstance(value, kind):
        raise ValueError(f"{key} must be {kind.__name__}, got {_short(value)}")
    return value


def _reason(event: Mapping[str, Any]) -> str:
    return str(_member(event, "reason", str))[:REASON_LIMIT] if "reason" in event else ""


def _texts(event: Mapping[str, Any], key: str) -> list[str]:
    values = _member(event, key, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{key} must be a list of texts, got {_short(values)}")
    return list(values)


def _cell(event: Mapping[str, Any]) -> dict[str, Any]:
    cell = _member(event, "cell", dict)
    if not all(isinstance(value, _SCALARS) for value in cell.values()):
        raise ValueError(f"cell must hold texts and numbers only, got {_short(cell)}")
    return dict(cell)


def _number(event: Mapping[str, Any], key: str) -> float | None:
    value = event.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} must be a number, got {_short(value)}")
    if not abs(value) <= _LARGEST:  # false for NaN, too
        raise ValueError(f"{key} must be finite, got {_short(value)}")
    return value


def _count(event: Mapping[str, Any], key: str) -> int | None:
    value = _number(event, key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError(f"{key} must be a whole number, got {_short(value)}")
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_finite(item) for item in value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
