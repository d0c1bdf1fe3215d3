"""``BENCH_TRACE_PLUGINS=1``: every probe, import and hook call as a line on stderr, with its duration."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def traced(text: str) -> Iterator[None]:
    """Tell how long the body took, and that it raised if it did."""
    if not os.environ.get("BENCH_TRACE_PLUGINS"):
        yield
        return
    began, end = time.perf_counter(), "raised"
    try:
        yield
        end = "done"
    finally:
        print(f"bench: trace: {text}: {end} in {1000 * (time.perf_counter() - began):.1f} ms", file=sys.stderr, flush=True)
