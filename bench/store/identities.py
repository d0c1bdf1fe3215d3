"""What the identity of each trial was made of: short hashes by part, so that a hit or a miss can be explained later.

One small file beside the ledger; each part's distinct values are written once. It decides nothing: without it everything but the
explanation is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.errors import StoreError
from bench.store.files import read_json, write_atomic

FILE = "identities.json"
Parts = Mapping[str, str]


def read_identities(results: Path) -> dict[str, Parts]:
    """``{trial_id: {part: hash}}``; empty where there is no record that can be read."""
    try:
        content = read_json(results / FILE)
        names, values = content["parts"], content["values"]
        return {
            trial_id: {names[i]: values[i][code] for i, code in enumerate(codes) if code is not None}
            for trial_id, codes in content["trials"].items()
        }
    except (StoreError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def write_identities(results: Path, identities: Mapping[str, Parts]) -> None:
    """Add to the record; what it has of other trials stays.

    Raises:
        StoreError: it can't be written.
    """
    known = read_identities(results)
    merged = {**known, **identities}
    if merged == known:
        return
    names = list(dict.fromkeys(name for parts in merged.values() for name in parts))
    codes: list[dict[str, int]] = [{} for _ in names]
    trials = {
        trial_id: [codes[i].setdefault(parts[name], len(codes[i])) if name in parts else None for i, name in enumerate(names)]
        for trial_id, parts in merged.items()
    }
    content = {"parts": names, "values": [list(values) for values in codes], "trials": trials}
    write_atomic(results / FILE, json.dumps(content, separators=(",", ":")).encode())
