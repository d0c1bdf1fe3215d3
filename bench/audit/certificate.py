"""The outcome of an audit as a file, and what a report says of the one that ships with the package.

A certificate speaks of the sources of :mod:`bench.measure` and :mod:`bench.stats` that it was made with: where these have changed since
(comments, docstrings and formatting aside) it is stale, and says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.audit.checks import Check
from bench.registry.sources import normalised_hash

SHIPPED = Path(__file__).parent / "certificate.json"
"""The certificate of this version, package data."""
NUMERIC = ("measure", "stats")
LIBRARIES = ("numpy", "scipy", "pandas")


@cache
def code_hash() -> str:
    """SHA-256 of the sources that an audit is about, without comments, docstrings and formatting."""
    package = Path(__file__).parents[1]
    files = [path for folder in NUMERIC for path in sorted((package / folder).rglob("*.py"))]
    return normalised_hash((path.relative_to(package).as_posix(), path) for path in files)


def certificate(checks: Sequence[Check], *, seed: int, quick: bool, stored: Sequence[str]) -> dict[str, Any]:
    """What an audit found, without dates, machines or paths: equal code, libraries, seed and data give an equal certificate.

    Args:
        checks: all of them.
        seed: of the audit.
        quick: whether draws were cut, so that it proves less.
        stored: names of the results folders whose cells were relabelled.

    Returns:
        ``certificate`` (12 hexadecimal digits of the rest), ``bench``, ``code``, ``versions``, ``seed``, ``quick``, ``stored``,
        ``passed``, ``failed``, ``checks``.
    """
    content: dict[str, Any] = {
        "bench": metadata.version("metagan-bench"),
        "code": code_hash(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
        "seed": seed,
        "quick": quick,
        "stored": list(stored),
        "passed": sum(check.passed for check in checks),
        "failed": sum(not check.passed for check in checks),
        "checks": [check.to_dict() for check in checks],
    }
    return {"certificate": _digest(content), **content}


def statement(path: Path = SHIPPED) -> str:
    """What a report says about the audit of the code that made it: passed, failed, stale, damaged or none."""
    again = "`bench audit` makes one"
    if not path.is_file():
        return f"not audited: no certificate ships with this version; {again}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, passed, failed, code = str(found.pop("certificate")), int(found["passed"]), int(found["failed"]), str(found["code"])
        intact = name == _digest(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        return f"not audited: the certificate is damaged or was edited; {again}"
    if code != code_hash():
        return f"not audited at this version: certificate {name} was made with other sources of bench.measure and bench.stats; {again}"
    if failed:
        return f"{failed} of {passed + failed} checks FAIL (certificate {name})"
    return f"all {passed} checks pass (certificate {name}, audit/certificate.json in the package)"


def as_text(found: Mapping[str, Any]) -> str:
    """A certificate as the text of its file."""
    return json.dumps(found, indent=1) + "\n"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True, separators=(",", ":")).encode(), digest_size=6).hexdigest()
