"""Named random streams, hashed from the factors that they may depend on.

Common random numbers follow by construction: what a stream is not told, it cannot depend on.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

Factor = str | int | float | bool | None | tuple["Factor", ...]


def key(name: str, *factors: Factor) -> int:
    """A 63-bit integer that depends on ``name`` and ``factors`` only, on every platform."""
    text = json.dumps([name, *factors], separators=(",", ":")).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def stream(name: str, *factors: Factor) -> np.random.Generator:
    """A NumPy generator of its own for ``name`` and ``factors``."""
    return np.random.default_rng(key(name, *factors))
