"""The worker's side: import a function by name, call it, and turn whatever it does into a row."""

from __future__ import annotations

import hashlib
import importlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bench.environment import anonymise
from bench.errors import BenchError
from bench.store import OUTCOMES, check_outcome

Result = tuple[dict[str, Any], dict[str, list[Any]]]
"""Row of the ledger (``status`` at least), and measurements ``{column: values}``."""


def call(work: str, payload: Mapping[str, Any]) -> Result:
    """Run ``work`` (``"module:function"``, dict -> :data:`Result`); an exception becomes a row with status failed or oom.

    KeyboardInterrupt passes through: it is the user's, not the work's.
    """
    try:
        return _checked(work, resolve(work)(dict(payload)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may call sys.exit, which must cost its own trial only
        return failure(error), {}


def resolve(name: str) -> Callable[..., Any]:
    """What ``"module:function"`` names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def failure(error: BaseException) -> dict[str, Any]:
    """The row of a trial that raised ``error``; equal errors have equal digests, wherever and whenever they happen."""
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    message = str(error).strip()
    first_line = message.splitlines()[0] if message else "no message"
    notes = "; ".join(getattr(error, "__notes__", ()))
    told = message if isinstance(error, BenchError) else f"{type(error).__name__}: {first_line}"
    frames = [(anonymise(frame.filename), frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return {
        "status": "oom" if out_of_memory else "failed",
        "reason": anonymise(f"{told} ({notes})" if notes else told),
        "error": hashlib.blake2b(repr((type(error).__name__, frames)).encode(), digest_size=8).hexdigest(),
        "traceback": anonymise("".join(traceback.format_exception(error))),
    }


def _checked(work: str, result: Any) -> Result:
    shaped = isinstance(result, tuple) and len(result) == 2 and all(isinstance(part, Mapping) for part in result)
    if not shaped:
        raise TypeError(f"{work} must return (row, measurements), two mappings, got {type(result).__name__}")
    row, measurements = result
    if row.get("status") not in OUTCOMES:
        raise ValueError(f"{work} must return a row whose status is one of {', '.join(OUTCOMES)}, got {row.get('status')!r}")
    check_outcome(row, measurements)
    return dict(row), dict(measurements)
